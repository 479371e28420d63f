"""The audit: defects of published protocols, each simulated, with its size and the fixed form beside it.

Nothing here runs anybody's code. A simulation is a pure function of a key, on counts and layouts that are documented.
"""
