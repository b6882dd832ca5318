"""Opponents that a sceptic would name: Levenberg–Marquardt, the best of many points, look-up in a table."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import more_garbow_hillstrom
import nist_regression
import numpy as np
import pytest
import scipy.optimize
import scipy.spatial

import jpo_lib as jpo
from jpo_lib.problem import Status, random_stream


def least_squares(name, dimension, residuals):
    """A problem whose residuals are a function of x alone."""
    return jpo.InverseProblem(
        name=name,
        dimension=dimension,
        simulate=lambda x, context: residuals(x),
        loss=lambda output, y: 0.5 * jnp.sum(jnp.square(output)),
        residuals=lambda x, output, y: output,
        sample_x=lambda key: jax.random.normal(key, (dimension,)),
        threshold=lambda output, y: 0.0,
    )


def cases():
    for name, (residuals, start, least) in more_garbow_hillstrom.PROBLEMS.items():
        yield name, residuals, start, least
    for name, (residuals, starts, least) in nist_regression.PROBLEMS.items():
        for number, start in enumerate(starts):
            yield f"{name} from start {number + 1}", residuals, start, least


def test_levenberg_marquardt_is_no_worse_than_minpack():
    """MINPACK's `lm`, in float64 and with its derivative, on standard problems with known answers."""
    solved, trials = {}, {}
    with jax.enable_x64(True):
        for name, residuals, start, least in cases():
            start = np.asarray(start, float)
            problem = least_squares(name, len(start), residuals)
            y = np.zeros(np.shape(residuals(start)))
            data = problem.dataset(y=y[None], x0=start[None])
            solver = jpo.LevenbergMarquardt(max_evaluations=1000, gradient_tolerance=1e-9)
            ours = jpo.solve(problem, data, solver)
            run, slope = jax.jit(residuals), jax.jit(jax.jacfwd(residuals))
            scipys = scipy.optimize.least_squares(
                lambda x, run=run: np.asarray(run(x)),
                start,
                jac=lambda x, slope=slope: np.asarray(slope(x)),  # pyright: ignore[reportArgumentType]
                method="lm",
                x_scale="jac",
                max_nfev=1000,
            )
            first = float(np.sum(np.square(run(start))))
            ends = 2 * ours.loss[0], 2 * scipys.cost
            solved[name] = [end - least <= 1e-6 * (first - least) for end in ends]
            trials[name] = ours.num_evaluations[0] // len(start), scipys.nfev
    worse = [name for name, (our, scipys) in solved.items() if scipys and not our]
    assert len(solved) >= 30 and len(worse) <= len(solved) / 20, worse
    assert np.mean([scipys for _, scipys in solved.values()]) > 0.9, "the set says little"
    ours, scipys = np.median(list(trials.values()), axis=0)
    assert ours <= 1.5 * scipys, trials


def counted(problem, calls, **changes):
    """The problem with a simulation that writes down each of its runs."""

    def simulate(x, context):
        jax.debug.callback(lambda _: calls.append(1), x[0])
        return problem.simulate(x, context)

    return dataclasses.replace(
        problem, simulate=simulate, execution=jpo.Execution(block_size=1, pack_lanes=False), **changes
    )


B = jpo.BFGS(max_evaluations=20)


