"""Solvers of single problems: closed forms, SciPy as reference, and honest counting."""

import dataclasses
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

import jpo_lib as jpo
from jpo_book import studies
from jpo_book.names import EXPERIMENTS
from jpo_lib.problem import Status


def analytic(loss, dimension=2, name="analytic", **rest):
    """A problem whose loss is a given function of x and of the target y (dimension,)."""
    return jpo.InverseProblem(
        name=name,
        dimension=dimension,
        simulate=lambda x, context: x,
        loss=loss,
        sample_x=lambda key: jax.random.uniform(key, (dimension,), minval=-2.0, maxval=2.0),
        threshold=lambda output, y: 1e-6,
        bounds=((-2.0,) * dimension, (2.0,) * dimension),
        **rest,
    )


QUADRATIC = analytic(lambda x, y: 0.5 * jnp.sum(jnp.array([1.0, 10.0]) * jnp.square(x - y)))
ROSENBROCK = analytic(lambda x, y: jnp.square(1 - x[0]) + 100 * jnp.square(x[1] - x[0] ** 2))
# Finite only for x < 1, with the minimum at zero: a long first step leaves the region.
CLIFF = analytic(lambda x, y: jnp.where(x[0] < 1.0, jnp.square(x[0]) * 50, jnp.nan), dimension=1)
FLAT = analytic(lambda x, y: 0.0 * x[0] + 1.0, dimension=1)


def scipy_loop(problem, data, **options):
    """SciPy's BFGS one problem after the other, with the same jitted gradient. Returns x, loss, seconds."""
    function = jax.jit(jax.value_and_grad(problem.objective))

    def evaluate(x, y):
        loss, gradient = function(jnp.asarray(x, data.x0.dtype), None, y)
        return float(loss), np.asarray(gradient, float)

    evaluate(np.asarray(data.x0[0]), data.y[0])
    start = time.perf_counter()
    found = [
        scipy.optimize.minimize(
            evaluate, np.asarray(x0, float), args=(y,), jac=True, method="BFGS", options=options
        )
        for x0, y in zip(data.x0, data.y)
    ]
    return np.array([f.x for f in found]), np.array([f.fun for f in found]), time.perf_counter() - start


def test_bfgs_solves_quadratics_as_scipy_does():
    data = QUADRATIC.sample_dataset(32, 0)
    result = jpo.solve(QUADRATIC, data, jpo.BFGS())
    assert result.solved.all() and set(result.status) <= {Status.CONVERGED, Status.STALLED}
    np.testing.assert_allclose(result.x, data.x_true, atol=1e-4)
    assert result.num_evaluations.max() <= 25


def test_bfgs_walks_the_valley_of_rosenbrock_in_float64_like_scipy():
    with jax.enable_x64(True):
        problem = analytic(ROSENBROCK.loss, name="rosenbrock64")
        data = problem.sample_dataset(32, 1)
        ours = jpo.solve(problem, data, jpo.BFGS())
        assert ours.x.dtype == np.float64
        np.testing.assert_allclose(ours.x, 1.0, atol=1e-4)
        # The same algorithm takes about the same number of evaluations.
        function = jax.jit(jax.value_and_grad(problem.objective))
        counts = [
            scipy.optimize.minimize(
                lambda z, y=y: tuple(np.asarray(v, float) for v in function(jnp.asarray(z), None, y)),
                np.asarray(x0),
                jac=True,
                method="BFGS",
            ).nfev
            for x0, y in zip(data.x0, data.y)
        ]
        assert abs(np.mean(ours.num_evaluations) / np.mean(counts) - 1) < 0.1


def test_bfgs_ends_where_scipy_ends_on_wave_packets():
    problem = jpo.wave_packet()
    data = problem.sample_dataset(256, seed=21)
    ours = jpo.solve(problem, data, jpo.BFGS())
    x, loss, _ = scipy_loop(problem, data)
    same = np.abs(x - ours.x)[:, 0] < 1e-2
    assert same.mean() >= 0.95
    assert ours.solved.mean() >= (loss < np.asarray(data.threshold)).mean() - 0.01
    assert 0.10 <= ours.solved.mean() <= 0.30


