"""What Theorem 5 says of an experiment: how many problems it takes until the slope that they share points to
the solutions, on the way there from the answers of an untrained network."""

from __future__ import annotations

import numpy as np
import xarray as xr

from jpo_book.studies.run_solvers import untrained_answers
from jpo_book.words import percent
from jpo_lib.problem import InverseProblem
from jpo_lib.solvers import JointOptimization, complete
from jpo_lib.solvers.evaluation import evaluation
from jpo_lib.theory import smoothing as theory

LARGEST, NUM_PLACES = 1024, 12  # number of problems, of places on the way
SHARE = 0.9


def slopes_on_the_way(problem: InverseProblem, seed: int, num_problems: int) -> np.ndarray:
    """g_i(s) = <grad L_i(x_i* + s e_i), e_i>,  e_i = x_i - x_i* the errors of an untrained network: above 0
    where a step of problem i leads to its solution.

    L and the clipping of each gradient are those of joint optimization.

    Arguments:
        problem: the family of problems, with the recommended network.
        seed: of the data and of the network.
        num_problems: N.
    Returns:
        g for s = 1, ..., 1 / K, shape (K, N), unit of the loss.
    """
    data = problem.sample_dataset(num_problems, seed)
    clip = complete(problem, JointOptimization()).clip_problem
    found = []
    with problem.precision():
        answers = np.asarray(untrained_answers(problem, data, 1, seed))[:, 0]
        solution = np.asarray(data.x_true)
        error = np.asarray(problem.difference(answers, solution))
        program, _ = evaluation(problem, problem.training_loss).compiled(answers, data.context, data.y)
        for place in np.arange(NUM_PLACES, 0, -1) / NUM_PLACES:
            x = (solution + place * error).astype(answers.dtype)
            gradient = np.asarray(program(x, data.context, data.y)[1], float)
            norm = np.linalg.norm(gradient, axis=-1, keepdims=True)
            found.append(np.sum(gradient * np.minimum(1, clip / np.maximum(norm, 1e-300)) * error, axis=-1))
    return np.array(found)


def needed(slopes: np.ndarray) -> np.ndarray:
    """n for the right sign with probability 0.95 at each place; infinite where the mean points away."""
    moments = theory.slope_moments(slopes)
    return np.where(moments.mean > 0, theory.problems_needed(moments.mean, moments.deviation), np.inf)


def told(problem: InverseProblem, joint: xr.Dataset, seed: int) -> dict[str, str]:
    """What a page says of it, as text by name, and what its study measured.

    Arguments:
        problem: the family of problems.
        joint: results of networks, see `studies.combine_variants`.
        seed: of the data and of the network.
    """
    slopes = slopes_on_the_way(problem, seed, min(LARGEST, 4 * joint.sizes["problem"]))
    rng, count = np.random.default_rng(seed), slopes.shape[1]
    at = needed(slopes)
    drawn = [needed(slopes[:, rng.integers(0, count, count)]).max() for _ in range(400)]
    value, low, high = (
        f"{np.ceil(end):.0f}" if np.isfinite(end) else "any number"
        for end in (at.max(), *np.quantile(drawn, (0.025, 0.975), method="nearest"))
    )
    solved = joint.solved.sel(solver="JointRefined", drop=True).mean(["data_seed", "network_seed", "problem"])
    reached = [int(n) for n in joint.group_size if float(solved.sel(group_size=n)) >= SHARE]
    enough = f"it takes {value} problems ({low} to {high}) until its sign is right with 95 % everywhere"
    away = (
        "no number of problems makes its sign right everywhere: where it is hardest the mean slope leads away"
    )
    return {
        "slope-needed": enough if np.isfinite(at.max()) else away,
        "slope-place": percent(float(np.argmax(at) / NUM_PLACES)),
        "slope-one": percent(float(np.mean(slopes[np.argmax(at)] > 0))),
        "slope-problems": str(count),
        "slope-reached": f"with n = {min(reached)}" if reached else "with none of these n",
    }
