"""Names that all of the book shares: experiments and methods with their titles, colours and markers. Nothing is named twice."""

from __future__ import annotations

EXPERIMENTS = {
    "wave_packet": ("03_wave_packet", "wave packet"),
    "billiards": ("04_billiards", "billiards"),
    "kuramoto_sivashinsky": ("05_kuramoto_sivashinsky", "Kuramoto–Sivashinsky"),
    "navier_stokes": ("06_navier_stokes", "Navier–Stokes"),
}

# Colours after Okabe and Ito, which stay apart for colour-blind readers; markers and line styles differ as well.
METHODS = {
    "Joint": ("JPO", "#0072B2", "o", "-"),
    "JointRefined": ("JPO, refined", "#003f66", "s", "-"),
    "JointRestarted": ("JPO, refined with restarts", "#7570B3", "P", "-"),
    "NetworkStart": ("untrained network, then BFGS", "#56B4E9", "^", "--"),
    "BFGS": ("BFGS", "#000000", "D", "-"),
    "GradientDescent": ("gradient descent", "#D55E00", "v", "-"),
    "Adam": ("Adam", "#E69F00", "<", "-"),
    "MultiStart": ("multi-start BFGS", "#CC79A7", ">", "-."),
    "MultiStartAdam": ("multi-start Adam", "#8c6d1f", "p", "-."),
    "NetworkMultiStart": ("restarts from untrained networks", "#666666", "X", "-."),
    "SupervisedRefined": ("supervised training, then BFGS", "#882255", "h", "-"),
    "ClassicalStart": ("feature start, then BFGS", "#009E73", "*", ":"),
}
THEORY, MEASURED = "#CC3377", "#0072B2"

COLOURS = {
    "wave_packet": ("wave packet", "#0072B2", "o"),
    "billiards": ("billiards", "#D55E00", "s"),
    "kuramoto_sivashinsky": ("Kuramoto–Sivashinsky", "#009E73", "^"),
    "navier_stokes": ("Navier–Stokes", "#CC79A7", "D"),
}

LANDSCAPES = {  # title, and what makes its landscape hard
    "wave_packet": ("wave packet", "many local minima"),
    "billiards": ("billiards", "zero gradients and jumps"),
    "kuramoto_sivashinsky": ("Kuramoto–Sivashinsky", "chaos"),
    "navier_stokes": ("Navier–Stokes", "local minima, flat regions"),
}