def test_bfgs_comes_back_from_where_the_simulation_is_not_finite():
    data = CLIFF.dataset(y=np.zeros((2, 1)), x0=np.array([[0.9], [-3.0]]), threshold=1e-6)
    result = jpo.solve(CLIFF, data, jpo.BFGS())
    assert result.solved.all()
    lost = CLIFF.dataset(y=np.zeros((2, 1)), x0=np.array([[1.5], [0.5]]), threshold=1e-6)
    result = jpo.solve(CLIFF, lost, jpo.BFGS())
    assert result.status[0] == Status.DIVERGED and not np.isnan(result.x).any()
    assert result.solved.tolist() == [False, True]
    assert "not finite" in result.status_text[0]


def test_a_zero_gradient_is_named():
    data = FLAT.sample_dataset(4, 0)
    for solver in (jpo.BFGS(), jpo.GradientDescent(learning_rate=0.1), jpo.Adam(learning_rate=0.1)):
        result = jpo.solve(FLAT, data, solver)
        assert (result.status == Status.ZERO_GRADIENT).all() and (result.num_evaluations == 1).all()


def test_gradient_descent_contracts_as_its_closed_form_says():
    data = QUADRATIC.sample_dataset(16, 2)
    steps, rate = 30, 0.05
    result = jpo.solve(QUADRATIC, data, jpo.GradientDescent(learning_rate=rate, max_evaluations=steps))
    # After k steps the error is (1 - r h)^k of the first, for each curvature h; the best point
    # is the last one.
    factor = (1 - rate * np.array([1.0, 10.0])) ** (steps - 1)
    np.testing.assert_allclose(
        result.x, data.x_true + factor * (np.asarray(data.x0) - data.x_true), atol=1e-5
    )
    assert (result.num_evaluations == steps).all() and (result.status == Status.BUDGET_SPENT).all()


def test_adam_is_the_adam_of_optax():
    data = QUADRATIC.sample_dataset(1, 3)
    steps, rate = 25, 0.1
    optimizer = optax.adam(optax.cosine_decay_schedule(rate, steps))
    x, state, losses = data.x0[0], optimizer.init(data.x0[0]), []
    for _ in range(steps):
        loss, gradient = jax.value_and_grad(QUADRATIC.objective)(x, None, data.y[0])
        losses.append(float(loss))
        change, state = optimizer.update(gradient, state)
        x = x + change
    result = jpo.solve(QUADRATIC, data, jpo.Adam(learning_rate=rate, max_evaluations=steps))
    np.testing.assert_allclose(result.loss_history[0], np.minimum.accumulate(losses), rtol=1e-4)


def test_every_evaluation_is_counted():
    """The counter of the solver agrees with the calls that the simulator has seen."""
    calls = np.zeros(8, int)

    def loss(x, y):
        jax.debug.callback(lambda index: calls.__setitem__(int(index), calls[int(index)] + 1), y[0])
        return jnp.square(x[0] - 0.3) + 0.1 * jnp.sin(20 * x[0])

    problem = analytic(loss, dimension=1, name="counted")
    data = problem.dataset(y=np.arange(8.0)[:, None], x0=np.linspace(-2, 2, 8)[:, None], threshold=-0.05)
    result = jpo.solve(problem, data, jpo.MultiStart(jpo.BFGS(max_evaluations=20), num_starts=4))
    jax.effects_barrier()
    # Lanes that have finished are still evaluated while others work, so that calls can only be more.
    assert calls.max() == result.num_evaluations.max()
    assert (calls >= result.num_evaluations).all()
    assert np.isfinite(result.loss_history[:, 0]).all()


