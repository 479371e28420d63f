"""Haggle: a shopper and a seller agree on a price, or do not; each knows its own limit alone."""
