"""Evaluation of policies: fixed evaluation sets, success rates with intervals, and the evaluations of a run."""