def test_multi_start_stops_when_solved_and_respects_its_limits():
    problem = jpo.wave_packet()
    data = problem.sample_dataset(128, seed=8)
    result = jpo.solve(problem, data, jpo.MultiStart())
    assert result.solved.mean() > 0.9
    np.testing.assert_array_equal(result.status == Status.SOLVED, result.solved)
    # The last evaluation of a solved problem is the one that solved it.
    last = np.take_along_axis(result.loss_history, result.num_evaluations[:, None] - 1, axis=1)[:, 0]
    before = np.take_along_axis(
        result.loss_history, np.maximum(result.num_evaluations[:, None] - 2, 0), axis=1
    )[:, 0]
    threshold = np.asarray(data.threshold)
    assert (last < threshold)[result.solved].all()
    assert (before >= threshold)[result.solved & (result.num_evaluations > 1)].all()
    capped = jpo.solve(problem, data, jpo.MultiStart(jpo.BFGS(max_evaluations=3), num_starts=4))
    assert capped.num_evaluations.max() <= 12
    single = jpo.solve(problem, data, jpo.BFGS())
    assert (result.solved | ~single.solved).all()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_best_point_is_kept(seed):
    data = ROSENBROCK.sample_dataset(16, seed)
    for solver in (jpo.BFGS(), jpo.GradientDescent(learning_rate=0.05, max_evaluations=50)):
        result = jpo.solve(ROSENBROCK, data, solver)
        start = jax.vmap(ROSENBROCK.objective)(data.x0, None, data.y)
        assert (result.loss <= np.asarray(start) * (1 + 1e-4)).all()  # round-off between two programs
        np.testing.assert_allclose(
            jax.vmap(ROSENBROCK.objective)(jnp.asarray(result.x), None, data.y),
            result.loss,
            rtol=1e-3,
            atol=1e-6,
        )
        assert (np.diff(result.loss_history, axis=1) <= 0).all()


def test_several_seeds_are_several_solves():
    problem = jpo.wave_packet()
    data = problem.sample_dataset(32, seed=10)
    solver = jpo.MultiStart(num_starts=6)
    both = jpo.solve(problem, data, solver, seed=[3, 4])
    assert both.loss.shape == (2, 32) and both.to_dataset().sizes["seed"] == 2
    for row, seed in enumerate((3, 4)):
        one = jpo.solve(problem, data, solver, seed=seed)
        assert (both.num_evaluations[row] == one.num_evaluations).mean() > 0.9
        assert (both.solved[row] == one.solved).mean() > 0.9
    assert (both.num_evaluations[0] != both.num_evaluations[1]).any()


def test_equal_runs_give_equal_bits():
    problem = jpo.wave_packet()
    data = problem.sample_dataset(64, seed=11)
    one, two = (jpo.solve(problem, data, jpo.BFGS()).to_dataset() for _ in range(2))
    assert one.identical(two)


