"""Notebooks: their parameters, checked runs, and the programs that these share."""
