"""Theory of the alignment of gradients, and its measurement."""
