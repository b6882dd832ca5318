"""Measurements of the simulators: convergence orders,
errors against independent references, conserved sums."""
