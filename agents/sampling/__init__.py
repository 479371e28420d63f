"""How completions are sampled from a model: requests with token ids in, samples with token ids out."""
