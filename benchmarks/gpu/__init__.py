"""The drill for a GPU: what it computes right, how fast and in how much memory, with random weights of known shapes."""
