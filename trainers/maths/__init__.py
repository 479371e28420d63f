"""Formulas: pure functions of numbers and tensors, without a model or an environment."""
