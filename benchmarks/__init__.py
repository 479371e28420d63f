"""Measurements, by command: ``python -m benchmarks.NAME [--json]``. Never run as tests; figures are in the docs."""
