"""Panels of the wave packet: signals, landscape and solutions."""

from __future__ import annotations

import numpy as np
import xarray as xr

from jpo_book.names import MEASURED, METHODS


def plot_waveform(ax, problem, data, index: int = 0) -> None:
    """A clean wave packet and its noisy samples."""
    settings = problem.settings
    times = np.arange(settings["num_points"]) * settings["window"] / settings["num_points"]
    ax.plot(times, data.y[index], ".", markersize=2, color="#999999", label="target $y$")
    ax.plot(times, problem.simulate(data.x_true[index], None), color=MEASURED, label="signal $u$")
    ax.set(xlabel="time $t$ (radians)", ylabel="$u(t)$ (dimensionless)")
    ax.legend(loc="best")


def plot_landscape(ax, problem, data, index: int = 0) -> None:
    """Loss and derivative of one problem with one unknown, over the range of the prior."""
    import jax

    (lower,), (upper,) = problem.bounds
    trial = np.linspace(lower, upper, 1200, dtype=data.x0.dtype)[:, None]
    loss, slope = jax.vmap(lambda x: jax.value_and_grad(problem.objective)(x, None, data.y[index]))(trial)
    ax.plot(trial, loss, color=MEASURED, label="loss $L$")
    ax.plot(trial, slope, color=METHODS["Adam"][1], linewidth=0.8, label="derivative $L'$")
    ax.axvline(float(data.x_true[index, 0]), color="#777777", linewidth=0.8, linestyle=":")
    ax.set(xlabel="trial centre $t_0$ (radians)", ylabel="loss, derivative (dimensionless)")
    ax.legend(loc="best")


def plot_signals(problem, data, classical: xr.Dataset, joint: xr.Dataset, count: int = 3):
    """Targets and solutions side by side for the first problems that BFGS leaves unsolved: one row per problem."""
    import matplotlib.pyplot as plt

    settings = problem.settings
    times = np.arange(settings["num_points"]) * settings["window"] / settings["num_points"]
    joint = joint.isel(network_seed=0)
    unsolved = np.flatnonzero(~classical.solved.sel(solver="BFGS").values)[:count]
    methods = ("BFGS", "Joint", "JointRefined")
    fig, axes = plt.subplots(
        max(1, len(unsolved)),
        3,
        figsize=(7.4, 1.5 * max(1, len(unsolved)) + 0.3),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for row, index in zip(axes, unsolved):
        for ax, method in zip(row, methods):
            source = classical if method in classical.solver else joint
            x = source.x.sel(solver=method).isel(problem=index).values
            ax.plot(times, data.y[index], ".", markersize=1.5, color="#aaaaaa")
            ax.plot(
                times,
                problem.simulate(x.astype(data.x0.dtype), None),
                color=METHODS[method][1],
                linewidth=1.2,
            )
        row[0].set_ylabel(f"problem {index}\n$u$ (dimensionless)")
    for ax, method in zip(axes[0], methods):
        ax.set_title(METHODS[method][0])
    for ax in axes[-1]:
        ax.set_xlabel("time $t$ (radians)")
    return fig
