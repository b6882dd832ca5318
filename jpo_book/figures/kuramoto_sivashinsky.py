"""Panels of the Kuramoto–Sivashinsky problem: motion, landscapes, solutions, and what long motions cost."""

from __future__ import annotations

import numpy as np
import xarray as xr

from jpo_book.names import MEASURED, METHODS

HORIZON_COLORS = ("#0072B2", "#009E73", "#E69F00", "#D55E00")


def _motion(problem, x, u0) -> np.ndarray:
    """States of the motion, shape (steps + 1, num_points)."""
    import jax

    from jpo_lib.problems.kuramoto_sivashinsky import coefficients_of, trajectory

    settings = {name: problem.settings[name] for name in ("horizon", "dt", "domain_extent", "order")}
    with problem.precision():
        return np.asarray(jax.jit(lambda x, u0: trajectory(u0, *coefficients_of(x), **settings))(x, u0))


def _space_time(ax, problem, states, limit: float, last: int | None = None):
    settings = problem.settings
    shown = states if last is None else np.where(np.arange(len(states))[:, None] <= last, states, np.nan)
    return ax.imshow(
        shown.T,
        origin="lower",
        aspect="auto",
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
        interpolation="nearest",
        rasterized=True,
        extent=(0, settings["horizon"], 0, settings["domain_extent"]),
    )


def plot_trajectory(ax, problem, data, index: int = 0) -> None:
    """The motion of one problem as a picture: time to the right, the ring upwards, the state as colour."""
    states = _motion(problem, data.x_true[index], data.context[index])
    image = _space_time(ax, problem, states, np.abs(states).max())
    ax.figure.colorbar(image, ax=ax, label="$u$ (dimensionless)")
    ax.set(xlabel="time $t$ (dimensionless)", ylabel="place $x$ (dimensionless)")
    ax.grid(False)


def film_of_trajectory(problem, data, index: int = 0, num_frames: int = 30):
    """A function (figure, k) that draws frame k of the motion: the state on the ring, and the picture as it grows."""
    states = _motion(problem, data.x_true[index], data.context[index])
    limit = np.abs(states).max()
    place = np.arange(states.shape[1]) * problem.settings["domain_extent"] / states.shape[1]

    def draw(figure, k: int) -> None:
        last = round(k * (len(states) - 1) / (num_frames - 1))
        left, right = figure.subplots(1, 2, width_ratios=(1.1, 1))
        left.plot(place, states[last], color=MEASURED)
        left.set(
            xlim=(0, problem.settings["domain_extent"]),
            ylim=(-1.05 * limit, 1.05 * limit),
            xlabel="place $x$ (dimensionless)",
            ylabel="$u(x, t)$ (dimensionless)",
            title=f"$t$ = {last * problem.settings['dt']:.1f}",
        )
        _space_time(right, problem, states, limit, last)
        right.set(xlabel="time $t$ (dimensionless)", ylabel="place $x$ (dimensionless)")
        right.grid(False)

    return draw


def beta_landscapes(problems, data, num_points: int = 401) -> xr.Dataset:
    """Loss over the variance of y against beta, at the true alpha, for several horizons; and the number of valleys.

    Arguments:
        problems: Kuramoto–Sivashinsky problems in float64 that differ in their horizon.
        data: the truths and first states that they share.
    """
    import jax
    import jax.numpy as jnp

    beta = np.linspace(0.5, 1.5, num_points)
    truth, u0 = (np.asarray(values, np.float64) for values in (data.x_true, data.context))
    scaled = np.concatenate([np.tile(2 * (beta - 1), (len(truth), 1)), truth[:, 1:]], axis=1)
    trials = np.stack(
        [np.repeat(truth[:, :1], num_points + 1, axis=1), scaled], axis=2
    )  # the truth itself comes last
    curves = []
    for problem in problems:
        with problem.precision():
            simulate = jax.jit(jax.vmap(jax.vmap(problem.simulate, (0, None))))
            states = np.asarray(simulate(jnp.asarray(trials), jnp.asarray(u0)))
        y = states[:, -1:]
        curves.append(np.mean((states[:, :-1] - y) ** 2, axis=2) / np.var(y, axis=2))
    loss = np.stack(curves)
    valleys = np.sum((loss[..., 1:-1] < loss[..., :-2]) & (loss[..., 1:-1] < loss[..., 2:]), axis=-1)
    return xr.Dataset(
        {
            "loss": (("horizon", "problem", "beta"), loss),
            "valleys": (("horizon", "problem"), valleys),
            "true_beta": ("problem", 1 + 0.5 * truth[:, 1]),
        },
        coords={"beta": beta, "horizon": [p.settings["horizon"] for p in problems]},
    )


def plot_beta_landscapes(ax, landscapes: xr.Dataset, index: int = 0) -> None:
    """The loss of one problem against beta for several horizons."""
    for color, horizon in zip(HORIZON_COLORS, landscapes.horizon.values):
        curve = landscapes.loss.sel(horizon=horizon).isel(problem=index)
        ax.plot(
            landscapes.beta, np.maximum(curve, 1e-4), color=color, linewidth=1.0, label=f"$T$ = {horizon:g}"
        )
    ax.axvline(float(landscapes.true_beta[index]), color="#777777", linewidth=0.8, linestyle=":")
    ax.set(
        yscale="log",
        ylim=(5e-5, None),
        xlabel="trial $\\beta$ (dimensionless)",
        ylabel="loss / variance of $y$",
    )
    ax.legend(loc="lower right", ncols=2)


