"""Aim the cue ball: the shot, the landscape of the loss, and the ways of three optimizers over it."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from jpo_book.figures.billiards import draw_shot_landscape, plot_shot
from jpo_book.figures.panels import colour_of, style
from jpo_book.interactive.figure import InteractiveFigure, check_index, rounded, significant, texts
from jpo_book.interactive.paths import follow, thinned
from jpo_lib._checks import check_integer
from jpo_lib.problem import STATUS_TEXTS, InverseProblem, Status
from jpo_lib.solvers import BFGS, GradientDescent, JointOptimization, solve

SHOWN = 16  # problems that the reader can choose from
RECORDED = 60  # points on the way of the network's answers
SPEEDS, ANGLES = (2.5, 6.5), (-0.6, 0.6)  # a little more than the prior, since ways lead over its edge


def polar(x) -> np.ndarray:
    """Speed and angle (radians) of velocities (..., 2)."""
    x = np.asarray(x, np.float64)
    return np.stack([np.linalg.norm(x, axis=-1), np.arctan2(x[..., 1], x[..., 0])], axis=-1)


def aim_cue_ball(
    problem: InverseProblem, *, num_problems: int = 16, num_steps: Any = None, first: int = 0, seed: int = 0
) -> InteractiveFigure:
    """L(v) = 1/2 |q(v) - y|^2 over the speed and the angle of a shot v:
    the reader aims, optimizers have gone their ways.

    The shot is simulated by the page itself. The ways of BFGS, gradient descent, joint optimization and its
    refinement are computed here, for the first problems of the data set, none of them selected.

    Arguments:
        problem: `billiards` on the open table.
        num_problems: n, problems that share the network; dimensionless, at least 1.
        num_steps: training steps; the problem's recommendation when None.
        first: which problem is shown first, from 0 to 15.
        seed: of the data and of the network.
    Raises:
        ValueError: for another layout, or numbers out of range.
    """
    settings = problem.settings
    if settings.get("layout") != "open" or settings["cushions"] or len(settings["positions"]) != 2:
        expected, got = "billiards on the open table with two balls", settings.get("layout", problem.name)
        raise ValueError(f"problem: expected {expected}, got {got!r}; the page simulates no other.")
    check_integer("num_problems", num_problems, 1)
    shown = min(SHOWN, num_problems)
    check_index("first", first, shown)
    data = problem.sample_dataset(num_problems, seed=seed)
    joint = solve(problem, data, JointOptimization(num_steps=num_steps, num_recorded=RECORDED), seed=seed)
    answers = np.concatenate([joint.extras["x_recorded"], joint.extras["x_final"][None]])
    descents = {
        "bfgs": follow(problem, data, BFGS()),
        "gd": follow(problem, data, GradientDescent()),
        "refined": follow(problem, data, BFGS(), x0=joint.x),
    }
    problems, truths = [], np.asarray(data.x_true)
    for i in range(shown):
        spent, solved = joint.num_evaluations[i], joint.solved[i]
        methods = {"joint": _way(answers[:, i], joint.x[i], joint.loss[i], spent, solved)}
        for name, descent in descents.items():
            (end, loss), status = descent.best(i), Status(int(descent.status[i]))
            why = STATUS_TEXTS[status] if status == Status.ZERO_GRADIENT else ""
            solved = loss < float(data.threshold[i])
            methods[name] = _way(descent.way(i), end, loss, descent.num_evaluations[i], solved, why)
        start, truth = rounded(polar(data.x0[i]), 6), rounded(polar(truths[i]), 6)
        problems.append({"y": rounded(data.y[i], 6), "start": start, "truth": truth, "methods": methods})
    angle_max = settings["angle_max"]
    page = {
        **{name: settings[name] for name in ("radius", "deceleration", "restitution")},
        "balls": [list(p) for p in settings["positions"]],
        "threshold": significant(data.threshold[0], 6)[0],
        "speeds": SPEEDS,
        "angles": ANGLES,
        "prior": [settings["speed_min"], settings["speed_max"], -angle_max, angle_max],
        "first": first,
        "num_problems": num_problems,
        "problems": problems,
    }
    words = texts("aim-cue-ball", num_problems=num_problems)
    draw = functools.partial(_draw, problem=problem, data=data, page=page)
    return InteractiveFigure("aim-cue-ball", page, draw=draw, figsize=(7.4, 3.4), **words)


def _way(points, end, loss, evaluations, solved, why: str = "") -> dict:
    """What the page gets of a method: the points (k, 2) on its way, its end (2,),
    and what is said about it."""
    way = {"path": thinned(polar(points)), "end": rounded(polar(end), 6), "loss": significant(loss, 4)[0]}
    return way | {"evaluations": int(evaluations), "solved": bool(solved), "why": why}


def _draw(figure, problem, data, page) -> None:
    """The still picture: the shot of BFGS, and the map with all ways."""
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.1))
    y, shown = data.y[page["first"]], page["problems"][page["first"]]
    speed, angle = shown["methods"]["bfgs"]["end"]
    plot_shot(left, problem, speed * np.array([np.cos(angle), np.sin(angle)]), y, colour_of("BFGS"))
    left.set(xlabel="$x$ (dimensionless)", ylabel="$y$ (dimensionless)", title="the shot that BFGS ends with")
    image, _ = draw_shot_landscape(right, problem, y, np.linspace(*SPEEDS, 81), np.linspace(*ANGLES, 81))
    names = {"gd": "GradientDescent", "bfgs": "BFGS", "joint": "Joint", "refined": "JointRefined"}
    for name, method in names.items():
        way, end = np.array(shown["methods"][name]["path"]), shown["methods"][name]["end"]
        look = style(method) | {"linestyle": "-"}
        right.plot(*way.T, color="white", linewidth=3)
        right.plot(*way.T, linewidth=1.4, markevery=[-1], **look)
        look |= {"markeredgecolor": "white", "markersize": 8, "label": None}
        right.plot(*end, zorder=4, **look)
    look = {"color": "white", "markeredgecolor": "black"}
    right.plot(*shown["start"], "o", markersize=12, label="random start", **look)
    right.plot(*shown["truth"], "*", markersize=17, label="truth", **look)
    right.set(xlim=SPEEDS, ylim=ANGLES)
    right.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=8, frameon=False)
    figure.colorbar(image, ax=right, label="$\\log_{10}$ loss")
