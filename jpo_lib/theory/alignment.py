"""Gradient alignment: the closed forms of Theorems 1 to 4.

The alignment of an update u with the direction to the solution, x_true - x, is the mean cosine
E[<u, x_true - x> / (|u| |x_true - x|)]; in one dimension, E[sign(u) sign(x_true - x)].
All is NumPy float64; the simulations that test it are in `jpo_lib.theory.measured`. The proofs are on
the book's page of proofs; x_true is written x* there.
"""

import itertools
from functools import lru_cache

import numpy as np
from scipy import special

from jpo_lib._checks import check_choice

LAWS = ("normal", "cauchy")
ESTIMATORS = ("sum", "vote")
TARGET_SLOPE = 10.0  # x_true = 10 gamma, as in the caption of the paper's Figure 2b


# ---------------------------------------------------------------- border checks
def check_counts(name, values, odd=False):
    array = np.atleast_1d(np.asarray(values))
    good = array.dtype.kind in "iu" and array.size > 0 and array.ndim == 1 and array.min() >= 1
    if not good or (odd and np.any(array % 2 == 0)):
        kind = "odd whole numbers" if odd else "whole numbers"
        raise ValueError(f"{name}: expected {kind} of at least 1, got {values!r}; pass for example {name}=9.")
    return array.astype(np.int64)


def check_numbers(name, value, zero_allowed=False):
    array = np.asarray(value, dtype=float)
    if not np.all(np.isfinite(array)) or np.any(array < 0) or (not zero_allowed and np.any(array == 0)):
        bound = "at least 0" if zero_allowed else "above 0"
        raise ValueError(f"{name}: expected finite numbers {bound}, got {value!r}; check its origin.")
    return array


def check_gammas(gammas):
    array = np.asarray(gammas, dtype=float)
    if array.ndim < 1 or array.shape[-1] == 0 or not np.all(np.isfinite(array)):
        seen = f"shape {array.shape}, all finite: {bool(np.all(np.isfinite(array)))}"
        raise ValueError(f"gammas: expected finite numbers (..., n), got {seen}; pass one for each example.")
    return array


def check_half_width(value):
    if not 0 < value <= np.pi / 2:
        raise ValueError(f"half_width: expected a number in (0, pi/2], got {value!r}; pass half_width=1.0.")


# ---------------------------------------------------------------- Theorem 1: noise scaling
def noise_alignment(signal_to_noise, dimension):
    """A_d(lam) = Gamma((d+1)/2) / (sqrt(2) Gamma(d/2+1)) lam 1F1(1/2; d/2+1; -lam^2/2)   (Theorem 1).

    Evaluated as lam sqrt(2/pi) * integral over phi in (0, pi/2) of cos(phi)^d exp(-lam^2 sin(phi)^2 / 2):
    all terms are positive, so that nothing cancels for any lam or d.

    Arguments:
        signal_to_noise: lam = sqrt(n) mu / sigma >= 0, any shape, dimensionless.
        dimension: d >= 1, the number of unknowns, one whole number.
    Returns:
        alignment in [0, 1], shape of signal_to_noise.
    Raises:
        ValueError: for a negative or non-finite lam, or d < 1.

    Source: Holl & Thuerey (2024), arXiv:2408.08119, Figure 2a, for the setting; the proof is ours.
    """
    lam = check_numbers("signal_to_noise", signal_to_noise, zero_allowed=True)[..., None]
    (d,) = check_counts("dimension", dimension)
    nodes, weights = np.polynomial.legendre.leggauss(64)
    # sin(phi) >= 2 phi / pi: beyond this angle the integrand is below exp(-40) of its maximum.
    end = np.minimum(np.pi / 2, 9 / np.sqrt(d + 4 * lam**2 / np.pi**2))
    phi = end * (nodes + 1) / 2
    integrand = np.cos(phi) ** d * np.exp(-0.5 * (lam * np.sin(phi)) ** 2)
    return np.sqrt(2 / np.pi) * lam[..., 0] * np.sum(weights * integrand * end / 2, axis=-1)


