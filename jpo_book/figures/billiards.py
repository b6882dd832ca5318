"""Panels and films of billiards: tables seen from above, and the landscape of the loss."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import xarray as xr
from matplotlib.patches import Circle, Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from jpo_book.figures.panels import colour_of, solutions_side_by_side
from jpo_lib.problems.billiards import play, positions_at
from jpo_lib.solvers.evaluation import evaluation

CUE, TARGET, OTHER = "#f7f7f7", "#CC79A7", "#b8b8b8"  # fills of the balls


def _draw_balls(ax, problem, positions, faint=False) -> None:
    look = {"edgecolor": "#444444", "linewidth": 0.9, "zorder": 4}
    if faint:
        look |= {"linewidth": 0.5, "linestyle": ":", "zorder": 2}
    for ball, position in enumerate(positions):
        fill = CUE if ball == 0 else TARGET if ball == problem.settings["target_ball"] else OTHER
        face = "none" if faint else fill
        ax.add_patch(Circle(position, problem.settings["radius"], facecolor=face, **look))


def _draw_table(ax, problem) -> None:
    if problem.settings["cushions"]:
        length, width = problem.settings["table_length"], problem.settings["table_width"]
        edge = {"fill": False, "edgecolor": "#6b4f2a", "linewidth": 2.0}
        ax.add_patch(Rectangle((-length / 2, -width / 2), length, width, **edge))
    ax.set_aspect("equal")
    ax.grid(False)


def _draw_ways(ax, problem, paths, colour, others, y, size, **look) -> None:
    """Ways of the centres (times, balls, 2) from above, the balls at their ends, and a cross at y."""
    for ball, path in enumerate(paths.swapaxes(0, 1)):
        at_target = ball == problem.settings["target_ball"]
        ax.plot(*path.T, color=colour if at_target else others, **look)
    _draw_balls(ax, problem, paths[-1])
    if y is not None:
        cross = {"color": "#000000", "markersize": size, "markeredgewidth": 0.9 + size / 10}
        ax.plot(*np.asarray(y), "x", zorder=5, **cross)


def _ways(problem, x, count: int) -> np.ndarray:
    """Places of all balls at evenly spaced times of a shot with the velocity x (2,), (count, balls, 2)."""
    run = play(problem, jnp.asarray(x, jnp.float32))
    times = np.linspace(0.0, float(run.times[-1]), count)
    return np.asarray(positions_at(run, times, problem.settings["deceleration"]))


def shot_landscape(problem, y, speeds, angles):
    """Loss over speed and angle of the shot, and where its gradient is exactly zero, by the program that the
    solvers use too.

    Arguments:
        y: target, shape (2,).
        speeds, angles: of the shots, shapes (S,) and (A,).
    Returns:
        loss (A, S), flat (A, S).
    """
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    shots = (directions[:, None] * speeds[:, None]).reshape(-1, 2).astype(np.float32)
    arguments = shots, None, np.broadcast_to(np.asarray(y, np.float32), shots.shape)
    loss, gradient = evaluation(problem).compiled(*arguments)[0](*arguments)
    shape = len(angles), len(speeds)
    return np.asarray(loss).reshape(shape), np.all(np.asarray(gradient) == 0, axis=1).reshape(shape)


def draw_shot_landscape(ax, problem, y, speeds, angles, **look):
    """The loss over speed and angle as colours, hatched where its gradient is zero; returns both."""
    loss, flat = shot_landscape(problem, y, speeds, angles)
    levels = np.where(flat, np.nan, np.log10(np.maximum(loss, 1e-4)))
    image = ax.pcolormesh(speeds, angles, levels, cmap="viridis", shading="nearest", **look)
    hatched = {"levels": [0.5, 1.5], "colors": ["#d9d9d9"], "hatches": ["///"]}
    ax.set(xlabel="speed of the shot (dimensionless)", ylabel="angle of the shot (radians)")
    return image, ax.contourf(speeds, angles, flat.astype(float), **hatched)


def plot_shot_landscape(ax, problem, y, points=(), shape: tuple[int, int] = (121, 161)) -> None:
    """The loss over speed and angle as colours; the region where its gradient is zero is hatched.

    Arguments:
        points: (x (2,), label, marker, colour) of shots to mark.
        shape: number of speeds and of angles.
    """
    settings = problem.settings  # the range of the prior
    speeds = np.linspace(settings["speed_min"], settings["speed_max"], shape[0])
    angles = np.linspace(-1, 1, shape[1]) * settings["angle_max"]
    image, hatched = draw_shot_landscape(ax, problem, y, speeds, angles, rasterized=True)
    hatched.set_edgecolor("#8a8a8a")
    hatched.set_linewidth(0.0)
    look = {"markeredgecolor": "white", "markersize": 8, "markeredgewidth": 0.8, "linestyle": "none"}
    for x, label, marker, colour in points:
        ax.plot(np.linalg.norm(x), np.arctan2(x[1], x[0]), marker, color=colour, label=label, **look)
    ax.set(ylim=(angles[0], angles[-1]), xlim=(speeds[0], speeds[-1]))
    ax.grid(False)
    zero = Patch(facecolor="#d9d9d9", edgecolor="#8a8a8a", hatch="///", linewidth=0.0, label="gradient zero")
    handles = [*ax.get_legend_handles_labels()[0], zero]
    ax.legend(handles=handles, loc="upper left", fontsize=7, frameon=True, framealpha=0.85)
    ax.figure.colorbar(image, ax=ax, label="$\\log_{10}$ loss", pad=0.02, ticks=MaxNLocator(5, integer=True))


def plot_shot(ax, problem, x, y=None, colour: str | None = None) -> None:
    """The table from above: balls at the start (dotted), the ways of their centres, balls at rest,
    and the target place."""
    _draw_table(ax, problem)
    _draw_balls(ax, problem, problem.settings["positions"], faint=True)
    look = {"linewidth": 1.3, "zorder": 3}
    _draw_ways(ax, problem, _ways(problem, x, 200), colour or colour_of("Joint"), "#777777", y, 7, **look)


def plot_shots(problem, data, classical: xr.Dataset, joint: xr.Dataset, count: int = 3):
    """Tables side by side for the first problems that BFGS leaves unsolved: one row per problem."""

    def draw(ax, index, method, found):
        plot_shot(ax, problem, found.x.values, data.y[index], colour_of(method))

    labels = "$x$ (dimensionless)", "$y$ (dimensionless)"
    fig = solutions_side_by_side(data, classical, joint, count, draw, *labels, height=(1.75, 0.3))
    lines = [line.get_xydata() for ax in fig.axes for line in ax.lines]
    points = np.concatenate([np.array(problem.settings["positions"]), *lines])
    (left, bottom), (right, top) = points.min(axis=0) - 1.0, points.max(axis=0) + 1.0
    fig.axes[0].set(xlim=(left, right), ylim=(bottom, top))  # all share them
    return fig


def film_of_shot(problem, x, y=None, num_frames: int = 36) -> Callable:
    """Function (figure, k) that draws frame k of a shot, for `show_film`: balls from above, with the ways
    they have gone.

    Arguments:
        x: velocity of the cue ball, shape (2,).
        y: a place to mark, shape (2,), or None.
    """
    settings, fine = problem.settings, 8
    places = _ways(problem, x, fine * (num_frames - 1) + 1)
    room = 2 * settings["radius"]
    low, high = places.min(axis=(0, 1)) - room, places.max(axis=(0, 1)) + room
    if settings["cushions"]:
        high = np.array([settings["table_length"], settings["table_width"]]) / 2 + 0.2 * settings["radius"]
        low = -high

    def draw(figure, k: int) -> None:
        figure.set_layout_engine("none")
        ax = figure.add_axes((0.01, 0.02, 0.98, 0.96))
        _draw_table(ax, problem)
        look = {"linewidth": 1.0, "alpha": 0.7}
        _draw_ways(ax, problem, places[: fine * k + 1], TARGET, "#999999", y, 9, **look)
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xticks=[], yticks=[])
        ax.spines[:].set_visible(False)

    return draw
