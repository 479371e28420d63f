"""Run a command with its standard output copied to a file: ``copied_output.py FILE COMMAND...``."""

from __future__ import annotations

import subprocess
import sys

with open(sys.argv[1], "wb") as copy, subprocess.Popen(sys.argv[2:], stdout=subprocess.PIPE) as process:
    assert process.stdout is not None
    while piece := process.stdout.read1(65_536):
        copy.write(piece)
        copy.flush()
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
