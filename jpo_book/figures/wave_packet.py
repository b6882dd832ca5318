"""Panels of the wave packet: signals, landscape and solutions."""

from __future__ import annotations

import jax
import numpy as np
import xarray as xr

from jpo_book.figures.panels import REFERENCE, colour_of, solutions_side_by_side
from jpo_book.names import MEASURED


def _times(problem) -> np.ndarray:
    count = problem.settings["num_points"]
    return np.arange(count) * problem.settings["window"] / count


def plot_waveform(ax, problem, data, index: int = 0) -> None:
    """A clean wave packet and its noisy samples."""
    times = _times(problem)
    ax.plot(times, data.y[index], ".", markersize=2, color="#999999", label="target $y$")
    ax.plot(times, problem.simulate(data.x_true[index], None), color=MEASURED, label="signal $u$")
    ax.set(xlabel="time $t$ (radians)", ylabel="$u(t)$ (dimensionless)")
    ax.legend(loc="best")


def plot_landscape(ax, problem, data, index: int = 0) -> None:
    """Loss and derivative of one problem with one unknown, over the range of the prior."""
    (lower,), (upper,) = problem.bounds
    trial = np.linspace(lower, upper, 1200, dtype=data.x0.dtype)[:, None]
    loss, slope = jax.vmap(lambda x: jax.value_and_grad(problem.objective)(x, None, data.y[index]))(trial)
    ax.plot(trial, loss, color=MEASURED, label="loss $L$")
    ax.plot(trial, slope, color=colour_of("Adam"), linewidth=0.8, label="derivative $L'$")
    ax.axvline(float(data.x_true[index, 0]), **REFERENCE)
    ax.set(xlabel="trial centre $t_0$ (radians)", ylabel="loss, derivative (dimensionless)")
    ax.legend(loc="best")


def plot_signals(problem, data, classical: xr.Dataset, joint: xr.Dataset, count: int = 3):
    """Targets and solutions side by side for the first problems that BFGS leaves unsolved."""
    times = _times(problem)

    def draw(ax, index, method, found):
        ax.plot(times, data.y[index], ".", markersize=1.5, color="#aaaaaa")
        signal = problem.simulate(found.x.values.astype(data.x0.dtype), None)
        ax.plot(times, signal, color=colour_of(method), linewidth=1.2)

    labels = "time $t$ (radians)", "$u$ (dimensionless)"
    return solutions_side_by_side(data, classical, joint, count, draw, *labels)
