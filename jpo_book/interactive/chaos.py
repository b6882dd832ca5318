"""Turn up chaos: the landscape of the Kuramoto–Sivashinsky problem along beta for every horizon, and the
motions behind it."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jpo_book.figures.kuramoto_sivashinsky import count_valleys, draw_beta_curves, relative_loss
from jpo_book.interactive.figure import InteractiveFigure, check_index, doubles, packed, rounded, texts
from jpo_lib.networks.kuramoto_sivashinsky import FORCING_MODE
from jpo_lib.problem import Dataset, InverseProblem
from jpo_lib.problems._spectral import etdrk
from jpo_lib.problems.kuramoto_sivashinsky import coefficients_of, kept_modes, trajectory

BETAS, LARGEST_HORIZON, EVERY = np.linspace(0.5, 1.5, 401), 80.0, 2.0
STILL_HORIZONS = (10.0, 20.0, 40.0, 80.0)  # curves of the still picture
LOW, HIGH = -6.0, 1.0  # log10 of the loss over the variance of y, in the data of the page


def beta_landscape(problem: InverseProblem, data: Dataset, index: int = 0):
    """mean_j (u_j(T; beta) - u_j(T; beta*))^2 / var u(T; beta*) for T = 2, 4, ..., 80, at the true alpha.

    One motion for each beta serves all horizons.

    Arguments:
        problem: Kuramoto–Sivashinsky problem; its steps and grid are used, in float64.
        data: truths and first states.
        index: which problem.
    Returns:
        horizons (K,) and the relative loss (K, B) for BETAS, dimensionless.
    """
    settings = {name: problem.settings[name] for name in ("dt", "domain_extent", "order")}
    settings["horizon"], stride = LARGEST_HORIZON, round(EVERY / settings["dt"])
    with jax.enable_x64(True):
        u0 = jnp.asarray(np.asarray(data.context[index], np.float64))
        alpha, beta = coefficients_of(np.asarray(data.x_true, np.float64)[index])
        move = jax.jit(jax.vmap(lambda b: trajectory(u0, alpha, b, **settings)[stride::stride]))
        states = np.asarray(move(jnp.asarray([*BETAS, beta])))
    loss = relative_loss(states[:-1], states[-1]).T
    return EVERY * np.arange(1, len(loss) + 1), loss


def turn_up_chaos(problem: InverseProblem, data: Dataset, *, index: int = 0) -> InteractiveFigure:
    """The loss against beta while T grows from 2 to 80,
    and the motions of the truth and of a beta that the reader chooses.

    The landscape comes from the library, in float64. The page integrates the motion that the reader asks for,
    with the same scheme.

    Arguments:
        problem: a Kuramoto–Sivashinsky problem of order 4 whose number of grid points is a power of two.
        data: its data set.
        index: which problem of the data set.
    Raises:
        ValueError: for another problem, or an index out of range.
    """
    settings = problem.settings
    num_points = settings.get("num_points", 0)
    if problem.name != "kuramoto_sivashinsky" or settings["order"] != 4 or num_points & (num_points - 1):
        expected = "Kuramoto–Sivashinsky of order 4 with a power of two of grid points"
        got = f"{problem.name!r} with {num_points} points"
        raise ValueError(f"problem: expected {expected}, got {got}; the page integrates no other.")
    check_index("index", index, len(data))
    horizons, loss = beta_landscape(problem, data, index)
    alpha, beta = (float(v) for v in coefficients_of(np.asarray(data.x_true, np.float64)[index]))
    k = 2 * np.pi * np.arange(kept_modes(num_points) + 1) / settings["domain_extent"]
    scheme = etdrk(k**2 - k**4, settings["dt"], 4)
    page = {
        "alpha": alpha,
        "beta": beta,
        "guess": 1.0,
        "u0": doubles(data.context[index]),
        "coefficients": doubles(np.stack([scheme.decay, scheme.decay_half, *scheme.stages])),
        "num_points": num_points,
        "extent": settings["domain_extent"],
        "dt": settings["dt"],
        "forcing_mode": FORCING_MODE,
        "solved": 1e-3,
        "horizons": rounded(horizons, 6),
        "first": int(np.searchsorted(horizons, settings["horizon"])),
        "betas": [float(BETAS[0]), float(BETAS[-1]), len(BETAS)],
        "range": [LOW, HIGH],
        "landscape": packed(np.log10(np.maximum(loss, 10.0**LOW)), LOW, HIGH),
        "valleys": count_valleys(loss).tolist(),
    }
    chosen = np.searchsorted(horizons, STILL_HORIZONS)
    words = texts("turn-up-chaos", valleys=[page["valleys"][k] for k in chosen])
    curves = list(zip(STILL_HORIZONS, loss[chosen], strict=True))
    draw = functools.partial(_draw, horizons=horizons, loss=loss, curves=curves, beta=beta)
    return InteractiveFigure("turn-up-chaos", page, draw=draw, figsize=(7.4, 3.2), **words)


def _draw(figure, horizons, loss, curves, beta: float) -> None:
    """The still picture: some curves, and all of them as a map."""
    left, right = figure.subplots(1, 2)
    look = {"color": "#777777", "linewidth": 0.9, "linestyle": "--"}
    draw_beta_curves(left, BETAS, curves, beta, 1.1, look)
    left.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=8, frameon=False)
    level, colours = np.log10(np.maximum(loss, 1e-4)), {"cmap": "viridis", "vmin": -3, "vmax": HIGH}
    image = right.pcolormesh(BETAS, horizons, level, shading="nearest", **colours)
    right.axvline(beta, **look | {"color": "white"})
    right.set(xlabel="trial $\\beta$ (dimensionless)", ylabel="length of the motion $T$")
    right.grid(False)
    figure.colorbar(image, ax=right, label="$\\log_{10}$ (loss / variance of $y$)")
