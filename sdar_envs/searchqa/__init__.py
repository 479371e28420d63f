"""Retrieval question answering: a generated world (or official data), a searcher over it, and the environment."""
