"""Faults on purpose, by command: what a run survives is tried out, not promised."""
