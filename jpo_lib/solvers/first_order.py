"""Gradient descent and Adam for one lane."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jpo_lib._checks import check_counts, check_positive
from jpo_lib.problem import Status
from jpo_lib.solvers.lanes import LaneSolver
from jpo_lib.solvers.solver import left_open


class FirstOrderState(NamedTuple):
    x: jax.Array
    status: jax.Array
    num_steps: jax.Array
    optimizer: Any


@dataclasses.dataclass(frozen=True)
class _FirstOrder(LaneSolver):
    fallbacks: ClassVar = {"learning_rate": 1e-2, "max_evaluations": 400}

    learning_rate: float = left_open()
    max_evaluations: int = left_open()
    stop_when_solved: bool = False

    def __post_init__(self):
        check_counts(max_evaluations=self.max_evaluations)
        if self.learning_rate is not None:
            check_positive(learning_rate=self.learning_rate)

    def _transformation(self) -> optax.GradientTransformation:
        raise NotImplementedError

    def begin(self, x0, environment) -> FirstOrderState:
        return FirstOrderState(x0, jnp.int32(Status.RUNNING), jnp.int32(0), self._transformation().init(x0))

    def update(self, state, loss, gradient, environment) -> FirstOrderState:
        change, optimizer = self._transformation().update(gradient, state.optimizer, state.x)
        stuck = (state.num_steps == 0) & jnp.all(gradient == 0.0)
        status = jnp.where(
            stuck, jnp.where(jnp.isfinite(loss), Status.ZERO_GRADIENT, Status.DIVERGED), Status.RUNNING
        )
        return FirstOrderState(state.x + change, status.astype(jnp.int32), state.num_steps + 1, optimizer)


@dataclasses.dataclass(frozen=True)
class GradientDescent(_FirstOrder):
    """x <- x - r grad L(x), with the best point kept.

    Arguments:
        learning_rate: r, unit x^2 / unit loss; the problem's recommendation when None, or else 0.01.
        max_evaluations: number of steps, each one evaluation of the loss and its gradient; the problem's
            recommendation when None, or else 400.
        stop_when_solved: stop as soon as the loss is below the problem's threshold.
    Raises:
        ValueError: if a number is out of range.
    """

    def _transformation(self):
        return optax.sgd(self.learning_rate)


@dataclasses.dataclass(frozen=True)
class Adam(_FirstOrder):
    """x <- x - r m / (sqrt(v) + eps), with running means m of the gradient and v of its square; the rate
    decays.

    The rate follows half a cosine from r to zero over `max_evaluations` steps, which lets the last steps
    settle.

    Arguments:
        learning_rate: r at the start, unit of x; the problem's recommendation when None, or else 0.01.
        max_evaluations: number of steps, each one evaluation of the loss and its gradient; the problem's
            recommendation when None, or else 400.
        stop_when_solved: stop as soon as the loss is below the problem's threshold.
    Raises:
        ValueError: if a number is out of range.

    Source: Kingma & Ba (2015), arXiv 1412.6980.
    """

    def _transformation(self):
        schedule = optax.cosine_decay_schedule(self.learning_rate, self.max_evaluations)
        return optax.chain(optax.scale_by_adam(), optax.scale_by_learning_rate(schedule))
