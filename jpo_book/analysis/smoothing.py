"""Joint descent of wave packets by two numbers that all problems share, the spread and the shift of the
errors: from which starts does it end in the right valley? Predicted by Theorem 5, and measured with the
library."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

import jpo_lib as jpo
from jpo_lib.networks.energy_centroid import EnergyCentroid1D
from jpo_lib.theory.smoothing import joint_descent, wave_packet_slope

NUM_PROBLEMS = 64
PERIOD = 2 * np.pi  # valleys of the loss lie about that far apart
MIDDLE, DEVIATION = 32.0, 16 / np.sqrt(3)  # of the prior of a wave packet's centre, radians
STEP, NUM_STEPS = 0.1, 800  # of the descent; the largest curvature of the loss is about 8.4
GOOD = 0.9  # share of problems that must end in the right valley


class SharedErrors(eqx.Module):
    """x = c + (s0 + s) z + (b0 + b) with c the centre of mass of the signal's energy, z = (c - 32) / 9.24.

    Without noise c is the solution. Trained: s and b, from 0; the start (s0, b0) stands in the identifier.
    """

    spread: jax.Array
    shift: jax.Array

    def __call__(self, y, context=None, identifier=None):
        del context
        energy = jnp.square(y)
        centre = energy @ jnp.arange(len(y)) / energy.sum() * (2 * MIDDLE / len(y))
        spread, shift = self.spread + identifier[0], self.shift + identifier[1]
        return (centre + spread * (centre - MIDDLE) / DEVIATION + shift)[None]


def grid(reach: tuple[float, float] = (4.0, 5.0), num: int = 17) -> np.ndarray:
    """Starts (s, b) on |s| <= reach[0], |b| <= reach[1], shape (num, num, 2), radians."""
    axes = (np.linspace(-end, end, num) for end in reach)
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1)


def features(x_true=None) -> tuple[np.ndarray, np.ndarray]:
    """(z, 1) and weights for the solutions of given problems, shape (n,), or else for their prior."""
    if x_true is not None:
        z, weights = (np.asarray(x_true, float) - MIDDLE) / DEVIATION, np.full(len(x_true), 1 / len(x_true))
    else:
        nodes, weights = np.polynomial.legendre.leggauss(96)
        z, weights = np.sqrt(3) * nodes, weights / 2
    return np.stack([z, np.ones_like(z)], -1), weights


def share_right(errors, weights=None) -> np.ndarray:
    """Share of the problems whose error is below half a period, over the last axis."""
    return np.average(np.abs(errors) < PERIOD / 2, -1, weights)


def predicted(starts, x_true=None, rest=0.0) -> np.ndarray:
    """Whether descent from (s, b) ends in the right valley, by Theorem 5.

    Arguments:
        starts: (s, b), shape (..., 2), radians.
        x_true: the solutions of n problems, shape (n,), for the landscape that they have together; None for
            that of infinitely many.
        rest: the part of the errors that s and b do not move, shape (n,), radians.
    """
    f, weights = features(x_true)
    ends = joint_descent(wave_packet_slope, f, starts, weights, rest, STEP, NUM_STEPS)[1]
    return share_right(ends, weights) >= GOOD


def measured(starts, seed: int = 0, num_problems: int = NUM_PROBLEMS) -> tuple[np.ndarray, np.ndarray]:
    """The same, by `jpo.JointOptimization` on `jpo.wave_packet` without noise: a network `SharedErrors` for
    each start, plain gradient descent. Also the solutions of the problems."""
    problem = jpo.wave_packet(noise=0.0, num_points=128)
    one = problem.sample_dataset(num_problems=num_problems, seed=seed)
    flat = np.asarray(starts, np.float32).reshape(-1, 2)
    data = one[np.tile(np.arange(num_problems), len(flat))]
    marked = np.zeros((len(data), data.identifiers.shape[1]), np.float32)
    marked[:, :2] = np.repeat(flat, num_problems, axis=0)
    data = dataclasses.replace(data, identifiers=jnp.asarray(marked))
    solver = jpo.JointOptimization(
        group_size=num_problems,
        network=lambda key: SharedErrors(jnp.zeros(()), jnp.zeros(())),
        # The loss of 128 samples is half that of `wave_packet_loss`.
        learning_rate=2 * STEP,
        num_steps=NUM_STEPS,
        optimizer="sgd",
        final_rate=1.0,
    )
    ends = jpo.solve(problem, data, solver).extras["x_final"] - np.asarray(data.x_true)
    x_true = np.asarray(one.x_true)[:, 0]
    return share_right(ends.reshape(*np.shape(starts)[:-1], num_problems)) >= GOOD, x_true


def decided(good: np.ndarray) -> np.ndarray:
    """Cells of a map that have eight neighbours, and all of them are alike."""
    alike = ndimage.maximum_filter(good, 3) == ndimage.minimum_filter(good, 3)
    return alike & np.pad(np.ones(np.subtract(good.shape, 2), bool), 1)


def chance(starts, num_sets: int, num_problems: int = NUM_PROBLEMS, seed: int = 0) -> np.ndarray:
    """Share of sets of n problems, drawn anew, for which a start is predicted to be good."""
    draws = np.random.default_rng(seed).uniform(-1, 1, (num_sets, num_problems)) * np.sqrt(3)
    return np.mean([predicted(starts, MIDDLE + DEVIATION * z) for z in draws], axis=0)


class NetworkPaths(NamedTuple):
    """How the errors of G networks moved in training."""

    paths: np.ndarray  # spread and shift at the recorded steps, (G, K, 2), radians
    measured: np.ndarray  # whether training ended in the right valley, (G,)
    predicted: np.ndarray  # whether the descent of spread and shift does, from the errors at the start, (G,)


def network_paths(num_networks: int, num_steps: int, learning_rate: float, seed: int = 0) -> NetworkPaths:
    """Train `EnergyCentroid1D` on noisy wave packets, with Adam, and with the plain centre of mass (contrast
    1), whose errors are wide at the start: noise pulls it towards the middle.

    Arguments:
        num_networks: G; each solves the same 64 problems.
        num_steps, learning_rate: of the training.
        seed: of the problems and of the networks.
    """
    problem = jpo.wave_packet()
    one = problem.sample_dataset(num_problems=NUM_PROBLEMS, seed=seed)
    solver = jpo.JointOptimization(
        group_size=NUM_PROBLEMS,
        network=lambda key: EnergyCentroid1D(key, num_points=256, extent=2 * MIDDLE, contrast=1.0),
        num_steps=num_steps,
        learning_rate=learning_rate,
        num_recorded=min(num_steps, 40),
    )
    data = one[np.tile(np.arange(NUM_PROBLEMS), num_networks)]
    found, x_true = jpo.solve(problem, data, solver, seed=seed).extras, np.asarray(one.x_true)[:, 0]
    recorded = np.concatenate([found["x_recorded"], found["x_final"][None]])
    errors = np.moveaxis(recorded.reshape(len(recorded), num_networks, NUM_PROBLEMS), 0, 1) - x_true
    f, _ = features(x_true)
    paths = errors @ np.linalg.pinv(f).T
    rest = errors[:, 0] - paths[:, 0] @ f.T
    foreseen = [predicted(start, x_true, part) for start, part in zip(paths[:, 0], rest, strict=True)]
    return NetworkPaths(paths, share_right(errors[:, -1]) >= GOOD, np.array(foreseen))