def noise_alignment_expansion(signal_to_noise, dimension, regime):
    """small lam: c_d lam (1 - lam^2/(2(d+2)) + 3 lam^4/(8(d+2)(d+4))), c_d = Gamma((d+1)/2)/(sqrt(2)
    Gamma(d/2+1)); large lam: 1 - (d-1)/(2 lam^2) + 3 (d-1)(d-3)/(8 lam^4).

    Arguments:
        signal_to_noise, dimension: as in noise_alignment.
        regime: "small" or "large".
    Raises:
        ValueError: for bad numbers or another regime; lam = 0 with "large".

    Source: the book's page of proofs.
    """
    check_choice("regime", regime, ("small", "large"))
    lam = check_numbers("signal_to_noise", signal_to_noise, zero_allowed=regime == "small")
    (d,) = check_counts("dimension", dimension)
    if regime == "large":
        return 1 - (d - 1) / (2 * lam**2) + 3 * (d - 1) * (d - 3) / (8 * lam**4)
    slope = np.exp(special.gammaln((d + 1) / 2) - special.gammaln(d / 2 + 1)) / np.sqrt(2)
    return slope * lam * (1 - lam**2 / (2 * (d + 2)) + 3 * lam**4 / (8 * (d + 2) * (d + 4)))


# ---------------------------------------------------------------- Theorems 2 and 3: fitting sin(2x) in noise
def majority_correct(prob, num_votes):
    """P = sum over k > n/2 of C(n, k) p^k (1-p)^(n-k) = I_p((n+1)/2, (n+1)/2), n odd   (Theorem 3).

    Arguments:
        prob: p, chance that one vote is right, in [0, 1], any shape, dimensionless.
        num_votes: n, odd, broadcast against prob. (An even n with ties counted half equals n - 1.)
    Raises:
        ValueError: for p outside [0, 1], even n or n < 1.

    Source: the regularized incomplete beta function, DLMF 8.17.5.
    """
    p = np.asarray(prob, dtype=float)
    if not np.all((p >= 0) & (p <= 1)):
        raise ValueError(f"prob: expected probabilities in [0, 1], got {prob!r}; check where they come from.")
    half = (check_counts("num_votes", np.ravel(num_votes), odd=True).reshape(np.shape(num_votes)) + 1) / 2
    return special.betainc(half, half, p)


def vote_efficiency(density_at_zero, variance):
    """e = 4 f(0)^2 sigma^2: as the signal vanishes, n votes are worth e n examples of a sum of losses
    (Theorem 3).

    Arguments:
        density_at_zero: f(0) of the symmetric noise, unit 1/noise.
        variance: sigma^2 of the noise, unit noise^2; infinity is allowed and gives infinity.
    Raises:
        ValueError: for a non-positive value or NaN.

    Source: Hodges & Lehmann (1956), Ann. Math. Statist. 27.
    """
    density = check_numbers("density_at_zero", density_at_zero)
    return 4 * density**2 * (np.inf if np.isposinf(variance) else check_numbers("variance", variance))


@lru_cache(maxsize=4)
def _landscape_nodes(half_width):
    """Nodes (x, x_true, weight) for the mean over the square; every kink of the integrand is a panel edge."""
    t, w = np.polynomial.legendre.leggauss(48)
    position, weight = (1 - np.cos(np.pi * (t + 1) / 2)) / 2, w * np.pi / 4 * np.sin(np.pi * (t + 1) / 2)
    inner, outer = np.pi / 2 - half_width, np.pi / 4
    edges = np.unique(
        np.clip([-half_width, -outer, -inner, inner, outer, half_width], -half_width, half_width)
    )
    x = np.concatenate([a + (b - a) * position for a, b in itertools.pairwise(edges)])
    wx = np.concatenate([(b - a) * weight for a, b in itertools.pairwise(edges)])
    edge = np.full_like(x, half_width)
    cuts = np.sort(np.clip([-edge, x, np.pi / 2 - x, -np.pi / 2 - x, edge], -half_width, half_width), axis=0)
    size = np.diff(cuts, axis=0)[..., None]
    x_true = cuts[:-1, :, None] + size * position
    total = wx[:, None] * size * weight / (2 * half_width) ** 2
    return [np.ravel(np.broadcast_to(v, total.shape)) for v in (x[:, None], x_true, total)]


