"""Environments in worker processes: one may hang or die, and costs an episode at most."""
