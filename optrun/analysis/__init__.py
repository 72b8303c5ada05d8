"""Analysis of stored runs: summaries, leaderboards, comparisons. Stores are only read."""