def plot_joint_landscape(ax, problem, data, index: int = 0, num_points: int = 61, path=None) -> None:
    """The loss over the whole prior box, with the truth and the guess; `path` are points (k, 2) in x to be marked."""
    import jax

    trial = np.linspace(-1, 1, num_points)
    grid = np.stack(np.meshgrid(trial, trial), axis=-1).reshape(-1, 2).astype(data.x0.dtype)
    with problem.precision():
        loss = jax.jit(jax.vmap(problem.objective, (0, None, None)))(grid, data.context[index], data.y[index])
    level = np.log10(
        np.maximum(
            np.asarray(loss).reshape(num_points, num_points) / float(np.var(np.asarray(data.y[index]))), 1e-4
        )
    )
    image = ax.contourf(
        trial, 1 + 0.5 * trial, level, levels=np.linspace(-3, 1, 17), cmap="viridis", extend="both"
    )
    image.set_rasterized(True)
    ax.figure.colorbar(image, ax=ax, label="$\\log_{10}$ (loss / variance of $y$)", ticks=[-3, -2, -1, 0, 1])
    alpha, beta = float(data.x_true[index, 0]), 1 + 0.5 * float(data.x_true[index, 1])
    ax.plot(alpha, beta, "*", color="white", markeredgecolor="black", markersize=11, label="truth")
    ax.plot(0, 1, "o", color="white", markeredgecolor="black", markersize=6, label="guess")
    if path is not None:
        ax.plot(
            path[0],
            1 + 0.5 * path[1],
            "X",
            color="#D55E00",
            markeredgecolor="white",
            markersize=9,
            label="end of BFGS",
        )
    ax.set(xlabel="trial $\\alpha$ (dimensionless)", ylabel="trial $\\beta$ (dimensionless)")
    ax.legend(loc="upper left", bbox_to_anchor=(0, 1.18), ncols=3, handletextpad=0.2, columnspacing=0.8)
    ax.grid(False)


def plot_final_states(problem, data, classical: xr.Dataset, joint: xr.Dataset, count: int = 3):
    """Targets and final states side by side for the first problems that BFGS leaves unsolved: one row per problem."""
    import jax
    import matplotlib.pyplot as plt

    settings = problem.settings
    place = np.arange(settings["num_points"]) * settings["domain_extent"] / settings["num_points"]
    joint = joint.isel(network_seed=0)
    unsolved = np.flatnonzero(~classical.solved.sel(solver="BFGS").values)
    unsolved = unsolved[unsolved < len(data)][:count]
    methods = ("BFGS", "Joint", "JointRefined")
    with problem.precision():
        simulate = jax.jit(problem.simulate)
        rows = max(1, len(unsolved))
        fig, axes = plt.subplots(
            rows, 3, figsize=(7.4, 1.5 * rows + 0.3), sharex=True, sharey=True, squeeze=False
        )
        for row, index in zip(axes, unsolved):
            for ax, method in zip(row, methods):
                source = classical if method in classical.solver else joint
                x = source.x.sel(solver=method).isel(problem=index).values
                ax.plot(place, data.y[index], color="#aaaaaa", linewidth=2.5)
                ax.plot(
                    place,
                    simulate(x.astype(data.x0.dtype), data.context[index]),
                    color=METHODS[method][1],
                    linewidth=1.2,
                )
            row[0].set_ylabel(f"problem {index}\n$u$ (dimensionless)")
    for ax, method in zip(axes[0], methods):
        ax.set_title(METHODS[method][0])
    for ax in axes[-1]:
        ax.set_xlabel("place $x$ (dimensionless)")
    return fig


def plot_cost(ax, attempts: np.recarray) -> None:
    """Solved rate against evaluations per problem: restarts of BFGS, and joint optimization for each n.

    Arguments:
        attempts: rows of the attempts' result file for one horizon, seeds not yet averaged.
    """

    def middle(rows, ending=""):
        return rows[f"evaluations{ending}"].mean(), rows[f"solved{ending}"].mean()

    restarts = attempts[np.char.startswith(attempts.attempt, "multi_start")]
    label, color, marker, line = METHODS["MultiStart"]
    means = sorted(middle(restarts[restarts.attempt == name]) for name in np.unique(restarts.attempt))
    ax.plot(restarts.evaluations, restarts.solved, marker=".", linestyle="none", color=color, alpha=0.5)
    ax.plot(*zip(*means), color=color, marker=marker, ls=line, label=f"{label}, up to 50, 125 or 350")
    label, color, marker, _ = METHODS["BFGS"]
    ax.plot(*middle(attempts[attempts.attempt == "bfgs"]), marker, color=color, label=label)
    joint = attempts[attempts.attempt == "recipe"]
    colors = (METHODS[name][1] for name in ("NetworkStart", "Joint", "JointRefined"))
    for color, size in zip(colors, np.unique(joint.group_size)):
        rows = joint[joint.group_size == size]
        ax.plot(rows.evaluations, rows.solved, marker=".", linestyle="none", color=color, alpha=0.5)
        ends = zip(middle(rows, "_one_run"), middle(rows))
        ax.plot(*ends, marker="s", color=color, label=f"JPO, $n$ = {size}: one run, then restarts")
    ax.set(
        xscale="log",
        xlabel="evaluations of loss and gradient per problem, all counted",
        ylabel="fraction of problems solved",
        ylim=(0, 1),
    )
    ax.set_xticks([10, 20, 50, 100, 200], ["10", "20", "50", "100", "200"])
    ax.minorticks_off()
    ax.legend(loc="lower right")
