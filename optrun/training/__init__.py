"""Training: the visible loop, and what consumes its steps."""
