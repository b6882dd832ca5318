"""Panels and films of billiards: tables seen from above, and the landscape of the loss."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from jpo_book.names import METHODS

CUE, TARGET, OTHER = "#f7f7f7", "#CC79A7", "#b8b8b8"  # fills of the balls


def _radius_and_balls(problem):
    return problem.settings["radius"], np.array(problem.settings["positions"])


def _colours(problem):
    colours = [OTHER] * len(problem.settings["positions"])
    colours[0], colours[problem.settings["target_ball"]] = CUE, TARGET
    return colours


def _draw_balls(ax, positions, radius, colours, faint=False) -> None:
    from matplotlib.patches import Circle

    for position, colour in zip(positions, colours):
        face = "none" if faint else colour
        ax.add_patch(
            Circle(
                position,
                radius,
                facecolor=face,
                edgecolor="#444444",
                linewidth=0.5 if faint else 0.9,
                linestyle=":" if faint else "-",
                zorder=2 if faint else 4,
            )
        )


def _draw_table(ax, problem) -> None:
    from matplotlib.patches import Rectangle

    if problem.settings["cushions"]:
        length, width = problem.settings["table_length"], problem.settings["table_width"]
        ax.add_patch(
            Rectangle(
                (-length / 2, -width / 2), length, width, fill=False, edgecolor="#6b4f2a", linewidth=2.0
            )
        )
    ax.set_aspect("equal")
    ax.grid(False)


def shot_landscape(problem, y, speeds, angles):
    """Loss over speed and angle of the shot, and where its gradient is exactly zero, by the program that the solvers use too.

    Arguments:
        y: target, shape (2,).
        speeds, angles: of the shots, shapes (S,) and (A,).
    Returns:
        loss (A, S), flat (A, S).
    """
    from jpo_lib.solvers.evaluation import evaluation

    shots = (
        np.stack([np.cos(angles)[:, None] * speeds, np.sin(angles)[:, None] * speeds], axis=-1)
        .reshape(-1, 2)
        .astype(np.float32)
    )
    arguments = shots, None, np.broadcast_to(np.asarray(y, np.float32), shots.shape)
    loss, gradient = evaluation(problem).compiled(*arguments)[0](*arguments)
    shape = len(angles), len(speeds)
    return np.asarray(loss).reshape(shape), np.all(np.asarray(gradient) == 0, axis=1).reshape(shape)


def plot_shot_landscape(ax, problem, y, points=(), shape: tuple[int, int] = (121, 161)) -> None:
    """The loss over speed and angle as colours; the region where its gradient is zero is hatched.

    Arguments:
        points: (x (2,), label, marker, colour) of shots to mark.
        shape: number of speeds and of angles.
    """
    from matplotlib.patches import Patch
    from matplotlib.ticker import MaxNLocator

    settings = problem.settings  # the range of the prior
    speeds = np.linspace(settings["speed_min"], settings["speed_max"], shape[0])
    angles = np.linspace(-1, 1, shape[1]) * settings["angle_max"]
    loss, flat = shot_landscape(problem, y, speeds, angles)
    levels = np.where(flat, np.nan, np.log10(np.maximum(loss, 1e-4)))
    image = ax.pcolormesh(speeds, angles, levels, cmap="viridis", shading="nearest", rasterized=True)
    with_hatch = ax.contourf(
        speeds, angles, flat.astype(float), levels=[0.5, 1.5], colors=["#d9d9d9"], hatches=["///"]
    )
    with_hatch.set_edgecolor("#8a8a8a")
    with_hatch.set_linewidth(0.0)
    for x, label, marker, colour in points:
        ax.plot(
            np.linalg.norm(x),
            np.arctan2(x[1], x[0]),
            marker,
            color=colour,
            markeredgecolor="white",
            markersize=8,
            markeredgewidth=0.8,
            linestyle="none",
            label=label,
        )
    ax.set(
        xlabel="speed of the shot (dimensionless)",
        ylabel="angle of the shot (radians)",
        ylim=(angles[0], angles[-1]),
        xlim=(speeds[0], speeds[-1]),
    )
    ax.grid(False)
    handles, labels = ax.get_legend_handles_labels()
    handles.append(Patch(facecolor="#d9d9d9", edgecolor="#8a8a8a", hatch="///", linewidth=0.0))
    ax.legend(
        handles, [*labels, "gradient zero"], loc="upper left", fontsize=7, frameon=True, framealpha=0.85
    )
    ax.figure.colorbar(image, ax=ax, label="$\\log_{10}$ loss", pad=0.02, ticks=MaxNLocator(5, integer=True))


def plot_shot(ax, problem, x, y=None, colour: str = METHODS["Joint"][1]) -> None:
    """The table from above: balls at the start (dotted), the ways of their centres, balls at rest, and the target place."""
    import jax.numpy as jnp

    from jpo_lib.problems.billiards import play, positions_at

    radius, balls = _radius_and_balls(problem)
    run = play(problem, jnp.asarray(x, jnp.float32))
    paths = positions_at(run, np.linspace(0.0, float(run.times[-1]), 200), problem.settings["deceleration"])
    _draw_table(ax, problem)
    _draw_balls(ax, balls, radius, _colours(problem), faint=True)
    for ball in range(len(balls)):
        ax.plot(
            *paths[:, ball].T,
            color=colour if ball == problem.settings["target_ball"] else "#777777",
            linewidth=1.3,
            zorder=3,
        )
    _draw_balls(ax, paths[-1], radius, _colours(problem))
    if y is not None:
        ax.plot(*np.asarray(y), "x", color="#000000", markersize=7, markeredgewidth=1.6, zorder=5)


def plot_shots(problem, data, classical: xr.Dataset, joint: xr.Dataset, count: int = 3):
    """Tables side by side for the first problems that BFGS leaves unsolved: one row per problem."""
    import matplotlib.pyplot as plt

    joint = joint.isel(network_seed=0)
    unsolved = np.flatnonzero(~classical.solved.sel(solver="BFGS").values[: len(data)])[:count]
    methods = ("BFGS", "Joint", "JointRefined")
    fig, axes = plt.subplots(
        max(1, len(unsolved)),
        3,
        figsize=(7.4, 1.75 * max(1, len(unsolved)) + 0.3),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    corners = [np.array(problem.settings["positions"])]
    for row, index in zip(axes, unsolved):
        for ax, method in zip(row, methods):
            source = classical if method in classical.solver else joint
            x = source.x.sel(solver=method).isel(problem=index).values
            plot_shot(ax, problem, x, data.y[index], METHODS[method][1])
            corners += [line.get_xydata() for line in ax.lines]
        row[0].set_ylabel(f"problem {index}\n$y$ (dimensionless)")
    points = np.concatenate(corners)
    low, high = points.min(axis=0) - 1.0, points.max(axis=0) + 1.0
    for ax in axes.flat:
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    for ax, method in zip(axes[0], methods):
        ax.set_title(METHODS[method][0])
    for ax in axes[-1]:
        ax.set_xlabel("$x$ (dimensionless)")
    return fig


def film_of_shot(problem, x, y=None, num_frames: int = 36, window=None) -> Callable:
    """Function (figure, k) that draws frame k of a shot, for `show_film`: balls from above, with the ways they have gone.

    Arguments:
        x: velocity of the cue ball, shape (2,).
        y: a place to mark, shape (2,), or None.
        window: (x_min, x_max, y_min, y_max); all that happens when None.
    """
    import jax.numpy as jnp

    from jpo_lib.problems.billiards import play, positions_at

    radius, balls = _radius_and_balls(problem)
    run = play(problem, jnp.asarray(x, jnp.float32))
    fine = 8
    places = positions_at(
        run,
        np.linspace(0.0, float(run.times[-1]), fine * (num_frames - 1) + 1),
        problem.settings["deceleration"],
    )
    if window is None:
        low, high = places.min(axis=(0, 1)) - 2 * radius, places.max(axis=(0, 1)) + 2 * radius
        if problem.settings["cushions"]:
            edge = (
                np.array([problem.settings["table_length"], problem.settings["table_width"]]) / 2
                + 0.2 * radius
            )
            low, high = -edge, edge
        window = (low[0], high[0], low[1], high[1])

    def draw(figure, k: int) -> None:
        figure.set_layout_engine("none")
        ax = figure.add_axes((0.01, 0.02, 0.98, 0.96))
        _draw_table(ax, problem)
        so_far = places[: fine * k + 1]
        for ball in range(len(balls)):
            ax.plot(
                *so_far[:, ball].T,
                color=TARGET if ball == problem.settings["target_ball"] else "#999999",
                linewidth=1.0,
                alpha=0.7,
            )
        _draw_balls(ax, so_far[-1], radius, _colours(problem))
        if y is not None:
            ax.plot(*np.asarray(y), "x", color="#000000", markersize=9, markeredgewidth=1.8, zorder=5)
        ax.set(xlim=window[:2], ylim=window[2:], xticks=[], yticks=[])
        for side in ("top", "right", "bottom", "left"):
            ax.spines[side].set_visible(False)

    return draw
