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
from scipy import ndimage, optimize

import jpo_lib as jpo
from jpo_lib.networks.energy_centroid import EnergyCentroid1D
from jpo_lib.theory import smoothing as theory

NUM_PROBLEMS = 64
PERIOD = 2 * np.pi  # valleys of the loss lie about that far apart
MIDDLE, DEVIATION = 32.0, 16 / np.sqrt(3)  # of the prior of a wave packet's centre, radians
STEP, NUM_STEPS = 0.15, 400  # of the descent; the largest curvature of the loss is about 8.4
GOOD = 0.9  # share of problems that must end in the right valley
SIZES = 4 ** np.arange(5)
SPREADS, SHIFT = (1.0, 2.0, 3.0), 1.0  # of the errors of wave packets, radians
RIPPLES, RIPPLE_SHIFT = ((0.5, 0.3, 0.2), (3.0, 7.0, 13.0)), 0.3  # amplitudes and frequencies on d^2 / 2


class SlopeSigns(NamedTuple):
    """How often the mean of n slopes has the sign of their expectation, for n in `SIZES`."""

    moments: theory.SlopeMoments
    measured: np.ndarray  # shape (number of n,)
    standard_error: np.ndarray  # by the probability of theory
    predicted: np.ndarray
    low: np.ndarray  # proven bounds
    high: np.ndarray

    @property
    def z(self) -> np.ndarray:
        """measured minus predicted, in standard errors."""
        return (self.measured - self.predicted) / self.standard_error


class SharedErrors(eqx.Module):
    """x = c + (s0 + s) z + (b0 + b) with c the centre of mass of the signal's energy, z = (c - 32) / 9.24.

    Without noise c is the solution. Trained: s and b, from 0; the start (s0, b0) stands in the identifier.
    """

    spread: jax.Array
    shift: jax.Array

    def __call__(self, y, context=None, identifier=None):
        del context
        assert identifier is not None
        energy = jnp.square(y)
        centre = energy @ jnp.arange(len(y)) / energy.sum() * (2 * MIDDLE / len(y))
        spread, shift = self.spread + identifier[0], self.shift + identifier[1]
        return (centre + spread * (centre - MIDDLE) / DEVIATION + shift)[None]


def slopes_of(name: str, shape, rng: np.random.Generator) -> np.ndarray:
    """Draws of g: "quadratic", "ripples" (phases drawn for each problem), or "spread s" for wave packets with
    normal errors of deviation s."""
    if name == "ripples":
        phases = rng.uniform(0, 2 * np.pi, (*shape, 3))
        return theory.ripple_slope(np.full(shape, RIPPLE_SHIFT), *RIPPLES, phases)
    if name == "quadratic":
        return 0.2 + rng.standard_normal(shape)
    return theory.wave_packet_slope(SHIFT + float(name.split()[1]) * rng.standard_normal(shape))


def sign_of_slope(name: str, num_draws: int = 10_000, seed: int = 0) -> SlopeSigns:
    """Draws of n slopes beside the normal law of Theorem 5 and its bounds. Their mean is exact, the other
    moments come from draws of their own."""
    rng = np.random.default_rng(seed)
    g = slopes_of(name, (num_draws, SIZES[-1]), rng)
    exact = {"ripples": RIPPLE_SHIFT, "quadratic": 0.2}
    mean = exact[name] if name in exact else theory.wave_packet_slope(SHIFT, float(name.split()[1]))
    moments = theory.slope_moments(slopes_of(name, (1_000_000,), rng))._replace(mean=mean)
    measured = np.mean(np.sign(np.cumsum(g, 1)[:, SIZES - 1]) == np.sign(mean), axis=0)
    chance_right = theory.sign_probability(SIZES, mean, moments.deviation)
    error = np.sqrt(np.maximum(chance_right * (1 - chance_right), 1 / num_draws) / num_draws)
    return SlopeSigns(moments, measured, error, chance_right, *theory.sign_bounds(SIZES, *moments[:3]))


def grid(num: int, spreads=(-4.0, 4.0), shifts=(-5.0, 5.0)) -> np.ndarray:
    """Starts (s, b) on evenly spaced spreads and shifts, shape (num, num, 2), radians."""
    axes = (np.linspace(low, high, num) for low, high in (spreads, shifts))
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
    ends = theory.joint_descent(theory.wave_packet_slope, f, starts, weights, rest, STEP, NUM_STEPS)[1]
    return share_right(ends, weights) >= GOOD