def landscape_alignment(
    num_examples, noise_scale, estimator="sum", law="normal", noise_only=False, half_width=1.0
):
    """sum:  E[s erf(sqrt(n) delta / (sqrt(2) sigma))]            (Theorem 2; normal noise)
             E[s (2/pi) arctan(delta / sigma)], every n           (Theorem 3; Cauchy noise)
    vote: E[s (2 I_q((n+1)/2, (n+1)/2) - 1)], q the chance that one vote is right where s = 1   (Theorem 3)

    with delta = |sin 2x - sin 2x*|, s = +1 where the noise-free descent direction points to x* and -1
    elsewhere, and x, x* independent and uniform on (-R, R).

    Arguments:
        num_examples: n, whole numbers >= 1, odd for "vote", dimensionless.
        noise_scale: sigma > 0, deviation (normal) or half width at half maximum (Cauchy), unit of the output.
        estimator: "sum" (of losses) or "vote".
        law: "normal" or "cauchy".
        noise_only: set s = 1, which leaves the landscape out.
        half_width: R in (0, pi/2], unit of x.
    Returns:
        alignment in [-1, 1], shape (number of n,).
    Raises:
        ValueError: for input outside these ranges.

    Source: Holl & Thuerey (2024), arXiv:2408.08119, Figure 2c,d, for the setting; the proof is ours.
    """
    check_choice("estimator", estimator, ESTIMATORS)
    check_choice("law", law, LAWS)
    n = check_counts("num_examples", num_examples, odd=estimator == "vote")[:, None]
    sigma = check_numbers("noise_scale", noise_scale)
    check_half_width(half_width)
    x, x_true, weight = _landscape_nodes(float(half_width))
    pull = np.cos(2 * x) * (np.sin(2 * x_true) - np.sin(2 * x))
    right = np.ones_like(x) if noise_only else np.sign(pull * (x_true - x))
    ratio = np.abs(np.sin(2 * x) - np.sin(2 * x_true)) / sigma
    single = special.erf(ratio / np.sqrt(2)) if law == "normal" else 2 / np.pi * np.arctan(ratio)
    if estimator == "vote":
        cosine = 2 * majority_correct((1 + single) / 2, n) - 1
    elif law == "normal":
        cosine = special.erf(np.sqrt(n / 2) * ratio)
    else:
        cosine = np.broadcast_to(single, (len(n), len(x)))
    return cosine @ (right * weight)


def landscape_limit(half_width=1.0):
    """E[s] = (pi / (4R))^2 for pi/4 <= R <= pi/2, and 1 for smaller R: the alignment left as n -> infinity.

    Arguments:
        half_width: R in (0, pi/2], unit of x.
    Raises:
        ValueError: outside of it.

    Source: Theorem 2.
    """
    check_half_width(half_width)
    return min(1.0, (np.pi / (4 * half_width)) ** 2)


# ---------------------------------------------------------------- Theorem 4: through a network
def relu_kernels(gammas):
    """K = (|g - g'| + 2 (pi - t)(1 + g g')) / (2 pi),  Sigma = (|g - g'| + (pi - t)(1 + g g')) / (2 pi)

    with t = |arctan g - arctan g'|, the angle between the inputs (g, 1) and (g', 1): the tangent kernel K and
    the covariance Sigma of the output at the start, for one hidden ReLU layer of infinite width.

    Arguments:
        gammas: identifiers, shape (..., n), dimensionless.
    Returns:
        K, Sigma, each (..., n, n).
    Raises:
        ValueError: for an empty or non-finite input.

    Source: Cho & Saul (2009) for Sigma; Jacot, Gabriel & Hongler (2018) for K.
    """
    g = check_gammas(gammas)
    angle = np.arctan(g)
    t = np.abs(angle[..., :, None] - angle[..., None, :])  # exact also for neighbours, where arccos is not
    across = np.abs(g[..., :, None] - g[..., None, :])
    along = (np.pi - t) * (1 + g[..., :, None] * g[..., None, :])
    return (across + 2 * along) / (2 * np.pi), (across + along) / (2 * np.pi)