@pytest.mark.parametrize(
    "make, words",
    [
        (
            lambda: jpo.BFGS(max_evaluations=0),
            "max_evaluations: expected a whole number of at least 1, got 0",
        ),
        (
            lambda: jpo.BFGS(gradient_tolerance=-1.0),
            "gradient_tolerance: expected a finite number above zero",
        ),
        (lambda: jpo.Adam(learning_rate=float("nan")), "learning_rate: expected a finite number above zero"),
        (lambda: jpo.MultiStart(num_starts=0), "num_starts: expected a whole number"),
        (lambda: jpo.MultiStart(solver=jpo.MultiStart()), "solver: expected a solver of single problems"),
        (
            lambda: jpo.solve(QUADRATIC, QUADRATIC.sample_dataset(2, 0), "BFGS"),
            "solver: expected one of jpo_lib.SOLVERS",
        ),
        (
            lambda: jpo.solve(QUADRATIC, QUADRATIC.sample_dataset(2, 0), jpo.BFGS(), seed=-1),
            "seed: expected a whole number",
        ),
        (
            lambda: jpo.solve(QUADRATIC, QUADRATIC.sample_dataset(2, 0), jpo.BFGS(), seed=[1, 1]),
            "no seed twice",
        ),
        (
            lambda: jpo.solve(QUADRATIC, QUADRATIC.sample_dataset(2, 0), jpo.BFGS(), x0=np.zeros((3, 2))),
            "x0: expected shape (2, 2), got (3, 2)",
        ),
        (
            lambda: jpo.solve(QUADRATIC, QUADRATIC.sample_dataset(2, 0), jpo.BFGS(), x0=np.zeros((3, 2, 2))),
            "x0: expected shape with 2 axes for a single seed, got (3, 2, 2)",
        ),
        (
            lambda: jpo.solve(QUADRATIC, QUADRATIC.sample_dataset(2, 0), jpo.BFGS(), x0=np.zeros((1, 2, 2))),
            "x0: expected shape with 2 axes for a single seed, got (1, 2, 2)",
        ),
        (
            lambda: jpo.solve(
                QUADRATIC, QUADRATIC.sample_dataset(2, 0), jpo.BFGS(), x0=np.zeros((3, 2, 2)), seed=[0, 1]
            ),
            "x0: expected shape (2, 2, 2), got (3, 2, 2)",
        ),
        (
            lambda: jpo.solve(
                QUADRATIC, QUADRATIC.sample_dataset(2, 0), jpo.MultiStart(), restarts=np.zeros((2, 2, 3, 2))
            ),
            "restarts: expected shape with 3 axes for a single seed, got (2, 2, 3, 2)",
        ),
        (lambda: jpo.solve(QUADRATIC, None, jpo.BFGS()), "data: expected a Dataset"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(make, words):
    with pytest.raises(ValueError) as caught:
        make()
    assert words in str(caught.value) and "\n" not in str(caught.value)


def reference_cells():
    """The classical cell of each problem in the smallest profile; others have larger simulations."""
    for name in EXPERIMENTS:
        cells = [cell for cell in studies.plan(name, "smoke") if cell.kind == "classical"]
        yield pytest.param(cells[0], id=name)


@pytest.mark.parametrize("cell", list(reference_cells()))
def test_solvers_of_a_user_are_those_of_the_book(cell):
    """`MultiStart()`, `Adam()` and `GradientDescent()` take all that a problem recommends:
    the same numbers as in the study, bit for bit."""
    problem = jpo.PROBLEMS[cell.problem](**cell.settings)
    few = cell.model_copy(update={"num_problems": 8, "options": {}})
    study, _ = few.run()
    data = problem.sample_dataset(num_problems=8, seed=cell.data_seed)
    for solver in (jpo.BFGS(), jpo.GradientDescent(), jpo.Adam(), jpo.MultiStart()):
        result = jpo.solve(problem, data, solver, seed=cell.data_seed)
        kept = study.sel(solver=type(solver).__name__)
        for name in ("x", "loss", "num_evaluations", "solved", "status"):
            np.testing.assert_array_equal(
                getattr(result, name), kept[name].values, err_msg=f"{solver}: {name}"
            )


@pytest.mark.parametrize("name", jpo.PROBLEMS)
def test_open_hyperparameters_are_those_that_the_problem_recommends(name):
    problem = jpo.PROBLEMS[name]()
    for solver, recommended in problem.recommended.solvers.items():
        complete = jpo.solvers.complete(problem, jpo.SOLVERS[solver](), 1 << 12)
        assert recommended == {key: getattr(complete, key) for key in recommended}
        open_ones = [key for key, value in dataclasses.asdict(complete).items() if value is None]
        assert set(open_ones) <= {"group_size", "network", "batch_size", "run_evaluations", "training_loss"}
    own = jpo.solvers.complete(problem, jpo.MultiStart(jpo.Adam(), num_starts=2))
    assert (own.num_starts, own.max_evaluations, own.run_evaluations) == (2, 1000, None), (
        "recommended for runs of BFGS"
    )
    assert own.solver == jpo.solvers.complete(problem, jpo.Adam())
