"""L-BFGS: quasi-Newton descent whose memory grows with the number of unknowns, not with its square."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jpo_lib.problem import InverseProblem, check_integer
from jpo_lib.solvers.bfgs import BFGS

MANY_UNKNOWNS = 100  # from here on LBFGS is what is recommended


class Pairs(NamedTuple):
    """The last moves and changes of the gradient, the latest one last; rho is zero where there is none."""

    moves: jax.Array  # (memory, d)
    changes: jax.Array  # (memory, d)
    rho: jax.Array  # (memory,)
    scale: jax.Array  # the inverse Hessian before the first pair is this times the identity


@dataclasses.dataclass(frozen=True)
class LBFGS(BFGS):
    """Quasi-Newton descent: x <- x + a p, p = -H grad L(x), with H made from the last m moves s and changes y
    of the gradient alone.

    H is what m updates of BFGS make of (s.y / y.y) I, with the latest pair; it is applied by the recursion of
    two loops, in O(m d). Memory per problem is 2 m d numbers. All else is as in `BFGS`: line search, stopping
    rules, and counts.

    Arguments:
        max_steps, max_evaluations, gradient_tolerance, stop_when_solved: as for `BFGS`.
        memory: m, number of pairs that are kept.
    Raises:
        ValueError: if a number is out of range.

    Source: Liu & Nocedal (1989), doi:10.1007/BF01589116; Nocedal & Wright (2006), Numerical Optimization,
    chapter 7, doi:10.1007/978-0-387-40065-5.
    """

    memory: int = 10
    _always_guesses = False

    def __post_init__(self):
        super().__post_init__()
        check_integer("memory", self.memory, 1)

    def _first_inverse_hessian(self, x0) -> Pairs:
        none = jnp.zeros((self.memory, x0.size), x0.dtype)
        return Pairs(none, none, none[:, 0], jnp.ones((), x0.dtype))

    def _aim(self, inverse_hessian: Pairs, move, change, gradient):
        curvature = jnp.dot(change, move)
        # As in L-BFGS-B: relative to how much the loss was to fall along the move.
        usable = curvature > jnp.finfo(gradient.dtype).eps * jnp.abs(jnp.dot(gradient - change, move))
        usable &= jnp.all(jnp.isfinite(change))
        divisor = jnp.where(usable, curvature, 1.0)

        def latest(kept, new):
            return jnp.where(usable, jnp.concatenate([kept[1:], new[None]]), kept)

        pairs = Pairs(
            latest(inverse_hessian.moves, move),
            latest(inverse_hessian.changes, change),
            latest(inverse_hessian.rho, 1.0 / divisor),
            jnp.where(
                usable, divisor / jnp.where(usable, jnp.dot(change, change), 1.0), inverse_hessian.scale
            ),
        )
        direction = -_applied(pairs, gradient)
        uphill = ~(jnp.dot(gradient, direction) < 0.0)
        none = self._first_inverse_hessian(gradient)
        pairs = jax.tree.map(lambda a, b: jnp.where(uphill, a, b), none, pairs)
        return pairs, jnp.where(uphill, -gradient, direction)


def _applied(pairs: Pairs, vector):
    """H v by the recursion of two loops (Nocedal & Wright 2006, algorithm 7.4)."""

    def backwards(q, pair):
        move, change, rho = pair
        share = rho * jnp.dot(move, q)
        return q - share * change, share

    def forwards(r, pair):
        (move, change, rho), share = pair
        return r + (share - rho * jnp.dot(change, r)) * move, None

    kept = pairs[:3]
    q, shares = jax.lax.scan(backwards, vector, kept, reverse=True)
    return jax.lax.scan(forwards, pairs.scale * q, (kept, shares))[0]


def quasi_newton(problem: InverseProblem, **settings) -> BFGS:
    """BFGS, or LBFGS where a problem has many unknowns."""
    return (BFGS if problem.dimension < MANY_UNKNOWNS else LBFGS)(**settings)
