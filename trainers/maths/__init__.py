"""Formulas: pure functions of numbers and tensors, which know no model and no environment."""
