"""What a model says of given tokens: log-probabilities, and whole next-token distributions."""
