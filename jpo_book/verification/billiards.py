"""Measurements of the billiards simulator.

Each function draws random tables, measures, and returns plain numbers or arrays. Those that say so run in
float64, whatever the session uses. Lengths, times and masses are dimensionless;
the radius is 1/2 and the deceleration 1.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jpo_lib.problems.billiards import billiards, play, simulate_shot

RADIUS = 0.5


def random_tables(num_tables: int, num_balls: int, seed: int = 0, *, side: float = 8.0, speed: float = 3.0):
    """Balls at random places of a square that do not overlap, with normally distributed velocities.

    Returns:
        positions and velocities, each (num_tables, num_balls, 2), float64.
    """
    generator = np.random.default_rng(seed)
    tables = []
    while len(tables) < num_tables:
        balls = np.empty((0, 2))
        while len(balls) < num_balls:
            ball = generator.uniform(-0.5 * side, 0.5 * side, 2)
            if np.all(np.linalg.norm(balls - ball, axis=1) > 2.05 * RADIUS):
                balls = np.vstack([balls, ball])
        tables.append(balls)
    return np.array(tables), speed * generator.standard_normal((num_tables, num_balls, 2))


def roll(positions, velocities, **settings):
    """`simulate_shot` for a batch of tables (S, B, 2)."""
    run = jax.jit(jax.vmap(lambda p, v: simulate_shot(p, v, **settings)))
    return run(jnp.asarray(positions), jnp.asarray(velocities))


def small_steps(
    positions, velocities, dt: float, *, restitution: float, table, cushion_restitution: float
) -> np.ndarray:
    """Rest positions (S, B, 2) by a different method:
    small steps in time, after which overlapping balls collide.

    Nothing is shared with the simulator. A contact is noticed up to one step late,
    so that the error is of order dt.
    """
    p, v = np.array(positions, float), np.array(velocities, float)
    limit = 0.5 * np.array(table) - RADIUS
    while True:
        speed = np.linalg.norm(v, axis=-1, keepdims=True)
        if not speed.any():
            return p
        direction = v / np.where(speed > 0, speed, 1)
        moves = np.minimum(dt, speed)  # the deceleration is 1
        p += direction * (speed - 0.5 * moves) * moves
        v = direction * (speed - moves)
        v = np.where((np.abs(p) >= limit) & (p * v > 0), -cushion_restitution * v, v)
        for i, j in zip(*np.triu_indices(p.shape[1], 1)):
            d = p[:, j] - p[:, i]
            distance = np.linalg.norm(d, axis=1, keepdims=True)
            n = d / distance
            closing = np.sum((v[:, i] - v[:, j]) * n, axis=1, keepdims=True)
            touching = (distance <= 2 * RADIUS) & (closing > 0)
            impulse = np.where(touching, 0.5 * (1 + restitution) * closing, 0.0) * n
            v[:, i] -= impulse
            v[:, j] += impulse


def small_step_errors(steps, num_tables: int = 100, seed: int = 0) -> np.ndarray:
    """Median distance (len(steps),) between the rest positions of the event-driven simulator
    and of small steps.

    Three balls on a table with cushions, float64. Tables on which two balls graze each other differ by a
    jump, which the median leaves out.
    """
    tables = random_tables(num_tables, 3, seed, side=6.0, speed=2.0)
    settings: dict[str, Any] = {"restitution": 0.95, "table": (8.0, 8.0), "cushion_restitution": 0.9}
    with jax.enable_x64(True):
        exact = np.asarray(roll(*tables, **settings).positions)
    distances = [np.linalg.norm(small_steps(*tables, dt, **settings) - exact, axis=-1) for dt in steps]
    return np.median(np.max(distances, axis=-1), axis=1)


def random_shots(num_shots: int, seed: int = 0):
    """Velocities (num_shots, 2) of the cue ball from the prior of the open table."""
    return jax.vmap(billiards().draw_start)(jax.random.split(jax.random.key(seed), num_shots))


def open_table_closed_form(shots, restitution: float = 0.95):
    """Rest position (S, 2) of the target ball of the open table: one contact can be worked out by hand.

    With b the distance by which the shot's line misses the target's centre, the cue ball rolls 4 cos(angle) -
    sqrt(1 - b^2) before it touches; the line of centres then takes (1 + e) / 2 of the speed along it.
    """
    shots = np.asarray(shots, float)
    speed, angle = np.linalg.norm(shots, axis=1), np.arctan2(shots[:, 1], shots[:, 0])
    sine = 4.0 * np.sin(angle)
    path = 4.0 * np.cos(angle) - np.sqrt(np.maximum(1.0 - sine**2, 0.0))
    square = speed**2 - 2.0 * path
    hit = (np.abs(sine) < 1.0) & (square > 0.0)
    contact = np.stack([-4.0 + path * np.cos(angle), path * np.sin(angle)], axis=1)
    gained = 0.5 * (1.0 + restitution) * np.sqrt(np.maximum(square, 0.0) * np.maximum(1.0 - sine**2, 0.0))
    return np.where(hit[:, None], -contact * (0.5 * gained**2)[:, None], 0.0)


def closed_form_errors(num_shots: int = 1000, seed: int = 0, double: bool = True):
    """Distance (num_shots,) of the target's rest position from its closed form, in float64 or float32."""
    shots = random_shots(num_shots, seed)
    with jax.enable_x64(double):
        x = jnp.asarray(np.asarray(shots), jnp.float64 if double else jnp.float32)
        rest = np.asarray(jax.jit(jax.vmap(lambda v: billiards().simulate(v)))(x))
    return np.linalg.norm(rest - open_table_closed_form(x), axis=1)


