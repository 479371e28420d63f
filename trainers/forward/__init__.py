"""Forward passes over given tokens: log-probabilities, and whole next-token distributions."""
