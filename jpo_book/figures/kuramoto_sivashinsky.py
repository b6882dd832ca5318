"""Panels of the Kuramoto–Sivashinsky problem: motion, landscapes, solutions, and what long motions cost."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jpo_book.figures.panels import REFERENCE, colour_of, solutions_side_by_side, style
from jpo_book.names import MEASURED
from jpo_lib.problems.kuramoto_sivashinsky import coefficients_of, trajectory

HORIZON_COLORS = ("#0072B2", "#009E73", "#E69F00", "#D55E00")


def _motion(problem, x, u0) -> np.ndarray:
    """States of the motion, shape (steps + 1, num_points)."""
    settings = {name: problem.settings[name] for name in ("horizon", "dt", "domain_extent", "order")}
    with problem.precision():
        return np.asarray(jax.jit(lambda x, u0: trajectory(u0, *coefficients_of(x), **settings))(x, u0))


def _space_time(ax, problem, states, limit: float):
    extent = (0, problem.settings["horizon"], 0, problem.settings["domain_extent"])
    look = {"vmin": -limit, "vmax": limit, "interpolation": "nearest", "rasterized": True, "aspect": "auto"}
    ax.set(xlabel="time $t$ (dimensionless)", ylabel="place $x$ (dimensionless)")
    ax.grid(False)
    return ax.imshow(states.T, origin="lower", cmap="RdBu_r", extent=extent, **look)


def _places(problem) -> np.ndarray:
    count = problem.settings["num_points"]
    return np.arange(count) * problem.settings["domain_extent"] / count


def plot_trajectory(ax, problem, data, index: int = 0) -> None:
    """The motion of one problem as a picture: time to the right, the ring upwards, the state as colour."""
    states = _motion(problem, data.x_true[index], data.context[index])
    image = _space_time(ax, problem, states, np.abs(states).max())
    ax.figure.colorbar(image, ax=ax, label="$u$ (dimensionless)")


def film_of_trajectory(problem, data, index: int = 0, num_frames: int = 30):
    """A function (figure, k) that draws frame k of the motion: the state, and the picture so far."""
    states = _motion(problem, data.x_true[index], data.context[index])
    limit = np.abs(states).max()

    def draw(figure, k: int) -> None:
        last = round(k * (len(states) - 1) / (num_frames - 1))
        left, right = figure.subplots(1, 2, width_ratios=(1.1, 1))
        left.plot(_places(problem), states[last], color=MEASURED)
        left.set(xlim=(0, problem.settings["domain_extent"]), ylim=(-1.05 * limit, 1.05 * limit))
        left.set(xlabel="place $x$ (dimensionless)", ylabel="$u(x, t)$ (dimensionless)")
        left.set_title(f"$t$ = {last * problem.settings['dt']:.1f}")
        so_far = np.where(np.arange(len(states))[:, None] <= last, states, np.nan)
        _space_time(right, problem, so_far, limit)

    return draw


def beta_landscapes(problems, data, num_points: int = 401) -> xr.Dataset:
    """Loss over the variance of y against beta, at the true alpha, for several horizons;
    and the number of valleys.

    Arguments:
        problems: Kuramoto–Sivashinsky problems in float64 that differ in their horizon.
        data: the truths and first states that they share.
    """
    beta = np.linspace(0.5, 1.5, num_points)
    truth, u0 = (np.asarray(values, np.float64) for values in (data.x_true, data.context))
    trials = np.repeat(truth[:, None], num_points + 1, axis=1)  # the truth itself comes last
    trials[:, :-1, 1] = 2 * (beta - 1)
    curves = []
    for problem in problems:
        with problem.precision():
            simulate = jax.jit(jax.vmap(jax.vmap(problem.simulate, (0, None))))
            states = np.asarray(simulate(jnp.asarray(trials), jnp.asarray(u0)))
        curves.append(relative_loss(states[:, :-1], states[:, -1:]))
    loss = np.stack(curves)
    arrays = {
        "loss": (("horizon", "problem", "beta"), loss),
        "valleys": (("horizon", "problem"), count_valleys(loss)),
        "true_beta": ("problem", 1 + 0.5 * truth[:, 1]),
    }
    return xr.Dataset(arrays, {"beta": beta, "horizon": [p.settings["horizon"] for p in problems]})


def relative_loss(states, y) -> np.ndarray:
    """Mean of (u - y)^2 over the ring, divided by the variance of y."""
    return np.mean((states - y) ** 2, axis=-1) / np.var(y, axis=-1)


def count_valleys(loss) -> np.ndarray:
    """Number of local minima of losses along the last axis, its ends left out."""
    return np.sum((loss[..., 1:-1] < loss[..., :-2]) & (loss[..., 1:-1] < loss[..., 2:]), axis=-1)


def draw_beta_curves(ax, beta, curves, true_beta: float, linewidth: float, reference=REFERENCE) -> None:
    """Losses against beta; `curves` are pairs of a horizon and a loss,
    `reference` the look of the line at the truth."""
    for color, (horizon, loss) in zip(HORIZON_COLORS, curves, strict=False):
        label = f"$T$ = {horizon:g}"
        ax.plot(beta, np.maximum(loss, 1e-4), color=color, linewidth=linewidth, label=label)
    ax.axvline(true_beta, **reference)
    ax.set(yscale="log", xlabel="trial $\\beta$ (dimensionless)", ylabel="loss / variance of $y$")


def plot_beta_landscapes(ax, landscapes: xr.Dataset, index: int = 0) -> None:
    """The loss of one problem against beta for several horizons."""
    curves = zip(landscapes.horizon.values, landscapes.loss.isel(problem=index), strict=True)
    draw_beta_curves(ax, landscapes.beta, curves, float(landscapes.true_beta[index]), 1.0)
    ax.set_ylim(5e-5, None)
    ax.legend(loc="lower right", ncols=2)


def plot_joint_landscape(ax, problem, data, index: int = 0, num_points: int = 61, path=None) -> None:
    """The loss over the whole prior box, with the truth and the guess; `path` is a point x (2,) to mark."""
    trial, y = np.linspace(-1, 1, num_points), data.y[index]
    grid = np.stack(np.meshgrid(trial, trial), axis=-1).reshape(-1, 2).astype(data.x0.dtype)
    with problem.precision():
        loss = jax.jit(jax.vmap(problem.objective, (0, None, None)))(grid, data.context[index], y)
    ratio = np.asarray(loss).reshape(num_points, num_points) / float(np.var(np.asarray(y)))
    level, look = np.log10(np.maximum(ratio, 1e-4)), {"cmap": "viridis", "extend": "both"}
    image = ax.contourf(trial, 1 + 0.5 * trial, level, levels=np.linspace(-3, 1, 17), **look)
    image.set_rasterized(True)
    ax.figure.colorbar(image, ax=ax, label="$\\log_{10}$ (loss / variance of $y$)", ticks=range(-3, 2))
    alpha, beta = float(data.x_true[index, 0]), 1 + 0.5 * float(data.x_true[index, 1])
    look = {"color": "white", "markeredgecolor": "black"}
    ax.plot(alpha, beta, "*", markersize=11, label="truth", **look)
    ax.plot(0, 1, "o", markersize=6, label="guess", **look)
    if path is not None:
        look = {"color": "#D55E00", "markeredgecolor": "white", "markersize": 9}
        ax.plot(path[0], 1 + 0.5 * path[1], "X", label="end of BFGS", **look)
    ax.set(xlabel="trial $\\alpha$ (dimensionless)", ylabel="trial $\\beta$ (dimensionless)")
    ax.legend(loc="upper left", bbox_to_anchor=(0, 1.18), ncols=3, handletextpad=0.2, columnspacing=0.8)
    ax.grid(False)


def plot_final_states(problem, data, classical: xr.Dataset, joint: xr.Dataset, count: int = 3):
    """Targets and final states side by side for the first problems that BFGS leaves unsolved."""
    simulate = jax.jit(problem.simulate)

    def draw(ax, index, method, found):
        with problem.precision():
            state = simulate(found.x.values.astype(data.x0.dtype), data.context[index])
        ax.plot(_places(problem), data.y[index], color="#aaaaaa", linewidth=2.5)
        ax.plot(_places(problem), state, color=colour_of(method), linewidth=1.2)

    labels = "place $x$ (dimensionless)", "$u$ (dimensionless)"
    return solutions_side_by_side(data, classical, joint, count, draw, *labels)


def plot_cost(ax, attempts: np.recarray) -> None:
    """Solved rate against evaluations per problem: restarts of BFGS, and joint optimization for each n.

    Arguments:
        attempts: rows of the attempts' result file for one horizon, seeds not yet averaged.
    """

    def middle(rows, ending=""):
        return rows[f"evaluations{ending}"].mean(), rows[f"solved{ending}"].mean()

    def dots(rows, color):
        ax.plot(rows["evaluations"], rows["solved"], marker=".", linestyle="none", color=color, alpha=0.5)

    restarts = attempts[np.char.startswith(attempts["attempt"], "multi_start")]
    means = sorted(middle(restarts[restarts["attempt"] == name]) for name in np.unique(restarts["attempt"]))
    dots(restarts, colour_of("MultiStart"))
    look = style("MultiStart")
    ax.plot(*zip(*means, strict=True), **look | {"label": f"{look['label']}, up to 50, 125 or 350"})
    single = attempts[attempts["attempt"] == "bfgs"]
    ax.plot(*([value] for value in middle(single)), **style("BFGS") | {"linestyle": "none"})
    joint = attempts[attempts["attempt"] == "recipe"]
    sizes = np.unique(joint["group_size"])
    for method, size in zip(("NetworkStart", "Joint", "JointRefined"), sizes, strict=False):
        rows, color = joint[joint["group_size"] == size], colour_of(method)
        dots(rows, color)
        label = f"JPO, $n$ = {size}: one run, then restarts"
        ends = zip(middle(rows, "_one_run"), middle(rows), strict=True)
        ax.plot(*ends, marker="s", color=color, label=label)
    ax.set(xscale="log", xlabel="evaluations of loss and gradient per problem, all counted")
    ax.set(ylabel="fraction of problems solved", ylim=(0, 1))
    ax.set_xticks([10, 20, 50, 100, 200], ["10", "20", "50", "100", "200"])
    ax.minorticks_off()
    ax.legend(loc="lower right")
