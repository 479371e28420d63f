"""Pair: a cook who knows what is wanted and a runner who can find it share a house, and win or lose together."""
