"""Solve many inverse problems at once with one neural network, and compare with classical optimizers.

import jpo_lib as jpo
problem = jpo.wave_packet()
data = problem.sample_dataset(num_problems=256, seed=0)
bfgs = jpo.solve(problem, data, jpo.BFGS())
joint = jpo.solve(problem, data, jpo.JointOptimization(group_size=256))
refined = jpo.solve(problem, data, jpo.BFGS(), x0=joint.x)
print(jpo.compare(refined, bfgs))
"""

import importlib

__version__ = "0.1.0"

# Where each public name lives. Loaded on first use, so that `jpo --help` does not wait for JAX.
_HOMES = {
    name: module
    for module, names in {
        "jpo_lib.metrics": "compare wilson_interval",
        "jpo_lib.problem": "Dataset Execution InverseProblem Recommended Result STATUS_TEXTS Starts Status",
        "jpo_lib.problems": "PROBLEMS billiards kuramoto_sivashinsky lorenz96 navier_stokes simulate_shot "
        "wave_packet",
        "jpo_lib.solvers": "Adam BFGS BestOf EnsembleSmoother GaussNewton GradientDescent GrowingWindows "
        "JointOptimization LBFGS LevenbergMarquardt LookUp MultiStart SOLVERS Supervised solve",
        "jpo_lib.solvers.refinement": "continued refine",
        "jpo_lib.solvers.trained": "TrainedNetworks load_networks",
    }.items()
    for name in names.split()
}
__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'jpo_lib' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