@pytest.mark.parametrize(
    "solver, trials",
    [
        (jpo.BFGS(stop_when_solved=True), lambda r, d: r.num_evaluations),
        (jpo.MultiStart(B, num_starts=30), lambda r, d: r.num_evaluations),
        (jpo.BestOf(8, 4, B), lambda r, d: r.num_runs),
        (jpo.LookUp(8, 4, B), lambda r, d: r.num_runs),
        # The start is no run without a gradient, as long as it is not already the solution.
        (jpo.LevenbergMarquardt(), lambda r, d: 1 + r.num_simulations),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_reported_is_what_the_simulation_was_asked(solver, trials):
    """One problem and blocks of one, so that no run is for nothing."""
    calls = []
    problem = counted(jpo.wave_packet(num_points=64, window=32.0), calls)
    data = problem.sample_dataset(1, 4)
    calls.clear()
    result = jpo.solve(problem, data, solver, seed=1)
    jax.effects_barrier()
    assert len(calls) == trials(result, problem.dimension)[0] > 1


@functools.lru_cache(maxsize=1)
def table():
    """A problem, its data, and what LookUp finds with one evaluation from each of its three starts."""
    problem = jpo.wave_packet(noise=0.0)
    data = problem.sample_dataset(64, 3)
    one = jpo.BFGS(max_evaluations=1)
    return problem, data, [jpo.solve(problem, data, jpo.LookUp(50, k, one), seed=5) for k in (1, 3)]


def test_look_up_finds_the_nearest_neighbours():
    problem, data, (nearest, three) = table()
    keys = jax.random.split(random_stream(5, "table"), 50)
    points = jax.vmap(problem.sample_x)(keys)
    outputs = jax.vmap(lambda x: problem.simulate(x, None))(points)
    tree = scipy.spatial.KDTree(outputs)  # the loss is half the square of this distance
    distance, index = tree.query(np.asarray(data.y))
    np.testing.assert_array_equal(nearest.x, np.asarray(points)[index])
    np.testing.assert_allclose(nearest.loss, 0.5 * distance**2, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(three.loss, nearest.loss)  # no other of the three is better
    np.testing.assert_array_equal(three.num_evaluations[~three.solved], 3)
    np.testing.assert_allclose(nearest.num_simulations, 50 / 64)
    assert (nearest.num_evaluations == 1).all()


def test_the_best_candidate_comes_first_and_each_problem_has_its_own():
    problem = jpo.wave_packet(noise=0.0)
    data = problem.sample_dataset(64, 3)
    result = jpo.solve(problem, data, jpo.BestOf(10, 1, jpo.BFGS(max_evaluations=1)), seed=2)
    streams = jax.vmap(jax.random.fold_in, (None, 0))(random_stream(2, "candidates"), jnp.arange(64))
    points = jax.vmap(lambda key: jax.vmap(problem.draw_restart)(jax.random.split(key, 10)))(streams)
    each = jax.vmap(lambda x, y: jax.vmap(lambda one: problem.objective(one, None, y))(x))(points, data.y)
    np.testing.assert_allclose(result.loss, np.min(each, axis=1), rtol=1e-5)
    assert len(np.unique(result.x)) == 64 and (result.num_simulations == 10).all()
    np.testing.assert_allclose(result.cost, 1 + problem.forward_cost * 10)


def test_problems_with_contexts_have_tables_of_their_own():
    problem = jpo.kuramoto_sivashinsky(horizon=1.0)
    data = problem.sample_dataset(16, 0)
    result = jpo.solve(problem, data, jpo.LookUp(12, 2, jpo.BFGS(max_evaluations=2)))
    assert (result.num_simulations == 12).all()
    points = len(np.unique(result.x[:, 0]))
    assert points == 16


def test_after_the_candidates_come_random_starts():
    problem, data, _ = table()
    one = jpo.BFGS(max_evaluations=1)
    few, more = (jpo.solve(problem, data, jpo.LookUp(2, k, one), seed=5) for k in (2, 40))
    assert (more.num_evaluations[~more.solved] == 40).all()
    assert (more.loss <= few.loss).all() and np.median(more.loss) < 0.5 * np.median(few.loss)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="num_candidates: expected"):
        jpo.BestOf(0)
    problem = jpo.wave_packet()
    data = problem.sample_dataset(2, 0)
    with pytest.raises(ValueError, match="x0: expected None for BestOf"):
        jpo.solve(problem, data, jpo.BestOf(4), x0=data.x0)
    bare = jpo.InverseProblem(
        "bare", 1, lambda x, c: x, lambda o, y: o[0] ** 2, problem.sample_x, lambda o, y: 0.0
    )
    with pytest.raises(ValueError, match="expected one with residuals"):
        jpo.solve(bare, bare.sample_dataset(2, 0), jpo.LevenbergMarquardt())


def test_levenberg_marquardt_says_what_stopped_it():
    flat = least_squares("flat", 2, lambda x: 0.0 * x + 1.0)
    result = jpo.solve(flat, flat.sample_dataset(2, 0), jpo.LevenbergMarquardt())
    assert (result.status == Status.ZERO_GRADIENT).all()
    assert (result.num_evaluations == 2).all() and (result.num_simulations == 0).all()
    lost = least_squares("lost", 2, lambda x: x * jnp.nan)
    result = jpo.solve(lost, lost.dataset(np.zeros((2, 2)), np.ones((2, 2))), jpo.LevenbergMarquardt())
    assert (result.status == Status.DIVERGED).all()
