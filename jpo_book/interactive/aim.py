"""Aim the cue ball: the shot, the landscape of the loss, and the ways of three optimizers over it."""

from __future__ import annotations

import numpy as np

from jpo_book.interactive.figure import InteractiveFigure, rounded
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
    problem: InverseProblem,
    *,
    num_problems: int = 16,
    num_steps: int | None = None,
    first: int = 0,
    seed: int = 0,
) -> InteractiveFigure:
    """L(v) = 1/2 |q(v) - y|^2 over the speed and the angle of a shot v: the reader aims, optimizers have gone their ways.

    The shot is simulated by the page itself. The ways of BFGS, gradient descent, joint optimization and its refinement are
    computed here, for the first problems of the data set, none of them selected.

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
        raise ValueError(
            f"problem: expected billiards on the open table with two balls, got {settings.get('layout', problem.name)!r}; "
            "the page simulates no other."
        )
    check_integer("num_problems", num_problems, 1)
    shown = min(SHOWN, num_problems)
    if not 0 <= first < shown:
        raise ValueError(
            f"first: expected a problem from 0 to {shown - 1}, got {first!r}; choose one that is shown."
        )
    data = problem.sample_dataset(num_problems, seed=seed)
    joint = solve(problem, data, JointOptimization(num_steps=num_steps, num_recorded=RECORDED), seed=seed)
    answers = np.concatenate([joint.extras["x_recorded"], joint.extras["x_final"][None]])
    descents = {
        "bfgs": follow(problem, data, BFGS()),
        "gd": follow(problem, data, GradientDescent()),
        "refined": follow(problem, data, BFGS(), x0=joint.x),
    }
    problems = []
    for i in range(shown):
        limit = float(data.threshold[i])
        methods = {
            "joint": dict(
                path=thinned(polar(answers[:, i])),
                end=rounded(polar(joint.x[i]), 6),
                loss=float(f"{joint.loss[i]:.4g}"),
                evaluations=int(joint.num_evaluations[i]),
                solved=bool(joint.solved[i]),
                why="",
            )
        }
        for name, descent in descents.items():
            (end, loss), status = descent.best(i), Status(int(descent.status[i]))
            methods[name] = dict(
                path=thinned(polar(descent.way(i))),
                end=rounded(polar(end), 6),
                loss=float(f"{loss:.4g}"),
                evaluations=int(descent.num_evaluations[i]),
                solved=loss < limit,
                why=STATUS_TEXTS[status] if status == Status.ZERO_GRADIENT else "",
            )
        start, truth = rounded(polar(data.x0[i]), 6), rounded(polar(data.x_true[i]), 6)
        problems.append(dict(y=rounded(data.y[i], 6), start=start, truth=truth, methods=methods))
    page = dict(
        radius=settings["radius"],
        deceleration=settings["deceleration"],
        restitution=settings["restitution"],
        balls=[list(p) for p in settings["positions"]],
        threshold=float(f"{data.threshold[0]:.6g}"),
        speeds=SPEEDS,
        angles=ANGLES,
        prior=[settings["speed_min"], settings["speed_max"], -settings["angle_max"], settings["angle_max"]],
        first=first,
        num_problems=num_problems,
        problems=problems,
    )
    return InteractiveFigure(
        "aim-cue-ball",
        page,
        draw=lambda figure: _draw(figure, problem, data, page),
        figsize=(7.4, 3.4),
        alt="Left: a table from above with the shot that BFGS ends with, and the wanted place. Right: a map of the loss over speed and angle, with a "
        "valley between two flat regions, and the ways of BFGS, gradient descent and joint optimization over it.",
        caption="<strong>Aim the cue ball.</strong> Drag the arrow, or a point on the map, or use the sliders, and press <em>Shoot</em>. "
        "The map shows the loss of the chosen problem over speed and angle of the shot, dark is low; in the hatched region the "
        "gradient is exactly zero. The lines are the ways of BFGS and gradient descent from the random start (circle), and of the "
        f"answers of a network that is trained on {num_problems} problems at once, with the refinement by BFGS from its best "
        "answer. The dashed frame is the range of random starts.",
    )


def _draw(figure, problem, data, page) -> None:
    """The still picture: the shot of BFGS, and the map with all ways."""
    from jpo_book.figures.billiards import plot_shot, shot_landscape
    from jpo_book.names import METHODS

    figure.set_layout_engine("constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.1))
    index = page["first"]
    shown = page["problems"][index]
    speed, angle = shown["methods"]["bfgs"]["end"]
    plot_shot(
        left, problem, speed * np.array([np.cos(angle), np.sin(angle)]), data.y[index], METHODS["BFGS"][1]
    )
    left.set(xlabel="$x$ (dimensionless)", ylabel="$y$ (dimensionless)", title="the shot that BFGS ends with")
    speeds, angles = np.linspace(*SPEEDS, 81), np.linspace(*ANGLES, 81)
    loss, flat = shot_landscape(problem, data.y[index], speeds, angles)
    image = right.pcolormesh(
        speeds,
        angles,
        np.where(flat, np.nan, np.log10(np.maximum(loss, 1e-4))),
        cmap="viridis",
        shading="nearest",
    )
    right.contourf(speeds, angles, flat.astype(float), levels=[0.5, 1.5], colors=["#d9d9d9"], hatches=["///"])
    for name, method in (
        ("gd", "GradientDescent"),
        ("bfgs", "BFGS"),
        ("joint", "Joint"),
        ("refined", "JointRefined"),
    ):
        label, colour, marker, _ = METHODS[method]
        way = np.array(shown["methods"][name]["path"])
        right.plot(*way.T, color="white", linewidth=3)
        right.plot(*way.T, color=colour, linewidth=1.4, marker=marker, markevery=[-1], label=label)
        right.plot(
            *shown["methods"][name]["end"],
            marker,
            color=colour,
            markeredgecolor="white",
            markersize=8,
            zorder=4,
        )
    right.plot(
        *shown["start"], "o", color="white", markeredgecolor="black", markersize=12, label="random start"
    )
    right.plot(*shown["truth"], "*", color="white", markeredgecolor="black", markersize=17, label="truth")
    right.set(
        xlim=SPEEDS,
        ylim=ANGLES,
        xlabel="speed of the shot (dimensionless)",
        ylabel="angle of the shot (radians)",
    )
    right.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=8, frameon=False)
    figure.colorbar(image, ax=right, label="$\\log_{10}$ loss")
