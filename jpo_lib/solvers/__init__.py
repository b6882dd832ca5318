"""Solvers as small hyperparameter objects, and `solve`, the one door to all of them."""

from jpo_lib.solvers.bfgs import BFGS
from jpo_lib.solvers.candidates import BestOf, LookUp
from jpo_lib.solvers.first_order import Adam, GradientDescent
from jpo_lib.solvers.gauss_newton import GaussNewton
from jpo_lib.solvers.joint import JointOptimization
from jpo_lib.solvers.lbfgs import LBFGS
from jpo_lib.solvers.levenberg_marquardt import LevenbergMarquardt
from jpo_lib.solvers.multi_start import MultiStart
from jpo_lib.solvers.smoother import EnsembleSmoother
from jpo_lib.solvers.solver import Solver, complete, solve
from jpo_lib.solvers.supervised import Supervised
from jpo_lib.solvers.windows import GrowingWindows

SOLVERS = {
    cls.__name__: cls
    for cls in (
        BFGS,
        LBFGS,
        GaussNewton,
        LevenbergMarquardt,
        GradientDescent,
        Adam,
        MultiStart,
        BestOf,
        LookUp,
        GrowingWindows,
        EnsembleSmoother,
        JointOptimization,
        Supervised,
    )
}

__all__ = [
    "BFGS",
    "LBFGS",
    "SOLVERS",
    "Adam",
    "BestOf",
    "EnsembleSmoother",
    "GaussNewton",
    "GradientDescent",
    "GrowingWindows",
    "JointOptimization",
    "LevenbergMarquardt",
    "LookUp",
    "MultiStart",
    "Solver",
    "Supervised",
    "complete",
    "solve",
]
