"""The records of a run: its directory, logs and summary, its progress on screen, and its state in checkpoints."""
