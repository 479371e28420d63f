"""What the steps of an iteration pass to one another: rows of tokens, padded or not, and outcomes of episodes."""
