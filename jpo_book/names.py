"""Experiments and methods with their titles, colours and markers, for all of the book.
Nothing is named twice."""

from __future__ import annotations

from typing import NamedTuple


class Experiment(NamedTuple):
    title: str
    page: str  # the notebook of its chapter
    landscape: str  # what makes it hard
    colour: str
    marker: str


class Method(NamedTuple):
    label: str
    colour: str
    marker: str
    line: str


# Colours after Okabe and Ito, which stay apart for colour-blind readers;
# markers and line styles differ as well.
EXPERIMENTS = {
    "wave_packet": Experiment("wave packet", "03_wave_packet", "many local minima", "#0072B2", "o"),
    "billiards": Experiment("billiards", "04_billiards", "zero gradients and jumps", "#D55E00", "s"),
    "kuramoto_sivashinsky": Experiment(
        "Kuramoto–Sivashinsky", "05_kuramoto_sivashinsky", "chaos", "#009E73", "^"
    ),
    "navier_stokes": Experiment(
        "Navier–Stokes", "06_navier_stokes", "local minima, flat regions", "#CC79A7", "D"
    ),
}
METHODS = {
    "Joint": Method("JPO", "#0072B2", "o", "-"),
    "JointRefined": Method("JPO, refined", "#003f66", "s", "-"),
    "JointRestarted": Method("JPO, refined with restarts", "#7570B3", "P", "-"),
    "JointPlain": Method("JPO, plain network, refined", "#7F4F24", "d", "--"),
    "NetworkStart": Method("untrained network, then BFGS", "#56B4E9", "^", "--"),
    "BFGS": Method("BFGS", "#000000", "D", "-"),
    "GradientDescent": Method("gradient descent", "#D55E00", "v", "-"),
    "Adam": Method("Adam", "#E69F00", "<", "-"),
    "MultiStart": Method("multi-start BFGS", "#CC79A7", ">", "-."),
    "MultiStartAdam": Method("multi-start Adam", "#8c6d1f", "p", "-."),
    "NetworkMultiStart": Method("restarts from untrained networks", "#666666", "X", "-."),
    "SupervisedRefined": Method("supervised training, then BFGS", "#882255", "h", "-"),
    "ClassicalStart": Method("feature start, then BFGS", "#009E73", "*", ":"),
}
TOURNAMENT = {  # the methods of tournament.yaml
    "BFGS": "one run of BFGS",
    "MultiStart": "restarts of BFGS",
    "LevenbergMarquardt": "restarts of Levenberg–Marquardt",
    "BestOf": "best of many points",
    "FeatureStart": "feature start",
    "UntrainedNetwork": "untrained networks",
    "LookUp": "look-up in a table",
    "NeuralAdjoint": "neural adjoint",
    "Supervised": "supervised pairs",
    "SupervisedMorePairs": "more supervised pairs",
    "SupervisedHeads": "supervised pairs, several heads",
    "JointPlain": "JPO, plain network",
    "JointConvolution": "JPO, convolutional network",
    "Joint": "JPO",
    "JointAfterSupervised": "JPO after supervised pairs",
    "JointHeads": "JPO, several heads",
}
MEASURED = "#0072B2"
