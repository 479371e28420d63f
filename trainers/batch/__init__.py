"""What the steps of an iteration hand to one another: rows of tokens, padded or not, and outcomes of episodes."""
