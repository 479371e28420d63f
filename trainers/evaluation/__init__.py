"""How well a policy does: fixed evaluation sets, success rates with intervals, and the watch over a run."""
