"""Turn up chaos: the landscape of the Kuramoto–Sivashinsky problem along beta for every horizon, and the motions behind it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jpo_book.interactive.figure import InteractiveFigure, doubles, packed, rounded
from jpo_lib._checks import check_integer
from jpo_lib.networks.kuramoto_sivashinsky import FORCING_MODE
from jpo_lib.problem import Dataset, InverseProblem
from jpo_lib.problems._spectral import etdrk
from jpo_lib.problems.kuramoto_sivashinsky import coefficients_of, kept_modes, trajectory

BETAS, LARGEST_HORIZON, EVERY = np.linspace(0.5, 1.5, 401), 80.0, 2.0
STILL_HORIZONS = (10.0, 20.0, 40.0, 80.0)  # curves of the still picture
LOW, HIGH = -6.0, 1.0  # log10 of the loss over the variance of y, in the data of the page


def beta_landscape(
    problem: InverseProblem,
    data: Dataset,
    index: int = 0,
    betas=BETAS,
    horizon: float = LARGEST_HORIZON,
    every: float = EVERY,
):
    """mean_j (u_j(T; beta) - u_j(T; beta*))^2 / var u(T; beta*) for T = every, 2 every, ..., horizon, at the true alpha.

    One motion for each beta serves all horizons.

    Arguments:
        problem: Kuramoto–Sivashinsky problem; its steps and grid are used, in float64.
        data: truths and first states.
        index: which problem.
        betas: shape (B,), dimensionless.
        horizon, every: dimensionless times, multiples of the time step.
    Returns:
        horizons (K,), relative loss (K, B), and the states u(T) of the truth (K, num_points), all dimensionless.
    """
    settings = {name: problem.settings[name] for name in ("dt", "domain_extent", "order")}
    stride = round(every / settings["dt"])
    with jax.enable_x64(True):
        u0 = jnp.asarray(np.asarray(data.context[index], np.float64))
        alpha, beta = coefficients_of(np.asarray(data.x_true[index], np.float64))
        move = jax.jit(
            jax.vmap(lambda b: trajectory(u0, alpha, b, horizon=horizon, **settings)[stride::stride])
        )
        states = np.asarray(move(jnp.concatenate([jnp.asarray(betas), jnp.asarray([beta])])))
    truth = states[-1]
    loss = np.mean((states[:-1] - truth) ** 2, axis=-1).T / np.var(truth, axis=-1)[:, None]
    return every * np.arange(1, loss.shape[0] + 1), loss, truth


def turn_up_chaos(problem: InverseProblem, data: Dataset, *, index: int = 0) -> InteractiveFigure:
    """The loss against beta while T grows from 2 to 80, and the motions of the truth and of a beta that the reader chooses.

    The landscape comes from the library, in float64. The page integrates the motion that the reader asks for, with the
    same scheme.

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
        raise ValueError(
            f"problem: expected Kuramoto–Sivashinsky of order 4 with a power of two of grid points, got {problem.name!r} with "
            f"{num_points} points; the page integrates no other."
        )
    check_integer("index", index, 0)
    if index >= len(data):
        raise ValueError(
            f"index: expected a problem from 0 to {len(data) - 1}, got {index}; choose one of the data set."
        )
    horizons, loss, _ = beta_landscape(problem, data, index)
    alpha, beta = (float(v) for v in coefficients_of(np.asarray(data.x_true[index], np.float64)))
    kept = kept_modes(num_points) + 1
    k = 2 * np.pi * np.arange(kept) / settings["domain_extent"]
    scheme = etdrk(k**2 - k**4, settings["dt"], 4)
    coefficients = np.stack([scheme.decay, scheme.decay_half, *scheme.stages])
    page = dict(
        alpha=alpha,
        beta=beta,
        guess=1.0,
        u0=doubles(data.context[index]),
        coefficients=doubles(coefficients),
        num_points=num_points,
        extent=settings["domain_extent"],
        dt=settings["dt"],
        forcing_mode=FORCING_MODE,
        solved=1e-3,
        horizons=rounded(horizons, 6),
        first=int(np.searchsorted(horizons, settings["horizon"])),
        betas=[float(BETAS[0]), float(BETAS[-1]), len(BETAS)],
        range=[LOW, HIGH],
        landscape=packed(np.log10(np.maximum(loss, 10.0**LOW)), LOW, HIGH),
        valleys=np.sum((loss[:, 1:-1] < loss[:, :-2]) & (loss[:, 1:-1] < loss[:, 2:]), axis=1).tolist(),
    )
    valleys = [page["valleys"][int(np.searchsorted(horizons, T))] for T in STILL_HORIZONS]
    return InteractiveFigure(
        "turn-up-chaos",
        page,
        draw=lambda figure: _draw(figure, horizons, loss, beta),
        figsize=(7.4, 3.2),
        alt="Left: the loss against beta for motions of four lengths T. Right: the same as a map over beta and T. Along beta there are "
        f"{valleys[0]} valley(s) at T = 10, {valleys[1]} at T = 20, {valleys[2]} at T = 40 and {valleys[3]} at T = 80.",
        caption="<strong>Turn up chaos.</strong> Move <i>T</i>, the length of the motion, and drag your <i>β</i> along the landscape. "
        "Above: the loss, divided by the variance of the target, against <i>β</i>, with <i>α</i> at its true value; dashed line: "
        "the truth; dotted line: below it a problem counts as solved; the arrow leads from your <i>β</i> down to the valley where "
        "a descent along this curve ends. Below: the motion of the truth, that of your <i>β</i>, and their difference, blue below "
        "zero and red above; place upwards, time to the right. The landscape was computed with the library, the motions are "
        "integrated by your browser.",
    )


def _draw(figure, horizons, loss, beta: float) -> None:
    from jpo_book.figures.kuramoto_sivashinsky import HORIZON_COLORS

    figure.set_layout_engine("constrained")
    left, right = figure.subplots(1, 2)
    for colour, horizon in zip(HORIZON_COLORS, STILL_HORIZONS):
        curve = loss[np.searchsorted(horizons, horizon)]
        left.plot(BETAS, np.maximum(curve, 1e-4), color=colour, linewidth=1.1, label=f"$T$ = {horizon:g}")
    left.axvline(beta, color="#777777", linewidth=0.9, linestyle="--")
    left.set(yscale="log", xlabel="trial $\\beta$ (dimensionless)", ylabel="loss / variance of $y$")
    left.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=8, frameon=False)
    image = right.pcolormesh(
        BETAS,
        horizons,
        np.log10(np.maximum(loss, 1e-4)),
        cmap="viridis",
        vmin=-3,
        vmax=HIGH,
        shading="nearest",
    )
    right.axvline(beta, color="white", linewidth=0.9, linestyle="--")
    right.set(xlabel="trial $\\beta$ (dimensionless)", ylabel="length of the motion $T$")
    right.grid(False)
    figure.colorbar(image, ax=right, label="$\\log_{10}$ (loss / variance of $y$)")
