"""Supervised learning of the inverse map: what it learns, what it costs, and that it sees no answers."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jpo_lib as jpo
from jpo_book.studies.named_networks import named_network
from jpo_lib.problem import random_stream
from jpo_lib.solvers import complete
from jpo_lib.solvers.supervised import draw_pairs


def circle(**changes):
    """x is a position on a ring of length 2, seen as a point of the unit circle."""
    values = dict(
        name="circle",
        dimension=1,
        simulate=lambda x, context: jnp.concatenate([jnp.cos(jnp.pi * x), jnp.sin(jnp.pi * x)]),
        loss=lambda output, y: jnp.sum(jnp.square(output - y)),
        sample_x=lambda key: jax.random.uniform(key, (1,), minval=-0.5, maxval=0.5),
        threshold=lambda output, y: 1e-3,
        bounds=((-0.5,), (0.5,)),
        recommended=jpo.Recommended(solvers={"JointOptimization": {"num_steps": 300, "learning_rate": 1e-2}}),
    )
    return jpo.InverseProblem(**{**values, **changes})


PROBLEM = circle()


@pytest.fixture(scope="module")
def data():
    return PROBLEM.sample_dataset(16, seed=3)


@pytest.fixture(scope="module")
def result(data):
    return jpo.solve(PROBLEM, data, jpo.Supervised(group_size=8, num_pairs=20), seed=[3, 4])


def test_it_is_the_regression_that_its_equation_describes(data):
    """Adam on mean_j |net(y_j) - x_j|^2 / s^2, with s the half width of the box."""
    pairs, make = draw_pairs(PROBLEM, 16, 5), named_network(PROBLEM, {"architecture": "dense"})
    network = make(jax.random.fold_in(random_stream(5, "networks"), 0))
    weights, static = jax.tree.flatten(network)
    arrays = [leaf for leaf in weights if hasattr(leaf, "shape")]

    def answers(arrays, y):
        rest = iter(arrays)
        net = jax.tree.unflatten(static, [next(rest) if hasattr(leaf, "shape") else leaf for leaf in weights])
        return jax.vmap(lambda y: net(y, None, None))(y)

    optimizer = optax.adam(optax.cosine_decay_schedule(1e-2, 5))
    state = optimizer.init(arrays)
    gradient = jax.jit(
        jax.grad(
            lambda arrays: jnp.mean(
                jnp.sum(jnp.square((answers(arrays, pairs.y) - pairs.x_true) / 0.5), axis=-1)
            )
        )
    )
    for _ in range(5):
        change, state = optimizer.update(gradient(arrays), state, arrays)
        arrays = optax.apply_updates(arrays, change)
    solver = jpo.Supervised(num_steps=5, network=make)
    np.testing.assert_allclose(jpo.solve(PROBLEM, data, solver, seed=5).x, answers(arrays, data.y), atol=2e-5)


def test_every_simulated_pair_and_every_answer_is_counted(result):
    """Groups of 8 share 20 pairs: together they pay 20 for the pairs and 8 for the answers,
    as evenly as whole numbers allow."""
    spent = result.num_simulations.reshape(2, 2, 8)
    assert (result.num_evaluations == 0).all()
    assert (spent.sum(axis=-1) == 20 + 8).all() and spent.max() - spent.min() == 1
    # The loss is known from the answer on, and not before.
    assert np.isinf(
        np.take_along_axis(result.loss_history, result.num_simulations[..., None] - 2, axis=-1)
    ).all()
    np.testing.assert_array_equal(
        np.take_along_axis(result.loss_history, result.num_simulations[..., None] - 1, axis=-1)[..., 0],
        result.loss,
    )


def test_it_learns_the_inverse_map_and_answers_what_it_was_not_trained_on(data, result):
    assert result.loss.max() < 0.05 and np.abs(result.x - data.x_true).max() < 0.1
    np.testing.assert_allclose(
        result.loss,
        jax.vmap(jax.vmap(PROBLEM.objective, (0, None, 0)), (0, None, None))(
            jnp.asarray(result.x), None, data.y
        ),
        rtol=1e-3,
        atol=1e-6,
    )
    np.testing.assert_array_equal(result.network(data), result.x)
    # Asked about their pairs, the stacked networks say what the training recorded.
    pairs = result.extras["pairs"]
    assert pairs.y.shape == (2, 40, 2) and not np.array_equal(pairs.y[0], pairs.y[1])
    one = jax.tree.map(lambda leaf: jnp.asarray(leaf[1]), pairs)
    np.testing.assert_allclose(result.network(one)[1], result.extras["x_pairs"][1], atol=1e-6)
    assert np.abs(result.extras["x_pairs"] - pairs.x_true).max() < 0.1


def test_it_sees_no_answers(data, result):
    assert not np.isin(np.asarray(draw_pairs(PROBLEM, 16, 3).x_true), np.asarray(data.x_true)).any()
    blind = jpo.solve(
        PROBLEM,
        dataclasses.replace(data, x_true=None),
        jpo.Supervised(group_size=8, num_pairs=20),
        seed=[3, 4],
    )
    np.testing.assert_array_equal(blind.x, result.x)


def test_a_single_seed_gives_the_same_without_its_axis(data, result):
    alone = jpo.solve(PROBLEM, data, jpo.Supervised(group_size=8, num_pairs=20), seed=4)
    np.testing.assert_array_equal(alone.x, result.x[1])
    np.testing.assert_array_equal(alone.extras["pairs"].y, result.extras["pairs"].y[1])
    np.testing.assert_array_equal(alone.network(data), alone.x)


@pytest.mark.parametrize("array", [jnp.float32, np.float64])
def test_differences_of_periodic_parameters_go_the_short_way_round(array):
    ring = circle(dimension=2, periods=(2.0, np.inf))
    x, truth = array([[0.9, 0.9], [-1.4, 3.0], [0.2, 0.0]]), array([[-0.9, -0.9], [0.5, 0.0], [0.1, 0.0]])
    np.testing.assert_allclose(ring.difference(x, truth), [[-0.2, 1.8], [0.1, 3.0], [0.1, 0.0]], atol=1e-6)
    np.testing.assert_array_equal(PROBLEM.difference(x, truth), x - truth)
    assert ring.difference(x, truth).dtype == array


def test_its_defaults_are_those_of_joint_optimization_but_for_the_clip_of_its_other_gradients():
    for make in (jpo.billiards, jpo.kuramoto_sivashinsky):
        problem = make()
        joint, supervised = (
            complete(problem, solver(), 256) for solver in (jpo.JointOptimization, jpo.Supervised)
        )
        for name in (
            "num_steps",
            "learning_rate",
            "final_rate",
            "batch_size",
            "clip_global",
            "clip_to_bounds",
            "optimizer",
            "inputs",
        ):
            assert getattr(joint, name) == getattr(supervised, name), name
        assert joint.clip_problem == 1.0 and supervised.clip_problem == np.inf
    assert complete(jpo.kuramoto_sivashinsky(), jpo.Supervised(num_pairs=96), 256).batch_size == 96


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda d: jpo.Supervised(num_pairs=0), "num_pairs: expected a whole number of at least 1, got 0"),
        (
            lambda d: jpo.solve(PROBLEM, d, jpo.Supervised(group_size=5)),
            "group_size: expected a divisor of the 16 problems, got 5; the nearest is 4",
        ),
        (
            lambda d: jpo.solve(PROBLEM, d, jpo.Supervised(num_pairs=9, batch_size=2)),
            "batch_size: expected a divisor of the group size 9, got 2",
        ),
        (lambda d: jpo.solve(PROBLEM, d, jpo.Supervised(), x0=d.x0), "x0: expected None for Supervised"),
        (
            lambda d: jpo.solve(PROBLEM, d, jpo.BFGS(max_evaluations=1)).network(d),
            "result: expected that of a solver that trains networks, got that of BFGS",
        ),
    ],
)
def test_bad_input_is_refused_in_one_sentence(data, make, words):
    with pytest.raises(ValueError) as caught:
        make(data)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_networks_answer_only_what_can_be_shared_out(data, result):
    with pytest.raises(
        ValueError, match="data: expected a multiple of 2 problems, one share for each network, got 15"
    ):
        result.network(data[:15])
