"""Best of k heads: the best answer alone is learned from, all simulations are counted, and one head is the
plain method."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jpo_lib as jpo
from jpo_book.studies.run_tournament import merged, run_method, solver_of
from jpo_book.studies.tournament import methods
from jpo_lib.problems import PROBLEMS
from jpo_lib.solvers.evaluation import evaluation
from jpo_lib.solvers.heads import SHARE, answers_of_heads, many_answers

SOLVERS = [
    jpo.Supervised(group_size=16, num_steps=12, batch_size=8),
    jpo.JointOptimization(group_size=16, num_steps=6, batch_size=8),
]


@pytest.fixture(scope="module")
def problem():
    return jpo.wave_packet(num_points=64, window=32.0)


@pytest.fixture(scope="module")
def data(problem):
    return problem.sample_dataset(16, 901)


def test_the_gradient_is_that_of_the_best_answer(problem, data):
    """Against jax.grad of the plain problem, at three answers to each of sixteen problems."""
    many = many_answers(problem, 3)
    answers = np.random.default_rng(0).uniform(4, 60, (16, 3, 1)).astype(np.float32)
    x = jnp.asarray(answers.reshape(16, 3))
    loss, gradient = evaluation(many).compiled(x, (None, data.y), data.y)[0](x, (None, data.y), data.y)
    value_and_slope = jax.vmap(jax.value_and_grad(problem.objective), (0, None, None))
    each, slopes = map(np.asarray, jax.vmap(value_and_slope, (0, None, 0))(answers, None, data.y))
    best = np.argmin(each, axis=1)
    assert len(set(best)) == 3
    np.testing.assert_allclose(loss, each.min(axis=1), rtol=1e-5)
    expected = np.where(np.arange(3) == best[:, None], slopes[..., 0], 0.0)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)


def test_the_nearest_head_learns_from_a_pair_and_the_others_a_little():
    problem = jpo.kuramoto_sivashinsky()
    middle, half = np.asarray(problem.bounds).sum(0) / 2, np.diff(problem.bounds, axis=0)[0] / 2
    truth = np.tile(middle, 3)
    x = np.concatenate([middle + 0.5 * half, middle - 0.1 * half, middle + 0.3 * half * [1, -1]])
    way = many_answers(problem, 3).difference(x, truth).reshape(3, 2)
    np.testing.assert_allclose(way[1], -0.1 * half, rtol=1e-6)
    np.testing.assert_allclose(way[[0, 2]], SHARE * np.stack([0.5 * half, 0.3 * half * [1, -1]]), rtol=1e-6)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: type(solver).__name__)
def test_one_head_is_the_plain_method_and_more_come_best_first(problem, data, solver):
    plain = jpo.solve(problem, data, solver, seed=[900, 901])
    one = answers_of_heads(problem, data, solver, 1, [900, 901], 16)
    np.testing.assert_allclose(one.x, plain.x, rtol=1e-5)
    np.testing.assert_allclose(one.loss, plain.loss, rtol=1e-4)
    np.testing.assert_array_equal(one.num_evaluations, plain.num_evaluations)
    three = answers_of_heads(problem, data, solver, 3, [900, 901], 12)
    answers = np.concatenate([three.x[..., None, :], three.extras["others"]], axis=-2)
    assert answers.shape == (2, 12, 3, 1)
    y = data.y[:12]
    losses = jax.vmap(lambda x, y: jax.vmap(lambda x: problem.objective(x, None, y))(x), (1, 0), 1)
    each = np.stack([losses(answers[:, :, k], y) for k in range(3)], axis=-1)
    assert (np.diff(each, axis=-1) >= -1e-4).all()
    np.testing.assert_allclose(three.loss, each.min(axis=-1), rtol=1e-4)
    assert three.loss.mean() < plain.loss[:, :12].mean()


@pytest.mark.parametrize("name", ["SupervisedHeads", "JointHeads"])
def test_all_simulations_are_counted(name):
    """One problem and blocks of one, so that no run is for nothing: a visit of three heads costs an
    evaluation and three runs without a gradient, an answer to be compared one for each head, a pair one."""
    calls = []
    plain = jpo.wave_packet(num_points=64, window=32.0)

    def simulate(x, context):
        jax.debug.callback(lambda _: calls.append(1), x[0])
        return plain.simulate(x, context)

    execution = jpo.Execution(block_size=1, pack_lanes=False)
    problem = dataclasses.replace(plain, simulate=simulate, execution=execution)
    data = problem.sample_dataset(1, 4)
    options = methods()[name]["options"]
    start = {**options["start"], "num_steps": 5, "heads": 3}
    calls.clear()
    result, first = run_method(problem, data, data, {**options, "start": start}, 1, [1])
    jax.effects_barrier()
    assert len(calls) == result.num_runs.sum()
    assert first is not None
    spent = (0, 1 + 3) if name == "SupervisedHeads" else (6, 6 * 3 + 3)
    assert (first.num_evaluations.item(), first.num_simulations.item()) == spent


def test_pairs_are_shared_by_the_problems_of_a_group(problem, data):
    options = methods()["SupervisedMorePairs"]["options"]
    start = {**options["start"], "num_steps": 5, "pairs_per_problem": 4}
    _, first = run_method(problem, data, data, {**options, "start": start}, 8, [1])
    assert first is not None
    np.testing.assert_array_equal(first.num_simulations, 4 + 1)


@pytest.mark.parametrize("name", ["wave_packet", "kuramoto_sivashinsky", "navier_stokes"])
def test_the_convolutional_network_plays_where_it_fits(name):
    """It takes targets along one axis, with a context of the same shape; elsewhere it is refused."""
    method = methods()["JointConvolution"]
    starts = [merged(method["options"], setting)["start"] for setting in method["grid"]]
    if name in method["without"]:
        with pytest.raises(ValueError, match="along one axis"):
            solver_of(PROBLEMS[name](num_points=32), starts[0])
    else:
        networks = {solver_of(PROBLEMS[name](), start).network for start in starts}
        assert len(networks) == 1  # one to compile


def test_a_prior_term_is_refused():
    with pytest.raises(ValueError, match="expected no prior term"):
        many_answers(PROBLEMS["lorenz96"](), 2)