def gradient_errors(
    num_shots: int = 500, seed: int = 0, step: float = 1e-5, clearance: float = 0.02, **settings
) -> np.ndarray:
    """Relative error (M,) of the loss gradient against central differences, float64.

    Shots that graze a ball are left out: those whose number of events changes within `clearance` of the shot.
    Shots that move nothing have an error of zero.
    """
    problem, unit = billiards(**settings), np.eye(2)
    shifts = [np.zeros((1, 2)), step * unit, -step * unit, clearance * unit, -clearance * unit]
    y = np.array([3.0, 0.5])

    def measure(v):
        return play(problem, v).num_events, *jax.value_and_grad(problem.objective)(v, None, y)

    with jax.enable_x64(True):
        x = jnp.asarray(np.asarray(random_shots(num_shots, seed), float) + np.concatenate(shifts)[:, None])
        count, value, gradient = (np.asarray(part) for part in jax.jit(jax.vmap(jax.vmap(measure)))(x))
    safe = np.all(count == count[0], axis=0)
    central = ((value[1:3] - value[3:5]) / (2 * step)).T
    size = np.linalg.norm(central, axis=1)
    return (np.linalg.norm(gradient[0] - central, axis=1) / np.where(size > 0, size, 1.0))[safe]


def conservation(num_tables: int = 100, seed: int = 0) -> dict[str, float | int]:
    """Largest growth of energy and largest change of momentum in any event, float64.

    Six balls on an open table, restitution 1.
    """
    with jax.enable_x64(True):
        run = roll(*random_tables(num_tables, 6, seed), restitution=1.0)
        before, after = jax.vmap(type(run).energy)(run)
        momentum_before, momentum_after = jax.vmap(type(run).momentum)(run)
        changes = jnp.abs(momentum_after - momentum_before) * run.happened[..., None]
        growth, change = float(jnp.max(after - before)), float(jnp.max(changes))
        count = int(jnp.sum(run.num_events))
    return {"energy_growth": growth, "momentum_change": change, "num_events": count}


def count_unfinished(num_shots: int = 100_000, seed: int = 0) -> int:
    """Number of random shots of the open table whose run did not finish its events."""
    problem = billiards()
    rest = jax.vmap(lambda key: problem.simulate(problem.draw_start(key)))
    unfinished = jax.jit(lambda keys: jnp.sum(jnp.any(jnp.isnan(rest(keys)), axis=1)))
    keys = jax.random.split(jax.random.key(seed), num_shots).reshape(-1, min(num_shots, 10_000))
    return sum(int(unfinished(part)) for part in keys)
