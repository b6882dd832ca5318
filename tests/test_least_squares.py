"""Gauss–Newton, the ensemble smoother, and growing windows: closed forms and honest counting."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jpo_lib as jpo
from jpo_lib.problem import Status

NOISE, DEVIATION, DIMENSION = 0.5, 2.0, 6
MATRIX = np.random.default_rng(0).normal(size=(12, DIMENSION))


def linear(**changes):
    """y = A x + noise with x ~ N(1, s^2): a Gaussian posterior with a known mean."""
    settings = {
        "name": "linear",
        "dimension": DIMENSION,
        "simulate": lambda x, context: MATRIX @ x,
        "loss": lambda output, y: 0.5 * jnp.sum(jnp.square((output - y) / NOISE)),
        "prior_loss": lambda x: 0.5 * jnp.sum(jnp.square((x - 1.0) / DEVIATION)),
        "residuals": lambda x, output, y: jnp.concatenate([(output - y) / NOISE, (x - 1.0) / DEVIATION]),
        "sample_x": lambda key: 1.0 + DEVIATION * jax.random.normal(key, (DIMENSION,)),
        "observe": lambda key, output: output + NOISE * jax.random.normal(key, output.shape, output.dtype),
        "threshold": lambda output, y, prior: -1.0,
    }
    return jpo.InverseProblem(**{**settings, **changes})


def posterior_mean(y):
    """m + K (y - A m), with the gain of Kalman K = S A' (A S A' + R)^-1."""
    gain = MATRIX.T @ np.linalg.inv(MATRIX @ MATRIX.T + np.eye(12) * NOISE**2 / DEVIATION**2)
    return 1.0 + (np.asarray(y) - MATRIX @ np.ones(DIMENSION)) @ gain.T


def test_gauss_newton_solves_a_linear_problem_in_one_outer_step():
    with jax.enable_x64(True):
        problem = linear()
        data = problem.sample_dataset(8, 0)
        result = jpo.solve(problem, data, jpo.GaussNewton(inner_tolerance=1e-9, max_inner=20))
    np.testing.assert_allclose(result.x, posterior_mean(data.y), atol=1e-7)
    # The start, as many products as there are unknowns, and the point where they lead.
    assert (result.num_evaluations == 1 + DIMENSION + 1).all()
    assert (result.status == Status.CONVERGED).all()
    # A product is no new point: the loss stays until the last evaluation.
    assert (result.loss_history[:, :-1] == result.loss_history[:, :1]).all()


def test_gauss_newton_is_safe_where_its_full_step_is_not():
    # The full step for r = arctan x from 2 leads to -3.5, and from there farther and farther away.
    problem = jpo.InverseProblem(
        name="arctangent",
        dimension=1,
        simulate=lambda x, context: jnp.arctan(x),
        loss=lambda output, y: 0.5 * jnp.sum(jnp.square(output - y)),
        residuals=lambda x, output, y: output - y,
        sample_x=lambda key: jnp.zeros(1),
        threshold=lambda output, y: 1e-8,
    )
    data = problem.dataset(y=np.zeros((2, 1)), x0=np.array([[2.0], [-8.0]]), threshold=1e-8)
    result = jpo.solve(problem, data, jpo.GaussNewton(max_evaluations=60))
    assert result.solved.all(), result


def test_the_smoother_comes_to_the_posterior_mean_as_the_ensemble_grows():
    with jax.enable_x64(True):
        problem = linear()
        data = problem.sample_dataset(16, 1)
        errors = []
        for members in (3, 5, 7):  # of which d + 1 span the space
            solver = jpo.EnsembleSmoother(num_members=members, max_iterations=2)
            result = jpo.solve(problem, data, solver)
            assert (result.num_simulations == 1 + 2 * (members + 4)).all()
            errors.append(np.linalg.norm(result.x - posterior_mean(data.y)))
        start = np.linalg.norm(np.asarray(data.x0) - posterior_mean(data.y))
    assert start > errors[0] > errors[1] > 100 * errors[2]
    assert errors[2] < 1e-3 * start


def counted(calls):
    """A nonlinear problem whose runs are counted by the simulator itself."""

    def simulate(x, context):
        jax.debug.callback(lambda _: calls.append(1), x[0])
        return jnp.concatenate([jnp.sin(x) + x, jnp.square(x)])

    return jpo.InverseProblem(
        name="counted",
        dimension=2,
        simulate=simulate,
        loss=lambda output, y: 0.5 * jnp.sum(jnp.square(output - y)),
        residuals=lambda x, output, y: output - y,
        sample_x=lambda key: jax.random.uniform(key, (2,)),
        threshold=lambda output, y: 1e-9,
    )


@pytest.mark.parametrize(
    "solver", [jpo.LBFGS(), jpo.GaussNewton(), jpo.EnsembleSmoother(num_members=5, max_iterations=3)]
)
def test_the_simulator_counts_what_the_result_reports(solver):
    calls = []
    problem = counted(calls)
    data = problem.dataset(y=np.array([[0.5, 0.7, 0.1, 0.2]]), x0=np.array([[2.0, -1.0]]))
    result = jpo.solve(problem, data, solver)
    jax.effects_barrier()
    assert len(calls) == result.num_runs[0] > 3
    only = result.num_evaluations if isinstance(solver, jpo.EnsembleSmoother) else result.num_simulations
    assert only[0] == 0


def growing(count, calls=None, length=4):
    """Entries k of the target are sin(2^k x): short windows have one minimum, long ones many."""

    def simulate(x, context):
        if calls is not None:
            append = calls.append
            jax.debug.callback(lambda _: append(count / length), x[0])
        return jnp.sin(2.0 ** jnp.arange(count) * x[0])

    return jpo.InverseProblem(
        name=f"growing {count}",
        dimension=1,
        simulate=simulate,
        loss=lambda output, y: 0.5 * jnp.sum(jnp.square(output - y)),
        residuals=lambda x, output, y: output - y,
        sample_x=lambda key: jax.random.uniform(key, (1,), minval=-1.0, maxval=1.0),
        threshold=lambda output, y: 1e-6,
        window=lambda count: growing(count, calls, length),
    )


def test_windows_lead_to_the_minimum_that_one_descent_misses():
    problem = growing(4)
    data = problem.sample_dataset(64, 0)
    plain = jpo.solve(problem, data, jpo.BFGS(stop_when_solved=True))
    windows = jpo.solve(problem, data, jpo.GrowingWindows(windows=(1, 2), num_starts=1))
    assert windows.solved.mean() > plain.solved.mean() + 0.2
    np.testing.assert_allclose(windows.x[windows.solved], data.x_true[windows.solved], atol=1e-3)
    half = jpo.solve(problem, data, jpo.GrowingWindows(num_starts=1))
    same = jpo.solve(problem, data, jpo.GrowingWindows(windows=(2,), num_starts=1))
    np.testing.assert_array_equal(half.x, same.x)
    with pytest.raises(ValueError, match="less than its 4 entries"):
        jpo.solve(problem, data, jpo.GrowingWindows(windows=(2, 4)))
    again = jpo.solve(problem, data, jpo.GrowingWindows(windows=(1, 2), num_starts=6), seed=[0, 1])
    assert again.solved.shape == (2, 64) and (again.solved.mean(axis=1) >= windows.solved.mean()).all()
    assert (again.solved == (again.status == Status.SOLVED)).all()
    # The first start is the same; who was solved by it pays no more.
    np.testing.assert_array_equal(
        again.num_evaluations[0][windows.solved], windows.num_evaluations[windows.solved]
    )


@pytest.mark.parametrize("solver", [jpo.BFGS(max_evaluations=20), jpo.GaussNewton(max_evaluations=20)])
def test_an_evaluation_in_a_window_counts_as_its_share(solver):
    calls = []
    problem = growing(4, calls)
    data = problem.sample_dataset(1, 3)
    x0 = np.array([[-float(np.sign(data.x_true[0, 0]))]])
    jax.effects_barrier()
    # Thresholds of the windows are found with the truth, which is no work of the solver.
    thresholds = 1 / 4 + 2 / 4
    calls.clear()
    result = jpo.solve(problem, data, jpo.GrowingWindows(solver, windows=(1, 2), num_starts=3), x0=x0)
    jax.effects_barrier()
    # A single problem fills a batch of its own.
    np.testing.assert_allclose(sum(calls) - thresholds, result.num_evaluations[0])
    history = result.loss_history[0]
    assert len(history) == np.ceil(result.num_evaluations[0])
    assert np.isinf(history[0]) and history[-1] == result.loss[0]


@pytest.mark.parametrize(
    "solver, words",
    [
        (jpo.GaussNewton(), "problem: expected one with residuals, got 'linear' without"),
        (jpo.MultiStart(jpo.GaussNewton()), "problem: expected one with residuals, got 'linear' without"),
        (jpo.EnsembleSmoother(), "problem: expected one with residuals, got 'linear' without"),
        (jpo.GrowingWindows(), "windows: expected a problem with windows of less than its 12 entries, got"),
    ],
)
def test_what_a_problem_lacks_is_said_in_one_sentence(solver, words):
    problem = linear(residuals=None)
    with pytest.raises(ValueError) as caught:
        jpo.solve(problem, problem.sample_dataset(2, 0), solver)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: jpo.GaussNewton(max_inner=0), "max_inner: expected a whole number of at least 1, got 0"),
        (
            lambda: jpo.GaussNewton(inner_tolerance=0.0),
            "inner_tolerance: expected a finite number above zero",
        ),
        (lambda: jpo.EnsembleSmoother(num_members=1), "num_members: expected a whole number of at least 2"),
        (lambda: jpo.EnsembleSmoother(shrink=2.0), "shrink: expected at most 1, got 2.0"),
        (lambda: jpo.GrowingWindows(jpo.JointOptimization()), "solver: expected a solver of single problems"),
        (lambda: jpo.GrowingWindows(windows=(5, 3)), "windows: expected growing numbers, got (5, 3)"),
        (
            lambda: jpo.GrowingWindows(num_starts=0),
            "num_starts: expected a whole number of at least 1, got 0",
        ),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(make, words):
    with pytest.raises(ValueError) as caught:
        make()
    assert words in str(caught.value) and "\n" not in str(caught.value)
