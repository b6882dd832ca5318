"""Panels of the flow experiment: the flow as it turns, the landscape, and solutions beside their targets."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from jpo_book.names import METHODS

BOX = (0.0, 2 * math.pi, 0.0, 2 * math.pi)
TICKS = ([0, math.pi, 2 * math.pi], ["0", "π", "2π"])


def _map(ax, field, limit: float, cmap: str = "RdBu_r", lower: float | None = None):
    """One field f(x_i, y_j) as a picture: x to the right, y upwards. The last row and column repeat the first, as the box does."""
    closed = np.pad(np.asarray(field), ((0, 1), (0, 1)), mode="wrap")
    half = math.pi / np.shape(field)[0]
    image = ax.imshow(
        closed.T,
        origin="lower",
        extent=(-half, BOX[1] + half, -half, BOX[3] + half),
        cmap=cmap,
        vmin=-limit if lower is None else lower,
        vmax=limit,
        interpolation="bicubic",
    )
    ax.set(xlim=BOX[:2], ylim=BOX[2:])
    ax.set_xticks(*TICKS)
    ax.set_yticks(*TICKS)
    ax.grid(False)
    return image


def plot_evolution(axes, times, vorticity) -> None:
    """The vorticity at some times, one for each of the axes: red turns counter-clockwise, blue clockwise."""
    limit = float(np.abs(vorticity[0]).max())
    chosen = np.linspace(0, len(times) - 1, len(axes)).round().astype(int)
    for ax, k in zip(axes, chosen):
        image = _map(ax, vorticity[k], limit)
        ax.set_title(f"$t$ = {times[k]:.1f}")
        ax.set_xlabel("$x$ (length)")
    axes[0].set_ylabel("$y$ (length)")
    axes[0].figure.colorbar(image, ax=list(axes), label="vorticity $\\omega$ (1 / time)", shrink=0.8)


def draw_flow(figure, k: int, times, vorticity, marker) -> None:
    """Frame k of the film: vorticity and marker side by side."""
    left, right = figure.subplots(1, 2)
    _map(left, vorticity[k], float(np.abs(vorticity[0]).max()))
    _map(right, marker[k], float(marker[0].max()), cmap="viridis", lower=float(marker[0].min()))
    left.set_title(f"vorticity, t = {times[k]:.2f}", loc="left", fontsize=9)
    right.set_title("marker", loc="left", fontsize=9)
    for ax in (left, right):
        ax.tick_params(labelsize=7)


def plot_loss_map(ax, problem, data, index: int = 0, over: str = "position", num_points: int = 41) -> None:
    """The loss of one problem over two of its unknowns, the other two at the truth; a cross marks the truth."""
    import jax
    import jax.numpy as jnp

    truth, limit = np.asarray(data.x_true[index]), problem.settings["force_limit"]
    if over == "position":
        grid = np.linspace(0, 2 * math.pi, num_points)
        trial = [np.array([a / math.pi - 1, b / math.pi - 1, *truth[2:]]) for a in grid for b in grid]
        mark, labels = math.pi * (1 + truth[:2]), ("$x_0$ (length)", "$y_0$ (length)")
    else:
        reach = 1.25 * problem.settings["force_upper"]
        grid = np.linspace(-reach, reach, num_points)
        # Beyond the largest force that the unknowns can express there is nothing to evaluate.
        inverse = [
            np.array([a, b]) / math.sqrt(max(limit**2 - a**2 - b**2, 1e-6)) for a in grid for b in grid
        ]
        trial = [np.array([*truth[:2], *z]) for z in inverse]
        mark, labels = (
            limit * truth[2:] / math.sqrt(1 + truth[2:] @ truth[2:]),
            ("$F_x$ (length / time)", "$F_y$ (length / time)"),
        )
    loss = jax.jit(jax.vmap(problem.objective, (0, None, None)))(
        jnp.asarray(np.array(trial), data.x0.dtype), None, data.y[index]
    )
    values = np.log10(np.asarray(loss) + 1e-12).reshape(num_points, num_points)
    if over != "position":
        values = np.where(np.hypot(*np.meshgrid(grid, grid, indexing="ij")) < limit, values, np.nan)
    levels = np.linspace(np.nanmin(np.maximum(values, -2.0)), np.nanmax(values), 24)
    image = ax.contourf(grid, grid, values.T, levels=levels, cmap="viridis", extend="min")
    image.set_rasterized(True)
    ax.plot(*mark, "x", color="white", markersize=8, markeredgewidth=2)
    if over == "position":
        ax.set_xticks(*TICKS)
        ax.set_yticks(*TICKS)
    ax.set(xlabel=labels[0], ylabel=labels[1], aspect="equal")
    ax.grid(False)
    ax.figure.colorbar(
        image,
        ax=ax,
        shrink=0.9,
        label="$\\log_{10} L$ (dimensionless)",
        ticks=[tick for tick in np.arange(-2, 4, 0.5) if levels[0] <= tick <= levels[-1]],
    )


def plot_flows(problem, data, classical: xr.Dataset, joint: xr.Dataset, count: int = 3):
    """Targets and solutions as maps, for the first problems that BFGS leaves unsolved: one row for each."""
    import jax
    import matplotlib.pyplot as plt

    joint = joint.isel(network_seed=0)
    unsolved = np.flatnonzero(~classical.solved.sel(solver="BFGS").values[: data.num_problems])[:count]
    methods = ("BFGS", "Joint", "JointRefined")
    size = (7.4, 1.75 * max(1, len(unsolved)) + 0.4)
    fig, axes = plt.subplots(max(1, len(unsolved)), 4, figsize=size, sharex=True, sharey=True, squeeze=False)
    simulate = jax.jit(jax.vmap(lambda x: problem.simulate(x, None)))
    image = None
    for row, index in zip(axes, unsolved):
        sources = [classical if method in classical.solver else joint for method in methods]
        x = np.stack(
            [
                source.x.sel(solver=method).isel(problem=index).values
                for source, method in zip(sources, methods)
            ]
        )
        fields = [data.y[index], *simulate(x.astype(data.x0.dtype))]
        for ax, field in zip(row, fields):
            image = _map(ax, field, float(np.abs(data.y[unsolved]).max()))
        for ax, source, method in zip(row[1:], sources, methods):
            loss = float(source.loss.sel(solver=method).isel(problem=index))
            ax.text(0.05, 0.05, f"$L$ = {loss:.0e}", transform=ax.transAxes, fontsize=7)
        row[0].set_ylabel(f"problem {index}\n$y$ (length)")
    for ax, name in zip(axes[0], ("target", *(METHODS[method][0] for method in methods))):
        ax.set_title(name)
    for ax in axes[-1]:
        ax.set_xlabel("$x$ (length)")
    if image is not None:
        fig.colorbar(image, ax=axes, label="vorticity minus shear (1 / time)", shrink=0.7)
    return fig
