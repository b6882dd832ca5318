"""Billiards: zero gradients and jumps.

A cue ball is shot at a target ball; find the shot that leaves the target ball at a given place. A shot that
misses moves nothing, and a small change of it moves nothing either: the gradient is exactly zero, for about
half of all shots.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jpo_lib._checks import check_choice, check_integer, check_positive
from jpo_lib.networks.dense_velocity import DenseVelocity
from jpo_lib.problem import Execution, InverseProblem, Recommended, Starts
from jpo_lib.problems._billiards_events import Events, run_events
from jpo_lib.problems._billiards_times import Physics, check_balls, check_physics
from jpo_lib.problems._forward_cost import forward_cost

REST_SPEED = 1e-5  # of the largest initial speed: contacts that close more slowly are left alone
SOLVED = 1e-3
MOVED = 0.5  # a shot is drawn as a truth if it moves the target ball farther than this, in units of length
MAX_DRAWS = 1000


def triangle(rows: int, radius: float, gap: float = 0.0) -> tuple[tuple[float, float], ...]:
    """Centres of a triangle of balls with a gap between neighbours, both in units of length; the foremost is
    at the origin."""
    half = radius + 0.5 * gap
    places = ((row, place) for row in range(rows) for place in range(row + 1))
    return tuple((row * math.sqrt(3.0) * half, (2 * place - row) * half) for row, place in places)


# For each layout: the object balls for a radius (the target ball first), and its other defaults.
LAYOUTS = {
    "open": (lambda radius: ((0.0, 0.0),), dict(cushions=False, max_events=6)),
    "blocked": (
        lambda radius: ((0.0, 0.0), (-4.0 * radius, 1.5 * radius)),
        dict(
            cushions=False,
            max_events=8,
            # Few shots pass the ball in the way: only a network with a wide range of first answers finds some
            # that do, and what it learns from those few must not be drowned.
            network=dict(target_middle=(2.7, 1.8), target_spread=(2.1, 1.0), spread=2.2),
            joint={"learning_rate": 2e-3, "num_steps": 400, "clip_problem": 0.1},
        ),
    ),
    "cushions": (lambda radius: ((0.0, 0.0),), dict(cushions=True, max_events=12)),
    "rack": (
        lambda radius: triangle(5, radius, 0.02 * radius),
        dict(cushions=False, max_events=48, speed_min=6.0, speed_max=12.0, target_ball=11),
    ),
}
COMMON = dict(speed_min=3.0, speed_max=6.0, angle_max=0.5, target_ball=1)


@functools.lru_cache(maxsize=32)
def _run(physics: Physics):
    return jax.jit(functools.partial(run_events, physics=physics))


def simulate_shot(
    positions,
    velocities,
    *,
    radius: float = 0.5,
    deceleration: float = 1.0,
    restitution: float = 0.95,
    table: tuple[float, float] | None = None,
    cushion_restitution: float = 0.9,
    max_events: int | None = None,
) -> Events:
    """Roll any number of balls until they rest: p'' = -a p' / |p'|, with impacts n . w -> -e n . w.

    All balls have mass 1 and the same radius. n is the direction between two centres in contact, w their
    relative velocity, e the restitution; friction between balls is left out, so that each impulse acts along
    n. Units are dimensionless throughout. The precision is that of the input: float64 needs `jax.enable_x64`.

    Arguments:
        positions: of the centres, shape (B, 2), length.
        velocities: shape (B, 2), length / time; balls at rest have zeros.
        radius: of all balls, length.
        deceleration: a, length / time^2.
        restitution: e between balls, from 0 to 1, dimensionless.
        table: (length, width) of a table with cushions, its middle at the origin; None for an endless plane.
        cushion_restitution: the same for a ball and a cushion.
        max_events: largest number of events; 32 per ball when None.
    Returns:
        `Events`, with the rest positions, `finished` (False if more events were due: the balls still move
        then, and nothing was cut silently), the pieces of the trajectories, and momentum() and energy()
        before and after each event.
    Raises:
        ValueError: if balls overlap or stand outside the table, a number is out of range, or a shape does not
        fit.

    Source: see `jpo_lib.problems._billiards_events`.
    """
    check_physics(radius, deceleration, restitution, table, cushion_restitution)
    if not isinstance(positions, Tracer):
        check_balls(positions, radius, table)
    positions, velocities = jnp.asarray(positions), jnp.asarray(velocities)
    dtype = jnp.promote_types(jnp.promote_types(positions.dtype, velocities.dtype), jnp.float32)
    if positions.ndim != 2 or positions.shape[1] != 2 or velocities.shape != positions.shape:
        shapes = f"{velocities.shape} for positions of {positions.shape}"
        raise ValueError(f"velocities: expected shape (B, 2), got {shapes}; pass a row (x, y) for each ball.")
    if not isinstance(velocities, Tracer) and not np.isfinite(velocities).all():
        raise ValueError("velocities: expected finite numbers, got NaN or infinity; repair them.")
    count = 32 * len(positions) if max_events is None else check_integer("max_events", max_events, 1)
    table = None if table is None else (float(table[0]), float(table[1]))
    radius, deceleration, restitution = map(float, (radius, deceleration, restitution))
    physics = Physics(radius, deceleration, restitution, table, float(cushion_restitution), count, REST_SPEED)
    return _run(physics)(positions.astype(dtype), velocities.astype(dtype))


def play(problem: InverseProblem, x) -> Events:
    """The whole run of a shot x, shape (2,), on the table of a problem from `billiards`."""
    positions = jnp.asarray(problem.settings["positions"], jnp.asarray(x).dtype)
    return _run(_physics(problem.settings))(positions, jnp.zeros_like(positions).at[0].set(x))


def positions_at(run: Events, times, deceleration: float) -> np.ndarray:
    """Where the balls of a run are at given times, shape (len(times), B, 2); before the begin and after the
    end they rest."""
    begins, places, velocities = map(np.asarray, (run.times, run.piece_positions, run.piece_velocities))
    times = np.clip(times, begins[0], begins[-1])
    piece = np.minimum(np.searchsorted(begins, times, side="right") - 1, len(begins) - 1)
    speed = np.linalg.norm(velocities[piece], axis=-1, keepdims=True)
    spent = np.minimum((times - begins[piece])[:, None, None], speed / deceleration)
    direction = velocities[piece] / np.where(speed > 0, speed, 1.0)
    return places[piece] + direction * (speed - 0.5 * deceleration * spent) * spent


def _physics(settings) -> Physics:
    table = (settings["table_length"], settings["table_width"]) if settings["cushions"] else None
    own = {name: settings[name] for name in Physics._fields if name in settings}
    return Physics(table=table, rest_speed=REST_SPEED, **own)


def billiards(
    *,
    layout: str = "open",
    radius: float = 0.5,
    deceleration: float = 1.0,
    restitution: float = 0.95,
    cushion_restitution: float = 0.9,
    cushions: bool | None = None,
    table_length: float = 14.0,
    table_width: float = 7.0,
    positions=None,
    target_ball: int | None = None,
    speed_min: float | None = None,
    speed_max: float | None = None,
    angle_max: float | None = None,
    max_events: int | None = None,
) -> InverseProblem:
    """L(v) = 1/2 |q(v) - y|^2, with q the place where the target ball comes to rest after a shot with
    velocity v.

    Balls of mass 1 slide with constant deceleration and collide as in `simulate_shot`. The unknown is x = v,
    the initial velocity of the cue ball, shape (2,). Shots have a speed from U(speed_min, speed_max) and an
    angle from U(-angle_max, angle_max); starting points are such shots, and true ones are those among them
    that move the target ball by more than 0.5. A problem is solved when its loss is below 1e-3. A run with
    more events than max_events returns NaN, which every solver reports as diverged.

    Arguments:
        layout: "open" (cue ball and target ball), "blocked" (a third ball in the way), "cushions" (two balls
            on a table with cushions) or "rack" (a triangle of 15 balls, a hundredth of a diameter apart, as
            in a rack of real balls).
        radius: of all balls, length; all lengths, times and masses are dimensionless.
        deceleration: a, length / time^2.
        restitution, cushion_restitution: speed after an impact over that before, between balls and at a
            cushion.
        cushions: whether the table ends at cushions; that of the layout when None.
        table_length, table_width: of a table with cushions, length; its middle is the origin.
        positions: of all balls, (B, 2), cue ball first, instead of the layout's.
        target_ball: index of the ball whose rest position is the output; that of the layout when None.
        speed_min, speed_max: range of initial speeds, length / time; those of the layout when None.
        angle_max: largest angle to the x axis, radians.
        max_events: largest number of contacts in a run; that of the layout when None.
    Raises:
        ValueError: if balls overlap, a setting is out of range, or no shot can reach another ball.

    Source: Holl & Thuerey (2024), arXiv 2408.08119, Figure 4. The settings are the companion's own.
    """
    given = dict(locals())
    check_choice("layout", layout, LAYOUTS)
    place, defaults = LAYOUTS[layout]
    usual = {**COMMON, **defaults}
    settings: dict[str, Any] = {
        name: usual.get(name) if value is None else value for name, value in given.items()
    }
    slow, fast, target = settings["speed_min"], settings["speed_max"], settings["target_ball"]
    check_positive(speed_min=slow, speed_max=fast, angle_max=settings["angle_max"])
    if not isinstance(settings["cushions"], bool):
        raise ValueError(f"cushions: expected True or False, got {cushions!r}; pass one of them.")
    table = (table_length, table_width) if settings["cushions"] else None
    check_physics(radius, deceleration, restitution, table, cushion_restitution)
    usual_positions = ((-8.0 * radius, 0.0), *place(radius))
    balls = check_balls(usual_positions if positions is None else positions, radius, table)
    if slow >= fast:
        raise ValueError(f"speed_max: expected more than speed_min = {slow}, got {fast}; change the range.")
    if settings["angle_max"] > math.pi:
        raise ValueError(f"angle_max: expected at most pi, got {angle_max!r}; it is in radians.")
    check_integer("max_events", settings["max_events"], 1)
    check_integer("target_ball", target, 1)
    if target >= len(balls):
        needed = f"an index from 1 to {len(balls) - 1}"
        raise ValueError(f"target_ball: expected {needed}, got {target}; ball 0 is the cue ball.")
    reach = fast**2 / (2 * deceleration)
    nearest = np.linalg.norm(balls[1:] - balls[0], axis=1).min() - 2 * radius
    if reach <= nearest:
        aim = f"a shot that reaches a ball {nearest:g} away"
        raise ValueError(f"speed_max: expected {aim}, got one that stops after {reach:g}; make it faster.")
    settings["positions"] = tuple(map(tuple, balls.tolist()))
    return _problem(tuple(sorted(settings.items())))


@functools.lru_cache(maxsize=32)
def _problem(items) -> InverseProblem:
    settings = dict(items)
    physics = _physics(settings)
    layout = LAYOUTS[settings["layout"]][1]
    target, balls = settings["target_ball"], np.array(settings["positions"])
    slow, fast, angle_max = settings["speed_min"], settings["speed_max"], settings["angle_max"]

    def rest_place(x):
        positions = jnp.asarray(balls, x.dtype)
        run = run_events(positions, jnp.zeros_like(positions).at[0].set(x), physics)
        return jnp.where(run.finished, run.positions[target], jnp.nan)

    def derivative(primals, tangents):
        # Two unknowns: their two columns of the Jacobian ride along in one loop over the events, with nothing
        # to store.
        columns = functools.partial(jax.jvp, rest_place, primals)
        y, jacobian = jax.vmap(columns, out_axes=(None, 1))((jnp.eye(2, dtype=primals[0].dtype),))
        return y, jacobian @ tangents[0]

    with_derivative = jax.custom_jvp(rest_place)
    with_derivative.defjvp(derivative)

    def simulate(x, context=None):
        del context
        return with_derivative(x)

    def sample_shot(key):
        key_speed, key_angle = jax.random.split(key)
        speed = jax.random.uniform(key_speed, minval=slow, maxval=fast)
        angle = jax.random.uniform(key_angle, minval=-angle_max, maxval=angle_max)
        return speed * jnp.stack([jnp.cos(angle), jnp.sin(angle)])

    def sample_x(key):
        """Shots are drawn until one moves the target ball; NaN moves nothing."""

        def draw(k):
            x = sample_shot(jax.random.fold_in(key, k))
            return x, jnp.linalg.norm(simulate(x) - jnp.asarray(balls[target], x.dtype)) > MOVED

        _, x, moved = jax.lax.while_loop(
            lambda state: ~state[2] & (state[0] < MAX_DRAWS),
            lambda state: (state[0] + 1, *draw(state[0])),
            (0, jnp.zeros(2), jnp.bool_(False)),
        )
        return jnp.where(moved, x, jnp.nan)

    def classical_start(y, context=None):
        """What a player does: send the cue ball to the place where it touches the target ball on the side
        opposite to y, as fast as one impact needs. Exact on the open table; blind to other balls and to
        cushions."""
        del context
        cue, ball = jnp.asarray(balls[0], y.dtype), jnp.asarray(balls[target], y.dtype)
        way = jnp.linalg.norm(y - ball) + 1e-12
        direction = (y - ball) / way
        path = ball - 2.0 * physics.radius * direction - cue
        length = jnp.linalg.norm(path) + 1e-12
        share = jnp.maximum(jnp.dot(path, direction) / length, 0.05)  # of the speed that the impact passes on
        at_impact = jnp.sqrt(2.0 * physics.deceleration * way) / (0.5 * (1.0 + physics.restitution) * share)
        return jnp.sqrt(jnp.square(at_impact) + 2.0 * physics.deceleration * length) * path / length

    middle_speed, wide = 0.5 * (slow + fast), fast * math.sin(min(angle_max, math.pi / 2))
    # Where targets lie: a ball that is hit in full rolls this far.
    longest = max(middle_speed**2 / (2 * physics.deceleration) - 6 * physics.radius, physics.radius)
    far = 0.25 * (1 + physics.restitution) ** 2 * longest
    network = dict(
        target_middle=(balls[target] + [0.5 * far, 0.0]).tolist(),
        target_spread=(0.5 * far, 0.5 * far),
        middle=(middle_speed, 0.0),
        spread=0.5 * (fast - slow),
    ) | layout.get("network", {})
    joint = {"learning_rate": 5e-3, "num_steps": 150, "clip_problem": 1.0, **layout.get("joint", {})}
    return InverseProblem(
        name="billiards",
        dimension=2,
        simulate=simulate,
        loss=lambda output, y: 0.5 * jnp.sum(jnp.square(output - y)),
        forward_cost=forward_cost("billiards"),
        residuals=lambda x, output, y: output - y,
        sample_x=sample_x,
        threshold=lambda output, y: jnp.asarray(SOLVED, output.dtype),
        bounds=((slow * math.cos(angle_max), -wide), (fast, wide)),
        starts=Starts(first=sample_shot, classical=classical_start),
        recommended=Recommended(
            network=lambda key, **changes: DenseVelocity(key, **network, **changes),
            solvers={
                "JointOptimization": joint,
                "GradientDescent": {"learning_rate": 0.01},
                "Adam": {"learning_rate": 0.1},
                "MultiStart": {"run_evaluations": 40, "num_starts": 48},
            },
        ),
        execution=Execution(block_size=64),
        settings=settings,
    )
