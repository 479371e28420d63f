"""How a run computes: device and precision, the optimiser step, and checkpoints."""
