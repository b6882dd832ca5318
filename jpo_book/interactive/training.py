"""A training player: the answers and losses of all problems while the network learns,
BFGS beside it, and the alignment."""

from __future__ import annotations

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np

from jpo_book.figures.panels import REFERENCE, colour_of
from jpo_book.figures.results import plot_all_and_median
from jpo_book.interactive.figure import InteractiveFigure, packed, rounded, texts
from jpo_book.interactive.paths import follow
from jpo_book.studies.run_alignment import cosine
from jpo_lib.problem import Dataset, InverseProblem
from jpo_lib.solvers import BFGS, JointOptimization, solve
from jpo_lib.solvers.evaluation import evaluation

FRAMES = 100
LOW, HIGH = -1.0, 4.0  # log10 of the loss over the threshold, in the data of the page


def play_training(
    problem: InverseProblem, data: Dataset, *, num_steps: Any = None, seed: int = 0
) -> InteractiveFigure:
    """x_i = net(y_i; theta_k) and L(F(x_i), y_i) after k training steps,
    with BFGS after k evaluations beside it.

    The alignment of step k is the mean over problems of <u_i, x_i* - x_i> / (|u_i| |x_i* - x_i|), with u_i
    the change of the network's answer in that step, or with u_i = -grad L_i, the direction that problem i
    alone would take there.

    Arguments:
        problem: a family of problems with one unknown and a box.
        data: problems with known truths.
        num_steps: training steps; the problem's recommendation when None.
        seed: of the network.
    Raises:
        ValueError: for more unknowns, or without box or truths.
    """
    if problem.dimension != 1 or problem.bounds is None or data.x_true is None:
        got = f"{problem.name!r} with {problem.dimension} unknown(s)"
        expected = "one unknown, a box and known truths"
        raise ValueError(f"problem: expected {expected}, got {got}; answers are drawn against truths.")
    joint = solve(problem, data, JointOptimization(num_steps=num_steps, num_recorded=FRAMES), seed=[seed])
    steps, truth = joint.extras["recorded_steps"], np.asarray(data.x_true)
    answers, answers_next = (joint.extras[name][0] for name in ("x_recorded", "x_recorded_next"))
    evaluate, _ = evaluation(problem).compiled(data.x0, data.context, data.y)
    measured = [evaluate(jnp.asarray(x), data.context, data.y) for x in answers]
    losses, gradients = (np.stack([np.asarray(part[k]) for part in measured]) for k in (0, 1))
    threshold = np.asarray(data.threshold)
    bfgs = follow(problem, data, BFGS())
    best = np.minimum.accumulate(bfgs.losses, axis=0)
    (lower,), (upper,) = problem.bounds
    room = upper - lower
    box = [float(lower - 0.5 * room), float(upper + 0.5 * room)]
    error = truth - answers
    ratios = {"joint": losses / threshold, "bfgs": best / threshold}
    loss = {name: packed(np.log10(ratio), LOW, HIGH) for name, ratio in ratios.items()}
    page = {
        "num_problems": len(data),
        "steps": (steps + 1).tolist(),
        "bounds": [float(lower), float(upper)],
        "box": box,
        "range": [LOW, HIGH],
        "truth": rounded(truth[:, 0], 4),
        "joint": {"x": packed(answers[..., 0], *box), "loss": loss["joint"]},
        "bfgs": {"count": len(best), "x": packed(bfgs.points[..., 0], *box), "loss": loss["bfgs"]},
        "alignment": {
            "joint": rounded(cosine(answers_next - answers, error).mean(axis=1), 4),
            "own": rounded(cosine(-gradients, error).mean(axis=1), 4),
        },
    }
    draw = functools.partial(_draw, page=page, ratios=ratios)
    return InteractiveFigure("play-training", page, draw=draw, figsize=(7.4, 3.0), **texts("play-training"))


def _draw(figure, page, ratios) -> None:
    """The still picture: all losses, and the alignment."""
    left, right = figure.subplots(1, 2)
    steps, alignments = page["steps"], page["alignment"]
    plot_all_and_median(left, np.arange(1, len(ratios["bfgs"]) + 1), ratios["bfgs"].T, "BFGS", linewidth=2)
    plot_all_and_median(left, steps, ratios["joint"].T, "Joint", linewidth=2)
    left.axhline(1.0, **REFERENCE | {"linewidth": 0.9})
    left.set(xscale="log", yscale="log", xlabel="evaluations per problem", ylabel="loss / solved threshold")
    left.legend(loc="best")
    right.plot(steps, alignments["joint"], color=colour_of("Joint"), label="update of the network")
    look = {"color": colour_of("GradientDescent"), "linestyle": "--"}
    right.plot(steps, alignments["own"], label="own gradient", **look)
    right.axhline(0.0, color="#777777", linewidth=0.9)
    right.set(xscale="log", ylim=(-1.05, 1.05), xlabel="training step", ylabel="alignment (dimensionless)")
    right.legend(loc="best")
