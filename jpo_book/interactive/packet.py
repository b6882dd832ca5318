"""Move the packet: the signal, its loss and derivative, and where each method ends."""

from __future__ import annotations

import functools
from typing import Any

import equinox as eqx
import jax
import numpy as np

from jpo_book.figures.panels import style
from jpo_book.figures.wave_packet import plot_landscape, plot_waveform
from jpo_book.interactive.figure import InteractiveFigure, rounded, significant, texts
from jpo_lib._checks import check_integer
from jpo_lib.problem import InverseProblem
from jpo_lib.solvers import BFGS, GradientDescent, JointOptimization, complete, solve

LARGEST_NOISE = 1.0  # end of the slider, dimensionless


def network_weights(network) -> dict:
    """Weights of the layers of an `EnergyCentroid1D`, and its scale and offset, as plain lists."""
    layers = [
        {"shape": list(layer.weight.shape)}
        | {name: significant(getattr(layer, name), 7) for name in ("weight", "bias")}
        for layer in network.layers
    ]
    numbers = {"scale": float(network.scale), "offset": float(network.offset)}
    return {"layers": layers, **numbers, "contrast": network.contrast, "stride": network.stride}


def trained_network(joint):
    """The network of the first group of a joint optimization."""
    return jax.tree.map(
        lambda leaf: leaf[0] if eqx.is_array_like(leaf) and np.ndim(leaf) else leaf, joint.extras["network"]
    )


def move_packet(
    problem: InverseProblem, *, num_problems: int = 16, num_steps: Any = None, seed: int = 0
) -> InteractiveFigure:
    """L(t0) = 1/2 sum_j (u(t_j; t0) - y_j)^2 for a packet and a noise that the reader sets,
    and where the methods end.

    The page computes signal, loss, BFGS and gradient descent by itself; the network was trained here, and the
    page evaluates it. It opens with the first problem of the data set that BFGS does not solve; the slider
    makes the noise of that problem larger or smaller.

    Arguments:
        problem: `wave_packet`, with noise.
        num_problems: n, problems that the network was trained on; dimensionless, at least 1.
        num_steps: training steps; the problem's recommendation when None.
        seed: of the data and of the network.
    Raises:
        ValueError: for another problem, no noise, or numbers out of range.
    """
    settings = problem.settings
    if problem.name != "wave_packet" or not settings["noise"] > 0:
        raise ValueError(
            f"problem: expected a wave packet with noise, got {problem.name!r}; the page simulates no other."
        )
    check_integer("num_problems", num_problems, 1)
    data = problem.sample_dataset(num_problems, seed=seed)
    joint = solve(problem, data, JointOptimization(num_steps=num_steps), seed=seed)
    ends = {
        "BFGS": solve(problem, data, BFGS()),
        "GradientDescent": solve(problem, data, GradientDescent()),
        "Joint": joint,
        "JointRefined": solve(problem, data, BFGS(), x0=joint.x),
    }
    first = int(np.argmin(ends["BFGS"].solved))  # the first problem that BFGS leaves unsolved, or problem 0
    truth = np.asarray(data.x_true)[first]
    clean = np.asarray(problem.simulate(truth, None), np.float64)
    noise, descent, bfgs = settings["noise"], complete(problem, GradientDescent()), BFGS()
    page = {
        **{name: settings[name] for name in ("amplitude", "width", "window", "num_points")},
        "lower": settings["prior_lower"],
        "upper": settings["prior_upper"],
        "noise": noise,
        "largest_noise": LARGEST_NOISE,
        "centre": round(float(truth[0]), 3),
        "start": round(float(data.x0[first, 0]), 3),
        "unit_noise": rounded((np.asarray(data.y[first], np.float64) - clean) / noise, 3),
        "num_problems": num_problems,
        "descent": {"rate": descent.learning_rate, "evaluations": descent.max_evaluations},
        "bfgs": {"evaluations": bfgs.max_evaluations, "steps": 200, "tolerance": bfgs.gradient_tolerance},
        "network": network_weights(trained_network(joint)),
    }
    opens = "" if ends["BFGS"].solved.all() else " that BFGS does not solve"
    words = texts("move-packet", opens=opens, num_problems=num_problems, noise=noise)
    draw = functools.partial(_draw, problem=problem, data=data, ends=ends, first=first)
    return InteractiveFigure("move-packet", page, draw=draw, figsize=(7.4, 3.0), **words)


def _draw(figure, problem, data, ends, first: int) -> None:
    """The still picture: one problem, with the end of each method on the landscape."""
    left, right = figure.subplots(1, 2)
    plot_waveform(left, problem, data, index=first)
    plot_landscape(right, problem, data, index=first)
    for name, result in ends.items():
        look = style(name) | {"markeredgecolor": "white", "markersize": 8, "linestyle": "none"}
        right.plot(float(result.x[first, 0]), float(result.loss[first]), **look)
    right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=3, fontsize=8, frameon=False)
