"""Kuramoto–Sivashinsky with forcing: loss and gradient in the two unknowns, 80 steps, 128 points,
modes up to 42."""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp
import numpy as np

import jpo_lib as jpo
from benchmarks.cases import Side
from jpo_lib.problems.kuramoto_sivashinsky import coefficients_of, default_forcing, kept_modes
from jpo_lib.solvers.evaluation import evaluation

SEED = 990


def _inputs(batch: int, problem):
    """Targets and first states of the problems, at points of the prior box away from the solutions."""
    data = problem.sample_dataset(batch, SEED)
    return 0.8 * data.x_true[:, ::-1], data.context, data.y


def _compiled(function, *arguments) -> Side:
    begin = time.perf_counter()
    program = jax.jit(function).lower(*arguments).compile()
    seconds = time.perf_counter() - begin
    loss, gradient = program(*arguments)
    return Side(lambda: program(*arguments), len(arguments[0]), seconds, {"loss": loss, "gradient": gradient})


def ours(batch: int) -> Side:
    problem = jpo.kuramoto_sivashinsky()
    arguments = _inputs(batch, problem)
    program, seconds = evaluation(problem).compiled(*arguments)
    loss, gradient = program(*arguments)
    return Side(lambda: program(*arguments), batch, seconds, {"loss": loss, "gradient": gradient})


def reference(batch: int) -> Side:
    """float64 and a quarter of the time step, from the same float32 inputs."""
    inputs = [np.asarray(value, np.float64) for value in _inputs(batch, jpo.kuramoto_sivashinsky())]
    problem = jpo.kuramoto_sivashinsky(float64=True, dt=0.0625)
    with problem.precision():
        loss, gradient = evaluation(problem).compiled(*map(jnp.asarray, inputs))[0](*map(jnp.asarray, inputs))
    return Side(lambda: None, batch, outputs={"loss": loss, "gradient": gradient})


def exponax_side(batch: int) -> Side:
    """The same equation as a stepper of exponax:
    its Kuramoto–Sivashinsky with a forcing term and traced strengths."""
    # Installed by `make bench` alone.
    import exponax  # pyright: ignore[reportMissingImports]

    settings = jpo.kuramoto_sivashinsky().settings
    num_points, extent, dt = settings["num_points"], settings["domain_extent"], settings["dt"]
    drive = jnp.fft.rfft(jnp.asarray(default_forcing(num_points), jnp.float32))[None]

    class Forced(exponax.nonlin_fun.ConvectionNonlinearFun):
        drive: jax.Array

        def __init__(self, derivative_operator, alpha, beta):
            # exponax keeps modes up to fraction * N / 2 - 1: this fraction makes the cut equal.
            fraction = (kept_modes(num_points) + 1.5) / (num_points / 2)
            super().__init__(
                1,
                num_points,
                derivative_operator=derivative_operator,
                dealiasing_fraction=fraction,
                scale=beta,
                conservative=True,
            )
            self.drive = alpha * drive

        def __call__(self, u_hat):
            return super().__call__(u_hat) + self.drive

    class Stepper(exponax.BaseStepper):
        alpha: jax.Array
        beta: jax.Array

        def __init__(self, alpha, beta):
            self.alpha, self.beta = alpha, beta
            super().__init__(1, extent, num_points, dt, num_channels=1, order=4)

        def _build_linear_operator(self, derivative_operator):
            return -(derivative_operator**2) - derivative_operator**4

        def _build_nonlinear_fun(self, derivative_operator):
            return Forced(derivative_operator, self.alpha, self.beta)

    def objective(x, context, y):
        final = exponax.repeat(Stepper(*coefficients_of(x)), round(settings["horizon"] / dt))(context[None])[
            0
        ]
        return jnp.mean(jnp.square(final - y))

    return _compiled(jax.vmap(jax.value_and_grad(objective)), *_inputs(batch, jpo.kuramoto_sivashinsky()))


def floor_side(batch: int) -> Side:
    """Nothing but the transforms: one there and one back for each of four stages, forward and backward."""
    problem = jpo.kuramoto_sivashinsky()
    num_points, steps = (
        problem.settings["num_points"],
        round(problem.settings["horizon"] / problem.settings["dt"]),
    )
    states = jnp.asarray(_inputs(batch, problem)[1])

    def transforms(u):
        def pair(spectrum, _):
            return jnp.fft.rfft(jnp.fft.irfft(spectrum, n=num_points)), None

        return jax.lax.scan(pair, jnp.fft.rfft(u), None, length=8 * steps)[0]

    begin = time.perf_counter()
    program = jax.jit(jax.vmap(transforms)).lower(states).compile()
    return Side(lambda: program(states), batch, time.perf_counter() - begin, text="no equation is solved")
