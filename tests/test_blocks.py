"""Batches in blocks that the processors share:
the same results as all at once, whoever computes which block."""

import dataclasses
import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jpo_lib as jpo
from jpo_lib import _processors
from jpo_lib._processors import on_all_processors
from jpo_lib.solvers.evaluation import block_size, evaluation

PROBLEM = dataclasses.replace(jpo.wave_packet(), execution=jpo.Execution(block_size=32))
WHOLE = dataclasses.replace(PROBLEM, execution=jpo.Execution(block_size=None, pack_lanes=False))
RESTARTS = jpo.MultiStart(num_starts=12)


@pytest.mark.parametrize("count", [31, 32, 33, 100])
def test_an_evaluation_in_blocks_is_that_of_the_whole_batch(count):
    """Also where the last block is not full."""
    data = PROBLEM.sample_dataset(count, seed=1)
    arguments = data.x0, data.context, data.y
    (loss, gradient), (expected_loss, expected_gradient) = (
        evaluation(p).compiled(*arguments)[0](*arguments) for p in (PROBLEM, WHOLE)
    )
    assert loss.shape == (count,) and gradient.shape == data.x0.shape
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-5)
    np.testing.assert_allclose(
        gradient, expected_gradient, rtol=1e-4, atol=1e-5 * np.abs(expected_gradient).max()
    )
    program = evaluation(PROBLEM).compiled(*arguments)[0]
    other = data.x0, data.context, data.y[::-1]
    program(*arguments)
    np.testing.assert_array_equal(program(*other)[0], program(*other)[0])
    np.testing.assert_allclose(
        program(*other)[0],
        evaluation(WHOLE).compiled(*other)[0](*other)[0],
        rtol=1e-5,
        err_msg="targets of an earlier call were used",
    )


@pytest.mark.parametrize("solver", [jpo.BFGS(), RESTARTS], ids=["BFGS", "MultiStart"])
def test_blocks_and_packing_change_no_result(solver):
    """Unfinished problems move to other blocks and to smaller ones,
    and restarts begin in the middle of that."""
    data = PROBLEM.sample_dataset(200, seed=9)
    blocks, whole = (jpo.solve(problem, data, solver, seed=1) for problem in (PROBLEM, WHOLE))
    assert (blocks.solved == whole.solved).mean() >= 0.99 and (
        blocks.num_evaluations == whole.num_evaluations
    ).mean() >= 0.97
    same = blocks.num_evaluations == whole.num_evaluations
    shared = min(blocks.loss_history.shape[1], whole.loss_history.shape[1])
    close = np.isclose(
        blocks.loss_history[same, :shared], whole.loss_history[same, :shared], rtol=1e-2, atol=1e-4
    )
    assert close.mean() >= 0.97, "each evaluation stands in its own column"
    assert np.isfinite(blocks.loss_history[:, 0]).all() and (np.diff(blocks.loss_history, axis=1) <= 0).all()
    np.testing.assert_array_equal(blocks.loss_history[:, -1], blocks.loss)


def test_results_do_not_depend_on_the_number_of_processors(monkeypatch):
    data = PROBLEM.sample_dataset(200, seed=3)
    shared = jpo.solve(PROBLEM, data, RESTARTS)
    joint = jpo.JointOptimization(num_steps=5)
    trained = jpo.solve(PROBLEM, data, joint)
    monkeypatch.setattr(_processors, "usable_cores", lambda: 1)
    for first, solver in ((shared, RESTARTS), (trained, joint)):
        again = jpo.solve(PROBLEM, data, solver)
        for name in ("x", "loss", "loss_history", "num_evaluations", "status"):
            np.testing.assert_array_equal(getattr(first, name), getattr(again, name), err_msg=name)


def test_blocks_keep_the_precision_of_the_problem():
    """Threads have a JAX flag of their own.
    The minimum of (x - y)^2 is found to more digits than float32 has."""
    problem = jpo.InverseProblem(
        name="line",
        dimension=1,
        simulate=lambda x, context: x,
        loss=lambda output, y: jnp.sum((output - y) ** 2),
        threshold=lambda output, y: jnp.array(1e-20),
        sample_x=lambda key: jax.random.uniform(key, (1,)),
        starts=jpo.Starts(first=lambda key: jnp.zeros(1)),
        execution=jpo.Execution(float64=True, block_size=4),
    )
    data = problem.sample_dataset(12, seed=0)
    result = jpo.solve(problem, data, jpo.BFGS(gradient_tolerance=1e-12))
    assert (
        result.loss.dtype == np.float64
        and result.loss.max() < 1e-20
        and not jax.config.read("jax_enable_x64")
    )
    with problem.precision():
        loss, gradient = evaluation(problem).compiled(data.x0, data.context, data.y)[0](
            data.x0, data.context, data.y
        )
    assert loss.dtype == gradient.dtype == np.float64


def test_each_item_is_worked_on_once_and_in_its_place(monkeypatch):
    monkeypatch.setattr(_processors, "usable_cores", lambda: 2)
    seen, threads = [], set()

    def work(item):
        seen.append(item)
        threads.add(threading.get_ident())
        time.sleep(0.002)
        return item**2

    assert on_all_processors(work, range(40)) == [k**2 for k in range(40)] and sorted(seen) == list(range(40))
    assert len(threads) == 2
    assert on_all_processors(work, []) == []


@pytest.mark.parametrize("fails_in", ["this thread", "a helper"])
def test_an_error_reaches_the_caller_and_ends_the_work(monkeypatch, fails_in):
    monkeypatch.setattr(_processors, "usable_cores", lambda: 2)
    caller, done = threading.get_ident(), []

    def work(item):
        time.sleep(0.005)
        if item > 4 and (threading.get_ident() == caller) == (fails_in == "this thread"):
            raise KeyboardInterrupt if fails_in == "this thread" else ZeroDivisionError
        done.append(item)

    with pytest.raises(KeyboardInterrupt if fails_in == "this thread" else ZeroDivisionError):
        on_all_processors(work, range(1000))
    assert len(done) < 20
    assert on_all_processors(abs, [-1, -2, -3]) == [1, 2, 3], "the threads are free again"


@pytest.mark.parametrize("size", [0, -3, 2.5, True])
def test_a_block_has_at_least_one_problem(size):
    with pytest.raises(ValueError, match="block_size: expected a whole number of at least 1"):
        jpo.Execution(block_size=size)


def test_blocks_are_for_processors_alone():
    assert block_size(PROBLEM, 1000) == 32 and block_size(PROBLEM, 7) == 7 and block_size(WHOLE, 1000) == 1000
    assert block_size(PROBLEM, 1000, mesh=object()) == 1000, "several devices share a batch by themselves"
