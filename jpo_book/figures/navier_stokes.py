"""Panels of the flow experiment: the flow as it turns, the landscape, and solutions beside their targets."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jpo_book.figures.panels import solutions_side_by_side

TICKS = ([0, math.pi, 2 * math.pi], ["0", "π", "2π"])


def _map(ax, field, limit: float, cmap: str = "RdBu_r", lowest: float | None = None):
    """One field f(x_i, y_j) as a picture: x to the right, y upwards. The last row and column repeat the
    first, as the box does."""
    closed = np.pad(np.asarray(field), ((0, 1), (0, 1)), mode="wrap")
    half = math.pi / np.shape(field)[0]
    lower, upper = -half, 2 * math.pi + half
    look = {"vmin": -limit if lowest is None else lowest, "vmax": limit, "interpolation": "bicubic"}
    image = ax.imshow(closed.T, origin="lower", extent=(lower, upper) * 2, cmap=cmap, **look)
    ax.set(xlim=(0, 2 * math.pi), ylim=(0, 2 * math.pi))
    _name_ticks(ax)
    ax.grid(False)
    return image


def _name_ticks(ax) -> None:
    ax.set_xticks(*TICKS)
    ax.set_yticks(*TICKS)


def plot_evolution(axes, times, vorticity) -> None:
    """The vorticity at some times, one for each of the axes: red turns counter-clockwise, blue clockwise."""
    limit = float(np.abs(vorticity[0]).max())
    chosen = np.linspace(0, len(times) - 1, len(axes)).round().astype(int)
    for ax, k in zip(axes, chosen, strict=True):
        _map(ax, vorticity[k], limit)
        ax.set_title(f"$t$ = {times[k]:.1f}")
        ax.set_xlabel("$x$ (length)")
    axes[0].set_ylabel("$y$ (length)")
    bar = {"label": "vorticity $\\omega$ (1 / time)", "shrink": 0.8}
    axes[0].figure.colorbar(axes[0].images[0], ax=list(axes), **bar)


def draw_flow(figure, k: int, times, vorticity, marker) -> None:
    """Frame k of the film: vorticity and marker side by side."""
    left, right = figure.subplots(1, 2)
    _map(left, vorticity[k], float(np.abs(vorticity[0]).max()))
    _map(right, marker[k], float(marker[0].max()), cmap="viridis", lowest=float(marker[0].min()))
    left.set_title(f"vorticity, t = {times[k]:.2f}", loc="left", fontsize=9)
    right.set_title("marker", loc="left", fontsize=9)
    for ax in (left, right):
        ax.tick_params(labelsize=7)


def plot_loss_map(ax, problem, data, index: int = 0, over: str = "position", num_points: int = 41) -> None:
    """The loss of one problem over two of its unknowns, the other two at the truth, marked by a cross."""
    truth, limit = np.asarray(data.x_true[index]), problem.settings["force_limit"]
    reach = 1.25 * problem.settings["force_upper"]
    ends = (0, 2 * math.pi) if over == "position" else (-reach, reach)
    grid = np.linspace(*ends, num_points)
    points = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2)
    trial = np.tile(truth.astype(np.float64), (len(points), 1))
    squares = np.sum(points**2, axis=1)
    if over == "position":
        trial[:, :2] = points / math.pi - 1
        mark, labels = math.pi * (1 + truth[:2]), ("$x_0$ (length)", "$y_0$ (length)")
        _name_ticks(ax)
    else:
        trial[:, 2:] = points / np.sqrt(np.maximum(limit**2 - squares, 1e-6))[:, None]
        mark = limit * truth[2:] / math.sqrt(1 + truth[2:] @ truth[2:])
        labels = "$F_x$ (length / time)", "$F_y$ (length / time)"
    evaluate = jax.jit(jax.vmap(problem.objective, (0, None, None)))
    loss = evaluate(jnp.asarray(trial, data.x0.dtype), None, data.y[index])
    values = np.log10(np.asarray(loss) + 1e-12)
    if over != "position":  # nothing to evaluate beyond the largest force that the unknowns can express
        values = np.where(squares < limit**2, values, np.nan)
    levels = np.linspace(np.nanmin(np.maximum(values, -2.0)), np.nanmax(values), 24)
    values = values.reshape(num_points, num_points).T
    image = ax.contourf(grid, grid, values, levels=levels, cmap="viridis", extend="min")
    image.set_rasterized(True)
    ax.plot(*mark, "x", color="white", markersize=8, markeredgewidth=2)
    ax.set(xlabel=labels[0], ylabel=labels[1], aspect="equal")
    ax.grid(False)
    ticks = [tick for tick in np.arange(-2, 4, 0.5) if levels[0] <= tick <= levels[-1]]
    ax.figure.colorbar(image, ax=ax, shrink=0.9, label="$\\log_{10} L$ (dimensionless)", ticks=ticks)


def plot_flows(problem, data, classical: xr.Dataset, joint: xr.Dataset, count: int = 3):
    """Targets and solutions as maps, for the first problems that BFGS leaves unsolved: one row for each."""
    simulate, images = jax.jit(lambda x: problem.simulate(x, None)), []

    def draw(ax, index, method, found):
        field = data.y[index] if found is None else simulate(found.x.values.astype(data.x0.dtype))
        images.append(_map(ax, field, float(np.abs(data.y[index]).max())))
        if found is not None:
            ax.text(0.05, 0.05, f"$L$ = {float(found.loss):.0e}", transform=ax.transAxes, fontsize=7)

    labels, height = ("$x$ (length)", "$y$ (length)"), (1.75, 0.4)
    fig = solutions_side_by_side(data, classical, joint, count, draw, *labels, height, target=True)
    if images:
        limit = max(image.get_clim()[1] for image in images)
        for image in images:
            image.set_clim(-limit, limit)
        fig.colorbar(images[-1], ax=fig.axes, label="vorticity minus shear (1 / time)", shrink=0.7)
    return fig
