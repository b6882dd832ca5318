"""What the measurements of several simulators share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def order(steps, errors) -> float:
    """Slope of log(error) against log(step)."""
    return float(np.polyfit(np.log(np.asarray(steps, float)), np.log(np.asarray(errors, float)), 1)[0])


def relative(difference, reference, axis=None) -> np.ndarray:
    """Norm of a difference relative to that of the reference, over all axes or some."""
    return np.asarray(np.linalg.norm(difference, axis=axis) / np.linalg.norm(reference, axis=axis))


def spectrum(values, num_axes: int = 1) -> np.ndarray:
    """Fourier coefficients of real values on a grid, over the last axes, sorted by wave number."""
    axes = tuple(range(-num_axes, 0))
    return np.fft.fftshift(np.fft.fftn(np.asarray(values), axes=axes, norm="forward"), axes)


def difference_of_spectra(fine: np.ndarray, coarse: np.ndarray, num_axes: int = 1) -> np.ndarray:
    """Coefficients of a fine grid minus those of a coarser one, which lacks the outer ones."""
    difference, edge = fine.copy(), (fine.shape[-1] - coarse.shape[-1]) // 2
    inner = slice(edge, edge + coarse.shape[-1])
    difference[(..., *(inner,) * num_axes)] -= coarse
    return difference


def integrated(rate: Callable, start: np.ndarray, horizon: float, rtol: float, atol: float) -> np.ndarray:
    """Complex coefficients at time T of dc/dt = rate(t, c),
    by an explicit Runge–Kutta pair under error control.

    Source: Dormand–Prince pair of order 8(5,3), Hairer, Nørsett & Wanner (1993),
        doi:10.1007/978-3-540-78862-1.
    """
    from scipy.integrate import solve_ivp

    return solve_ivp(rate, (0.0, horizon), start, method="DOP853", rtol=rtol, atol=atol).y[:, -1]


def central_differences(value: Callable, x, step: float) -> np.ndarray:
    """(value(x + step e_i) - value(x - step e_i)) / (2 step) for batches x (B, D)
    and value(x) (B,): shape (B, D)."""
    differences = [value(x + step * unit) - value(x - step * unit) for unit in np.eye(x.shape[-1])]
    return np.stack([np.asarray(difference) / (2 * step) for difference in differences], axis=1)
