"""Benchmarks: this library beside other software,
on the same work and with the accuracy of both sides. See README.md."""