def measured(starts, seed: int = 0, num_problems: int = NUM_PROBLEMS) -> tuple[np.ndarray, np.ndarray]:
    """The same, by `jpo.JointOptimization` on `jpo.wave_packet` without noise: a network `SharedErrors` for
    each start, plain gradient descent. Also the solutions of the problems."""
    problem = jpo.wave_packet(noise=0.0, num_points=64)
    one = problem.sample_dataset(num_problems=num_problems, seed=seed)
    flat = np.asarray(starts, np.float32).reshape(-1, 2)
    data = one[np.tile(np.arange(num_problems), len(flat))]
    marked = np.zeros((len(data), data.identifiers.shape[1]), np.float32)
    marked[:, :2] = np.repeat(flat, num_problems, axis=0)
    data = dataclasses.replace(data, identifiers=jnp.asarray(marked))
    solver = jpo.JointOptimization(
        group_size=num_problems,
        network=lambda key: SharedErrors(jnp.zeros(()), jnp.zeros(())),
        # A sum over 64 samples is a quarter of `wave_packet_loss`, which has four a radian.
        learning_rate=4 * STEP,
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


def drawn_sets(starts, num_sets: int, num_problems: int = NUM_PROBLEMS, seed: int = 0) -> np.ndarray:
    """The predicted maps of sets of n problems that are drawn anew, shape (number of sets, ...)."""
    draws = np.random.default_rng(seed).uniform(-1, 1, (num_sets, num_problems)) * np.sqrt(3)
    return np.array([predicted(starts, MIDDLE + DEVIATION * z) for z in draws])


def agreement(predicted, measured) -> np.ndarray:
    """Share of the decided cells of a predicted map that are measured as predicted, for each measured map."""
    pairs = zip(np.broadcast_to(predicted, np.shape(measured)), measured, strict=True)
    return np.array([np.mean((p == m)[decided(p)]) for p, m in pairs])


class Trap(NamedTuple):
    """A valley of the expected loss in (s, b) that is no solution, and the way out of it."""

    place: np.ndarray  # (s, b), radians
    saddle: np.ndarray  # (s, b) of the saddle between it and the solution, radians
    barrier: float  # mean loss on the saddle minus that in the trap, unit of the loss
    deviation: float  # of that difference from problem to problem, unit of the loss


def trap() -> Trap:
    """The trap nearest to the solution: errors that reach over two valleys of the loss."""
    f, weights = features()
    long = {"step": STEP, "num_steps": 20 * NUM_STEPS}
    place, errors = theory.joint_descent(theory.wave_packet_slope, f, (3.0, 3.0), weights, **long)
    saddle = optimize.root(lambda p: (weights * theory.wave_packet_slope(f @ p)) @ f, 0.85 * place).x
    climb = theory.wave_packet_loss(f @ saddle) - theory.wave_packet_loss(errors)
    barrier = weights @ climb
    return Trap(place, saddle, float(barrier), float(np.sqrt(weights @ (climb - barrier) ** 2)))


class NetworkPaths(NamedTuple):
    """How the errors of G networks moved in training."""

    paths: np.ndarray  # spread and shift at the recorded steps, (G, K, 2), radians
    measured: np.ndarray  # whether training ended in the right valley, (G,)
    predicted: np.ndarray  # whether the descent of spread and shift does, from the errors at the start, (G,)


def network_paths(num_networks: int, num_steps: int, seed: int = 0) -> NetworkPaths:
    """Train `EnergyCentroid1D` on noisy wave packets, with Adam, and with the plain centre of mass (contrast
    1), whose errors are wide at the start: noise pulls it towards the middle.

    Arguments:
        num_networks: G; each solves the same 64 problems.
        num_steps: of the training; fewer steps are longer.
        seed: of the problems and of the networks.
    """
    problem = jpo.wave_packet()
    one = problem.sample_dataset(num_problems=NUM_PROBLEMS, seed=seed)
    solver = jpo.JointOptimization(
        group_size=NUM_PROBLEMS,
        network=lambda key: EnergyCentroid1D(key, num_points=256, extent=2 * MIDDLE, contrast=1.0),
        num_steps=num_steps,
        learning_rate=0.4 / num_steps,
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


class Work(NamedTuple):
    """How much is computed."""

    grid: int  # starts along each side of a map
    data_sets: int
    drawn_sets: int  # behind each shade of the map of chances
    networks: int
    num_steps: int  # of their training


WORK = {"smoke": Work(7, 1, 4, 4, 60), "laptop": Work(11, 3, 20, 24, 200), "paper": Work(17, 4, 40, 48, 400)}


class Smoothed(NamedTuple):
    """What the page on alignment shows of Theorem 5."""

    signs: dict[str, SlopeSigns]
    starts: np.ndarray  # (m, m, 2)
    infinite: np.ndarray  # predicted for n -> infinity, (m, m)
    predicted: np.ndarray  # predicted for the problems of each data set, (data sets, m, m)
    measured: np.ndarray  # (data sets, m, m)
    drawn: np.ndarray  # predicted for sets of problems drawn anew, (sets, m, m)
    wide: np.ndarray  # starts around those of the networks, (m, m, 2)
    chance: np.ndarray  # (m, m)
    networks: NetworkPaths
    trap: Trap
    held: float  # share of drawn sets of problems that the trap holds
    clipped: dict[float, float]  # efficiency for ripples by the limit in deviations

    @property
    def farthest(self) -> int:
        """The data set whose measured map differs most from that of infinitely many problems."""
        return int(np.argmax(np.mean(self.measured != self.infinite, axis=(1, 2))))


def smoothed(profile: str, seed: int = 0) -> Smoothed:
    """Everything on the smoothed landscape, for the page on alignment.

    Arguments:
        profile: decides how much is computed, see `WORK`.
        seed: of the first data set, the networks and all draws.
    """
    work = WORK.get(profile, WORK["laptop"])
    starts, wide = grid(work.grid), grid(work.grid, (-6.0, 2.0), (-4.0, 4.0))
    maps = [measured(starts, seed + k) for k in range(work.data_sets)]
    rng, hole = np.random.default_rng(seed), trap()
    ripples = slopes_of("ripples", (200_000,), rng) - RIPPLE_SHIFT
    return Smoothed(
        {name: sign_of_slope(name, seed=seed) for name in (*(f"spread {s:g}" for s in SPREADS), "ripples")},
        starts,
        predicted(starts),
        np.array([predicted(starts, x_true) for _, x_true in maps]),
        np.array([good for good, _ in maps]),
        drawn_sets(starts, work.drawn_sets, seed=seed),
        wide,
        drawn_sets(wide, work.drawn_sets, seed=seed).mean(0),
        network_paths(work.networks, work.num_steps, seed),
        hole,
        1 - float(drawn_sets(hole.place, 100, seed=seed).mean()),
        {c: float(theory.clipping_efficiency(ripples, c * ripples.std())) for c in (0.02, 0.5, 1.0)},
    )
