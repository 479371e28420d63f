"""The same program under several hash seeds: what depends on the order of a set shows here."""

from __future__ import annotations

import os
import subprocess
import sys

HASH_SEEDS = ("0", "1", "20261121")


def printed_under_hash_seeds(code: str) -> str:
    """What a program prints, which has to be the same under every hash seed."""
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in HASH_SEEDS
    ]
    assert outputs[1:] == outputs[:-1]
    return outputs[0]
