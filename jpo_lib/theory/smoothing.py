"""Theorem 5: joint descent is descent on a landscape that is smoothed by the network's own errors.

Problem i has the loss L_i and the current answer x_i. All answers share a direction, along which x_i moves
as x_i + b v_i, and the slope of problem i is g_i = <grad L_i(x_i), v_i>. Where the losses have one shape,
L_i(x) = l(x - x_i*), and the errors are e_i = x_i - x_i*, the mean slope is the slope of l convolved with the
law of -e. All is NumPy float64; the proofs are on the book's page of proofs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from jpo_lib.theory.alignment import check_counts, check_numbers

BERRY_ESSEEN = 0.4748  # Shevtsova (2011): the constant for equal laws


# ---------------------------------------------------------------- the sign of the shared slope
class SlopeMoments(NamedTuple):
    """mu = E[g], sigma = sqrt(Var g), rho = E|g - mu|^3, and skewness E[(g - mu)^3] / sigma^3."""

    mean: np.ndarray
    deviation: np.ndarray
    third: np.ndarray
    skewness: np.ndarray


def slope_moments(slopes, weights=None) -> SlopeMoments:
    """mu = sum_j w_j g_j and the central moments of order 2 and 3, over the last axis.

    Arguments:
        slopes: g at draws of the errors or at the nodes of a quadrature, shape (..., n), unit loss / unit x.
        weights: w, shape (n,), sum 1, dimensionless; None weighs all alike.
    Returns:
        SlopeMoments, each of shape (...).
    """
    g = np.asarray(slopes, float)
    mean = np.average(g, -1, weights)
    rest = g - mean[..., None]
    deviation, third, signed = (np.average(v, -1, weights) for v in (rest**2, np.abs(rest) ** 3, rest**3))
    deviation = np.sqrt(deviation)
    with np.errstate(invalid="ignore"):
        return SlopeMoments(mean, deviation, third, signed / deviation**3)


def sign_probability(num_problems, mean, deviation, skewness: ArrayLike = 0.0):
    """P = Phi(t) + kappa (t^2 - 1) exp(-t^2/2) / (6 sqrt(2 pi n)),  t = sqrt(n) |mu| / sigma   (Theorem 5).

    The chance that the mean of n slopes has the sign of mu. The first term is the normal law, the second the
    correction of Edgeworth for skewed slopes. In one dimension alignment is 2 P - 1 where -mu points to the
    solution, so P(right) = (1 + alignment) / 2.

    Arguments:
        num_problems: n, whole numbers, dimensionless.
        mean, deviation: mu and sigma > 0 of one slope, any shapes that fit n, unit loss / unit x.
        skewness: kappa = E[(g - mu)^3] / sigma^3, dimensionless; 0 leaves the correction out.
    Raises:
        ValueError: for n < 1 or sigma <= 0.

    Source: Feller (1971), An Introduction to Probability Theory and Its Applications II, XVI.4.
    """
    n = check_counts("num_problems", np.ravel(num_problems)).reshape(np.shape(num_problems))
    t = np.sqrt(n) * np.abs(mean) / check_numbers("deviation", deviation)
    # A positive skewness moves the median below the mean, against a positive mu.
    edge = np.sign(mean) * skewness * (t**2 - 1) * np.exp(-(t**2) / 2) / (6 * np.sqrt(2 * np.pi * n))
    return np.clip(special.ndtr(t) + edge, 0, 1)


def sign_bounds(num_problems, mean, deviation, third, width=np.inf):
    """|P - Phi(t)| <= 0.4748 rho / (sigma^3 sqrt(n)),  P >= t^2 / (1 + t^2),  P >= 1 - exp(-2 n mu^2 / R^2).

    They hold for every n (Theorem 5): the bounds of Berry and Esseen, of Cantelli and of Hoeffding.

    Arguments:
        num_problems, mean, deviation: as in sign_probability.
        third: rho = E|g - mu|^3, unit (loss / unit x)^3.
        width: R, length of an interval that holds all slopes, unit loss / unit x; infinity if there is none.
    Returns:
        low, high: the bounds of P.
    Raises:
        ValueError: as sign_probability.

    Source: Shevtsova (2011), arXiv:1111.6554, for the constant; Hoeffding (1963),
    doi:10.1080/01621459.1963.10500830.
    """
    normal = sign_probability(num_problems, mean, deviation)
    squared = np.asarray(num_problems) * np.asarray(mean, float) ** 2
    off = BERRY_ESSEEN * third / (deviation**3 * np.sqrt(num_problems))
    cantelli, hoeffding = squared / (squared + deviation**2), -np.expm1(-2 * squared / width**2)
    return np.maximum(np.maximum(normal - off, cantelli), hoeffding), np.minimum(normal + off, 1.0)


def problems_needed(mean, deviation, probability=0.95):
    """n = (z sigma / mu)^2 with Phi(z) = p;  z = 1.645 for p = 0.95   (Theorem 5).

    Arguments:
        mean, deviation: mu and sigma of one slope, unit loss / unit x; mu = 0 gives infinity.
        probability: p in (1/2, 1), dimensionless.
    Returns:
        n, not rounded.
    Raises:
        ValueError: for p outside (1/2, 1).

    Source: the book's page of proofs.
    """
    if not np.all((np.asarray(probability) > 0.5) & (np.asarray(probability) < 1)):
        raise ValueError(f"probability: expected a number in (1/2, 1), got {probability!r}; pass 0.95.")
    with np.errstate(divide="ignore"):
        return (special.ndtri(probability) * np.divide(deviation, mean)) ** 2


def clipping_efficiency(noise, limit):
    """e(c) = sigma^2 P(|eps| < c)^2 / E[min(eps^2, c^2)]: as the signal vanishes, n slopes that are clipped
    to (-c, c) are worth e n plain ones. As c -> infinity e -> 1; as c -> 0 it is voting, 4 f(0)^2 sigma^2.

    Arguments:
        noise: draws of eps, symmetric about 0, shape (n,), unit loss / unit x.
        limit: c > 0, unit of the noise.
    Raises:
        ValueError: for c <= 0.

    Source: the book's page of proofs; `vote_efficiency` is the limit.
    """
    c, size = check_numbers("limit", limit), np.abs(np.asarray(noise, float))
    return np.mean(size**2) * np.mean(size < c) ** 2 / np.mean(np.minimum(size, c) ** 2)


# ---------------------------------------------------------------- landscapes, smoothed in closed form
def wave_packet_loss(distance, spread: ArrayLike = 0.0, width=3.0, rate=4.0):
    """E[l(d + s xi)], xi ~ N(0, 1), l(d) = C(0) - C(d),  C(d) = r sqrt(pi/8) w exp(-d^2/(2 w^2)) (cos d -
    exp(-w^2/2)): the loss of a wave packet without noise, smoothed by errors of deviation s.

    With W^2 = w^2 + s^2 and q = w^2 / W^2 the mean of C is r sqrt(pi q / 8) w exp(-d^2/(2 W^2))
    (exp(-q s^2/2) cos(q d) - exp(-w^2/2)). The integral of C is zero: wide errors leave no slope.

    Arguments:
        distance: d = x - x*, any shape, radians of the carrier wave.
        spread: s >= 0, radians.
        width: w of the envelope exp(-(t/w)^2), radians.
        rate: r, samples of the signal per radian.
    Returns:
        the loss, unit of the squared amplitude.

    Source: `jpo_lib.problems.wave_packet` for the setting; the proof is ours.
    """
    d, total = np.asarray(distance, float), width**2 + np.square(spread)
    q, top = width**2 / total, rate * np.sqrt(np.pi / 8) * width
    wave = np.exp(-q * np.square(spread) / 2) * np.cos(q * d) - np.exp(-(width**2) / 2)
    return top * -np.expm1(-(width**2) / 2) - top * np.sqrt(q) * np.exp(-(d**2) / (2 * total)) * wave


def wave_packet_slope(distance, spread: ArrayLike = 0.0, width=3.0, rate=4.0):
    """d/dd of `wave_packet_loss`: E[l'(d + s xi)], the shared slope at the shift d.

    Arguments: as there.
    Returns:
        the slope, unit of the loss / radian.
    """
    d, total = np.asarray(distance, float), width**2 + np.square(spread)
    q = width**2 / total
    height = rate * np.sqrt(np.pi * q / 8) * width * np.exp(-(d**2) / (2 * total))
    fade = np.exp(-q * np.square(spread) / 2)
    tilt = d / total * (fade * np.cos(q * d) - np.exp(-(width**2) / 2))
    return height * (tilt + fade * q * np.sin(q * d))


def ripple_slope(distance, amplitudes, frequencies, phases, spread=0.0):
    """d + sum_k a_k w_k exp(-w_k^2 s^2 / 2) cos(w_k d + phi_k): the slope of d^2/2 + sum_k a_k sin(w_k d +
    phi_k), smoothed by normal errors of deviation s. High frequencies go first, the parabola stays.

    Arguments:
        distance: d, any shape, dimensionless.
        amplitudes, frequencies: a and w, shape (K,), dimensionless.
        phases: phi, shape (K,) or (..., K) with ... as d, radians. Uniform phases, drawn anew for each
            problem, make the ripples noise of variance sum_k (a_k w_k)^2 / 2.
        spread: s >= 0, dimensionless.
    Returns:
        the slope, dimensionless.

    Source: the book's page of proofs.
    """
    d, a, w = np.asarray(distance, float), np.asarray(amplitudes, float), np.asarray(frequencies, float)
    return d + np.sum(a * w * np.exp(-((w * spread) ** 2) / 2) * np.cos(w * d[..., None] + phases), -1)


# ---------------------------------------------------------------- joint descent
def joint_descent(slope: Callable, features, start, weights=None, rest=0.0, step=0.1, num_steps=1000):
    """dp/dt = -sum_i w_i f_i l'(e_i),  e_i = <f_i, p> + r_i: steps of size h along the flow of a few numbers
    p that all answers share.

    With f_i = (z_i, 1) they are the spread and the shift of the errors. Quadrature nodes and weights of the
    law of z give the flow of the expectation, n -> infinity. The z_i of n problems give theirs. The mean loss
    falls in each step if h < 2 / (max |l''| m), with m the largest eigenvalue of sum_i w_i f_i f_i^T.

    Arguments:
        slope: l', errors -> slopes of the same shape.
        features: f, shape (n, k).
        start: p at the start, shape (..., k).
        weights: w, shape (n,), sum 1; None weighs all alike.
        rest: r, the part of the errors that p does not move, shape (n,), unit of x.
        step, num_steps: h, unit x^2 / unit loss, and how many steps.
    Returns:
        p at the end and the errors there, shapes (..., k) and (..., n).

    Source: the book's page of proofs.
    """
    f, p = np.asarray(features, float), np.array(start, float)
    pull = f / len(f) if weights is None else f * np.asarray(weights, float)[:, None]
    for _ in range(num_steps):
        p -= step * slope(p @ f.T + rest) @ pull
    return p, p @ f.T + rest
