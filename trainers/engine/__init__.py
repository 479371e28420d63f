"""The machine under a run: device and precision, the optimiser step, and checkpoints."""
