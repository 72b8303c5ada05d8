"""Looking at runs: summaries, comparisons and pictures, made from stores that are only read."""
