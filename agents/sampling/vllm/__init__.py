"""A generation server as a `Sampler`: vLLM over HTTP, with the weights that are trained sent to it."""
