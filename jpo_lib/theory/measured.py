"""Measured gradient alignment: simulations in JAX float32, from a key, that test `alignment`."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jpo_lib._checks import check_choice
from jpo_lib.theory.alignment import ESTIMATORS, LAWS, TARGET_SLOPE, check_counts, check_gammas, check_numbers

ROUNDING = 1e-6  # resolution of a float32 cosine; no standard error is taken to be smaller


@partial(jax.jit, static_argnames=("num_seeds", "sizes", "dimensions"))
def _noise_samples(key, signal_to_noise, num_seeds, sizes, dimensions):
    n, d = jnp.array(sizes), jnp.array(dimensions)

    def one(key):
        noise = jax.random.normal(key, (max(sizes), max(dimensions)), jnp.float32)
        update = jnp.cumsum(noise, 0)[n - 1] / n[:, None]
        update = update.at[:, 0].add(signal_to_noise)
        length = jnp.sqrt(jnp.cumsum(update**2, 1)[:, d - 1])  # the first d coordinates serve dimension d
        return (update[:, :1] / length).T

    return jax.lax.map(one, jax.random.split(key, num_seeds))


def sample_noise_alignment(key, num_seeds, num_examples, dimensions, signal_to_noise):
    """Cosine between e and the mean of n draws of mu e + sigma N(0, I_d), for each seed, d and n.

    Arguments:
        key: JAX key.
        num_seeds: whole number >= 1.
        num_examples, dimensions: whole numbers >= 1, one or several.
        signal_to_noise: mu / sigma of one example, > 0.
    Returns:
        float32 array (num_seeds, number of d, number of n); different d and n share draws.
    Raises:
        ValueError: for bad numbers.
    """
    (num_seeds,) = check_counts("num_seeds", num_seeds)
    n, d = check_counts("num_examples", num_examples), check_counts("dimensions", dimensions)
    ratio = jnp.float32(check_numbers("signal_to_noise", signal_to_noise))
    return np.asarray(_noise_samples(key, ratio, int(num_seeds), tuple(n.tolist()), tuple(d.tolist())))


@partial(jax.jit, static_argnames=("num_seeds", "sizes"))
def _landscape_samples(key, noise_scale, half_width, heavy, num_seeds, sizes):
    loss_gradient = jax.grad(lambda x, y: 0.5 * (jnp.sin(2 * x) - y) ** 2)

    def one(key):
        key_x, key_noise = jax.random.split(key)
        x, x_true = jax.random.uniform(key_x, (2,), jnp.float32, -half_width, half_width)
        normal = jax.random.normal(key_noise, (max(sizes),), jnp.float32)
        cauchy = jax.random.cauchy(key_noise, (max(sizes),), jnp.float32)
        # One program for both laws.
        y = jnp.sin(2 * x_true) + noise_scale * jnp.where(heavy, cauchy, normal)
        down = -jax.vmap(loss_gradient, (None, 0))(x, y)
        n = jnp.array(sizes)
        updates = jnp.stack([jnp.cumsum(down)[n - 1], jnp.cumsum(jnp.sign(down))[n - 1]])
        return jnp.sign(updates) * jnp.sign(x_true - x)

    return jax.lax.map(one, jax.random.split(key, num_seeds))


def sample_landscape_alignment(key, num_seeds, num_examples, noise_scale, law="normal", half_width=1.0):
    """sign(u) sign(x* - x) for fitting sin(2x), u from n automatic gradients, for each seed and n.

    Arguments:
        as in landscape_alignment, with a JAX key and the number of seeds.
    Returns:
        {"sum": array (num_seeds, number of n), "vote": the same shape}.
    Raises:
        ValueError: for bad input.
    """
    check_choice("law", law, LAWS)
    (num_seeds,) = check_counts("num_seeds", num_seeds)
    sizes = tuple(check_counts("num_examples", num_examples).tolist())
    sigma = jnp.float32(check_numbers("noise_scale", noise_scale))
    half = jnp.float32(check_numbers("half_width", half_width))
    both = np.asarray(_landscape_samples(key, sigma, half, law == "cauchy", int(num_seeds), sizes))
    return {name: both[:, i] for i, name in enumerate(ESTIMATORS)}


@partial(jax.jit, static_argnames=("num_seeds", "width"))
def _network_weights(key, num_seeds, width):
    return jax.random.normal(key, (num_seeds, width, 3), jnp.float32)


@jax.jit
def _network_samples(weights, gammas, mask, keep_start):
    def one(args):
        w, x = args
        inputs, norm = jnp.stack([x, jnp.ones_like(x)]), np.float32(np.sqrt(len(w)))

        def network(w):
            return w[:, 2] @ jax.nn.relu(w[:, :2] @ inputs) / norm

        start, pull_back = jax.vjp(network, w)
        r = mask * (TARGET_SLOPE * x - keep_start * start)
        (descent,) = pull_back(r)
        u = mask * jax.jvp(network, (w,), (descent,))[1]
        return jnp.vdot(u, r) / (jnp.linalg.norm(u) * jnp.linalg.norm(r))

    return jax.lax.map(one, (weights, gammas))


def sample_network_alignment(key, gammas, width, num_examples=None, start="zero"):
    """Cosine between the first gradient step of a network's outputs and 10 gamma - x, for each draw.

    One hidden ReLU layer x(gamma) = m^(-1/2) sum_j a_j relu(w_j . (gamma, 1)), standard normal weights; the
    gradient of sum_i (x_i - 10 gamma_i)^2 / 2 is taken over all weights and pushed forward to the outputs.

    Arguments:
        key: JAX key.
        gammas: identifiers, shape (num_seeds, n_max).
        width: m >= 1, hidden units.
        num_examples: n <= n_max, one or several; the first n gammas are used. By default n_max.
        start: "zero" subtracts the output at the start, as Theorem 4 does; "random" keeps it.
    Returns:
        float32 array (num_seeds, number of n); different n share the weights.
    Raises:
        ValueError: for bad input.
    """
    g, (m,) = check_gammas(gammas), check_counts("width", width)
    check_choice("start", start, ("zero", "random"))
    if g.ndim != 2:
        raise ValueError(f"gammas: expected shape (num_seeds, n), got {g.shape}; add the missing axis.")
    sizes = check_counts("num_examples", g.shape[1] if num_examples is None else num_examples)
    if sizes.max() > g.shape[1]:
        most = f"at most the {g.shape[1]} gammas of each draw"
        raise ValueError(f"num_examples: expected {most}, got {sizes.max()}; pass more gammas.")
    keep_start, chunks = jnp.float32(start == "random"), []
    for first in range(0, len(g), 1000):  # bounds the memory: 49 MB of weights at width 4096
        rows, columns = g[first : first + 1000], []
        weights = _network_weights(jax.random.fold_in(key, first), len(rows), int(m))
        for n in sizes:
            # Few shapes, few programs to compile.
            padded = 16 * 4 ** max(0, int(np.ceil(np.log2(n / 16) / 2)))
            used = np.pad(rows[:, :n], ((0, 0), (0, padded - n))).astype(np.float32)
            mask = jnp.asarray(np.arange(padded) < n, jnp.float32)
            columns.append(np.asarray(_network_samples(weights, used, mask, keep_start)))
        chunks.append(np.stack(columns, 1))
    return np.concatenate(chunks)


class Agreement(NamedTuple):
    """Measured mean, its standard error, theory, and z = (mean - theory) / standard error of the
    difference."""

    mean: np.ndarray
    standard_error: np.ndarray
    theory: np.ndarray
    z: np.ndarray


def agreement(samples, theory, sign_valued=False):
    """z = mean(samples - theory) / max(std(samples - theory) / sqrt(num_seeds), 1e-6).

    Arguments:
        samples: measured cosines, shape (num_seeds,) or (num_seeds, k).
        theory: expected value, shape () or (k,); or, for a paired comparison, one value for each sample.
        sign_valued: samples are +1 or -1; z then uses the deviation sqrt(1 - theory^2) that theory implies,
            which stays meaningful when all samples agree.
    Returns:
        Agreement of float64 arrays; standard_error is that of the plain mean.
    Raises:
        ValueError: for fewer than two samples or a NaN.
    """
    samples, theory = np.asarray(samples, float), np.asarray(theory, float)
    finite = np.all(np.isfinite(samples)) and np.all(np.isfinite(theory))
    if samples.ndim < 1 or len(samples) < 2 or not finite:
        seen = f"shape {samples.shape}, all finite: {bool(finite)}"
        raise ValueError(f"samples, theory: expected two or more finite samples, got {seen}; add seeds.")
    root = np.sqrt(len(samples))
    expected = theory.mean(0) if theory.ndim == samples.ndim else theory
    difference = samples - theory
    spread = np.sqrt(1 - np.minimum(expected**2, 1)) if sign_valued else difference.std(0, ddof=1)
    z = difference.mean(0) / np.maximum(spread / root, ROUNDING)
    return Agreement(samples.mean(0), samples.std(0, ddof=1) / root, expected, z)
