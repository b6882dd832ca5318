"""Measurements on the simulators: convergence orders, errors against independent references, conserved sums."""