def _step(gammas, start=0.0) -> tuple[np.ndarray, np.ndarray]:
    """Residual r = 10 gamma - start and K r, a few draws at a time to bound the memory."""
    g = check_gammas(gammas)
    rows = g.reshape(-1, g.shape[-1])
    r = TARGET_SLOPE * rows - np.broadcast_to(start, g.shape).reshape(rows.shape)
    if not np.all(np.any(r != 0, axis=1)):
        raise ValueError("gammas: expected 10 gamma - start other than 0, got a draw of zeros; remove it.")
    chunk = max(1, 2**18 // rows.shape[1] ** 2)
    pieces = [
        np.einsum("bij,bj->bi", relu_kernels(rows[i : i + chunk])[0], r[i : i + chunk])
        for i in range(0, len(rows), chunk)
    ]
    return r.reshape(g.shape), np.concatenate(pieces).reshape(g.shape)


def network_alignment(gammas, start=0.0):
    """A = <K r, r> / (|K r| |r|),  r = 10 gamma - start   (Theorem 4, infinite width).

    Arguments:
        gammas: identifiers, shape (..., n), dimensionless, not all zero.
        start: output x of the network before the step, broadcast to (..., n); 0 where it is subtracted.
    Returns:
        alignment of each draw, shape (...).
    Raises:
        ValueError: for a non-finite input.

    Source: the book's page of proofs.
    """
    r, u = _step(gammas, start)
    return np.sum(u * r, -1) / (np.linalg.norm(u, axis=-1) * np.linalg.norm(r, axis=-1))


def sample_network_start(rng, gammas):
    """start ~ N(0, Sigma): the output of the infinitely wide network before the step, a Gaussian process.

    Arguments:
        rng: numpy Generator.
        gammas: identifiers, shape (..., n), dimensionless.
    Returns:
        one draw for each row, shape (..., n).
    Raises:
        ValueError: for a non-finite input.

    Source: Lee et al. (2018), arXiv:1711.00165.
    """
    covariance = relu_kernels(gammas)[1]
    # Neighbours make it near singular.
    root = np.linalg.cholesky(covariance + 1e-10 * np.eye(covariance.shape[-1]))
    return np.einsum("...ij,...j->...i", root, rng.standard_normal(np.shape(gammas)))


def network_width_term(gammas, num_angles=720):
    """B = -( c (tr C - C_uu) / 2 + C_ue ) / |K r|^2:  alignment at width m = A + B/m + O(1/m^2)   (Theorem
    4).

    C is the covariance of one neuron's part of K r, u the unit vector along K r, e that along r, c = <u, e>,
    and C_ue uses the part of e across u. C needs one integral over the angle of the neuron's weights.

    Arguments:
        gammas: identifiers, shape (..., n), dimensionless, not all zero.
        num_angles: nodes of the midpoint rule for that angle.
    Returns:
        B of each draw, shape (...), dimensionless.
    Raises:
        ValueError: for a non-finite input or num_angles < 1.

    Source: the book's page of proofs.
    """
    (num,) = check_counts("num_angles", num_angles)
    r, step = _step(gammas)
    rows, steps = r.reshape(-1, r.shape[-1]), step.reshape(-1, r.shape[-1])
    chunk = max(1, 2**17 // (num + rows.shape[1]))
    terms = [_width_terms(rows[i : i + chunk], steps[i : i + chunk], num) for i in range(0, len(rows), chunk)]
    return np.concatenate(terms).reshape(r.shape[:-1])


def _width_terms(r, step, num):
    order = np.argsort(r, axis=1)
    r, step = np.take_along_axis(r, order, 1), np.take_along_axis(step, order, 1)
    length = np.linalg.norm(step, axis=1, keepdims=True)
    u, e = step / length, r / np.linalg.norm(r, axis=1, keepdims=True)
    c = np.sum(u * e, 1, keepdims=True)
    phi = (np.arange(num) + 0.5) * 2 * np.pi / num
    x, y = np.cos(phi), np.sin(phi)
    # A neuron is active on one side of the threshold gamma = -tan(phi), so sums over sorted gammas serve all
    # angles. Rows are searched at once: angles lie within pi/2 of 0 and each row is moved by 4.
    shift = 4 * np.arange(len(r))[:, None]
    g = r / TARGET_SLOPE
    place = np.searchsorted((np.arctan(g) + shift).ravel(), np.arctan(-y / x) + shift)
    place = place - len(g[0]) * shift // 4

    def active(values):
        below = np.concatenate([np.zeros((len(r), 1)), np.cumsum(values, 1)], 1)
        left = np.take_along_axis(below, place, 1)
        return np.where(x > 0, below[:, -1:] - left, left)

    across = e - c * u
    (tx, ty), (ux, uy), (vx, vy) = ((active(v * g), active(v)) for v in (r, u, across))
    gxx, gxy, gyy = active(g * g), active(g), active(np.ones_like(g))
    s, hu, hv = x * tx + y * ty, x * ux + y * uy, x * vx + y * vy
    pu, pv, qu, qv = s * hu, s * hv, tx * ux + ty * uy, tx * vx + ty * vy

    def form(ax, ay, bx, by):
        return gxx * ax * bx + gxy * (ax * by + ay * bx) + gyy * ay * by

    square = 8 * s**2 * form(x, y, x, y) + 4 * s * form(tx, ty, x, y) + 3 * form(tx, ty, tx, ty)
    along = 8 * pu**2 + 4 * pu * qu + 3 * qu**2
    mixed = 8 * pu * pv + 2 * (pu * qv + qu * pv) + 3 * qu * qv
    return -np.mean(c / 2 * (square - along) + mixed, 1) / length[:, 0] ** 2
