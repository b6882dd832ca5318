"""Joint optimization: against a training loop written by hand, and the guards that keep it safe."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jpo_lib as jpo
from jpo_lib.networks import Convolution1D, Dense, EnergyCentroid1D, network_for
from jpo_lib.problem import random_stream

PROBLEM = jpo.wave_packet()


@pytest.fixture(scope="module")
def data():
    return PROBLEM.sample_dataset(16, seed=31)


def by_hand(data, key, num_steps, rate):
    """The definition, word for word: Adam on the mean loss of net(y_i) over all problems."""
    network = network_for(PROBLEM)(key)
    weights, static = eqx.partition(network, eqx.is_array)

    def total(weights):
        x = jax.vmap(lambda y: eqx.combine(weights, static)(y))(data.y)
        return jnp.mean(jax.vmap(PROBLEM.objective)(x, None, data.y))

    optimizer = optax.adam(optax.cosine_decay_schedule(rate, num_steps))
    state = optimizer.init(weights)

    @jax.jit
    def step(weights, state):
        change, state = optimizer.update(jax.grad(total)(weights), state)
        return optax.apply_updates(weights, change), state

    for _ in range(num_steps):
        weights, state = step(weights, state)
    return jax.vmap(lambda y: eqx.combine(weights, static)(y))(data.y)


def test_it_is_the_training_loop_that_its_equation_describes(data):
    result = jpo.solve(PROBLEM, data, jpo.JointOptimization(num_steps=10, learning_rate=1e-3), seed=5)
    key = jax.random.fold_in(random_stream(5, "networks"), 0)
    np.testing.assert_allclose(result.extras["x_final"], by_hand(data, key, 10, 1e-3), atol=2e-3)
    assert (result.num_evaluations == 11).all()


def test_groups_and_seeds_do_not_touch_each_other(data):
    solver = jpo.JointOptimization(group_size=4, num_steps=10)
    together = jpo.solve(PROBLEM, data, solver, seed=[0, 1])
    alone = jpo.solve(PROBLEM, data, solver, seed=1)
    np.testing.assert_allclose(together.x[1], alone.x, atol=1e-4)
    # Group 0 alone: its network has the same key, whatever follows.
    first = jpo.solve(PROBLEM, data[:4], jpo.JointOptimization(num_steps=10), seed=1)
    np.testing.assert_allclose(alone.x[:4], first.x, atol=1e-3)
    changed = jpo.solve(
        PROBLEM, jpo.Dataset(**{**vars(data), "y": data.y.at[8:].multiply(0.5)}), solver, seed=1
    )
    np.testing.assert_array_equal(changed.x[:8], alone.x[:8])
    assert (changed.x[8:] != alone.x[8:]).any()


def test_minibatches_visit_every_problem_equally_often(data):
    result = jpo.solve(PROBLEM, data, jpo.JointOptimization(num_steps=12, batch_size=4), seed=0)
    assert (
        result.num_evaluations == 4
    ).all()  # 12 steps of 4 are 3 epochs of 16, and one evaluation at the end
    uneven = jpo.solve(PROBLEM, data, jpo.JointOptimization(num_steps=10, batch_size=4), seed=0)
    assert set(uneven.num_evaluations) == {3, 4} and uneven.num_evaluations.sum() == 10 * 4 + 16
    for r in (result, uneven):
        assert np.isfinite(r.loss).all() and (np.diff(r.loss_history, axis=1) <= 0).all()
        np.testing.assert_allclose(
            jax.vmap(PROBLEM.objective)(jnp.asarray(r.x), None, data.y), r.loss, rtol=1e-4
        )
        np.testing.assert_allclose(r.loss_history[:, -1], r.loss)


def test_a_problem_that_diverges_spoils_no_other():
    """One target is hidden behind a simulation that is not finite;
    the others train as if it had a zero gradient."""
    problem = jpo.InverseProblem(
        name="partly finite",
        dimension=1,
        simulate=lambda x, context: jnp.where(context > 0, jnp.nan, x),
        loss=lambda output, y: jnp.sum(jnp.square(output - y)),
        sample_x=lambda key: jax.random.uniform(key, (1,)),
        sample_context=lambda key: jnp.zeros(()),
        threshold=lambda output, y: 1e-3,
        bounds=((0.0,), (1.0,)),
    )
    data = problem.dataset(
        y=np.linspace(0, 1, 8)[:, None],
        x0=np.zeros((8, 1)),
        context=jnp.zeros(8).at[3].set(1.0),
        threshold=1e-3,
    )
    result = jpo.solve(problem, data, jpo.JointOptimization(num_steps=200, learning_rate=5e-3), seed=0)
    others = np.arange(8) != 3
    assert np.isfinite(result.x).all() and result.solved[others].all() and not result.solved[3]
    assert result.extras["num_diverged"][3] == 201 and (result.extras["num_diverged"][others] == 0).all()
    assert "not finite" in result.status_text[3]


def test_clipping_bounds_the_influence_of_one_problem():
    """With a clip c the gradient in x of each problem has the norm c, however steep its loss."""
    steep = jpo.InverseProblem(
        name="steep",
        dimension=1,
        simulate=lambda x, context: x,
        loss=lambda output, y: jnp.sum(y * jnp.square(output - 0.5)),
        sample_x=lambda key: jax.random.uniform(key, (1,)),
        threshold=lambda output, y: 0.0,
        bounds=((0.0,), (1.0,)),
    )

    # The network is a plain number x, one for both problems, so that its gradient is the mean of theirs.
    class Constant(eqx.Module):
        value: jax.Array

        def __call__(self, y, context, identifier):
            return self.value

    data = steep.dataset(y=np.array([[1e6], [1.0]]), x0=np.zeros((2, 1)))

    def run(clip):
        solver = jpo.JointOptimization(
            network=lambda key: Constant(jnp.array([0.9])), num_steps=1, learning_rate=0.1, clip_problem=clip
        )
        return jpo.solve(steep, data, solver, seed=0).extras["x_final"]

    # Adam's first step has the length of its rate whatever the gradient: both move by 0.1 towards 0.5.
    np.testing.assert_allclose(run(np.inf), 0.8, atol=1e-4)
    np.testing.assert_allclose(run(1e-3), 0.8, atol=1e-4)


def test_bounds_hold_and_pull_back():
    tilted = jpo.InverseProblem(
        name="tilted",
        dimension=1,
        simulate=lambda x, context: x,
        loss=lambda output, y: jnp.sum(-output),
        sample_x=lambda key: jax.random.uniform(key, (1,)),
        threshold=lambda output, y: -2.0,
        bounds=((0.0,), (1.0,)),
    )
    data = tilted.sample_dataset(8, 0)
    free = jpo.solve(tilted, data, jpo.JointOptimization(num_steps=300, learning_rate=1e-2), seed=0)
    held = jpo.solve(
        tilted, data, jpo.JointOptimization(num_steps=300, learning_rate=1e-2, clip_to_bounds=True), seed=0
    )
    assert free.x.min() > 1.5 and held.x.min() >= 0.0 and held.x.max() <= 1.0
    np.testing.assert_allclose(held.x, 1.0, atol=1e-3)


def test_identifiers_alone_can_tell_problems_apart():
    data = PROBLEM.sample_dataset(8, seed=2)
    blind = PROBLEM.dataset(
        y=np.asarray(data.y), x0=np.asarray(data.x0), threshold=np.asarray(data.threshold)
    )
    for inputs in ("targets+identifiers", "identifiers"):
        result = jpo.solve(PROBLEM, blind, jpo.JointOptimization(inputs=inputs, num_steps=20), seed=0)
        assert len(np.unique(np.round(result.extras["x_initial"], 4))) == 8
    network = network_for(PROBLEM, "identifiers")(jax.random.key(0))
    assert network(data.y[0], None, data.identifiers[0]) == network(data.y[1], None, data.identifiers[0])


def test_the_network_shifts_with_its_signal():
    network = EnergyCentroid1D(jax.random.key(3), num_points=256, extent=64.0)
    signal = PROBLEM.simulate(jnp.array([30.0]), None)
    for samples in (2, 8, 20):
        shifted = jnp.roll(signal, samples)
        assert abs(float((network(shifted) - network(signal))[0]) - samples * 0.25) < 1e-3


@pytest.mark.parametrize("length", [8, 37, 128])
def test_banded_convolution_is_the_convolution(length):
    layer = Convolution1D(jax.random.key(0), 3, 5, 9)
    u = jax.random.normal(jax.random.key(1), (length, 3))
    reference = jax.lax.conv_general_dilated(
        u[None], layer.weight, (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
    )[0]
    np.testing.assert_allclose(layer(u), reference, atol=1e-5)


def test_dense_network_starts_inside_the_prior_box():
    network = Dense(jax.random.key(0), inputs="targets", target_size=4, middle=[3.0, -1.0], spread=[1.0, 0.1])
    x = jax.vmap(lambda y: network(y, None, None))(jax.random.normal(jax.random.key(1), (100, 4)))
    assert x.shape == (100, 2) and np.all(np.abs(np.median(x, 0) - [3.0, -1.0]) < [1.0, 0.1])


def test_unseen_wave_packets_are_solved_jointly():
    """The statement of the chapter, on a data set that nothing was chosen on."""
    data = PROBLEM.sample_dataset(256, seed=4711)
    bfgs = jpo.solve(PROBLEM, data, jpo.BFGS())
    joint = jpo.solve(PROBLEM, data, jpo.JointOptimization(group_size=256), seed=7)
    comparison = jpo.compare(jpo.solve(PROBLEM, data, jpo.BFGS(), x0=joint.x), bfgs)
    assert comparison.solved.value >= 0.97 and comparison.worse.value <= 0.01
    assert 0.10 <= comparison.solved_reference.value <= 0.30


@pytest.mark.parametrize(
    "make, words",
    [
        (
            lambda d: jpo.JointOptimization(group_size=0),
            "group_size: expected a whole number of at least 1, got 0",
        ),
        (lambda d: jpo.JointOptimization(clip_problem=0.0), "clip_problem: expected a number above zero"),
        (lambda d: jpo.JointOptimization(final_rate=2.0), "final_rate: expected a number between 0 and 1"),
        (
            lambda d: jpo.solve(PROBLEM, d, jpo.JointOptimization(group_size=5)),
            "group_size: expected a divisor of the 16 problems, got 5; the nearest is 4",
        ),
        (
            lambda d: jpo.solve(PROBLEM, d, jpo.JointOptimization(batch_size=3)),
            "batch_size: expected a divisor of the group size 16, got 3",
        ),
        (
            lambda d: jpo.solve(PROBLEM, d, jpo.JointOptimization(inputs="labels")),
            "inputs: expected one of targets",
        ),
        (
            lambda d: jpo.solve(PROBLEM, d, jpo.JointOptimization(), x0=d.x0),
            "x0: expected None for JointOptimization",
        ),
    ],
)
def test_bad_input_is_refused_in_one_sentence(data, make, words):
    with pytest.raises(ValueError) as caught:
        make(data)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_recorded_outputs_are_those_before_and_after_their_steps(data):
    solver = jpo.JointOptimization(num_steps=6, num_recorded=3)
    one, several = jpo.solve(PROBLEM, data, solver, seed=5), jpo.solve(PROBLEM, data, solver, seed=[5])
    assert one.extras["recorded_steps"].tolist() == several.extras["recorded_steps"].tolist() == [0, 2, 5]
    assert one.extras["x_recorded"].shape == (3, 16, 1)
    np.testing.assert_array_equal(one.extras["x_recorded"], several.extras["x_recorded"][0])
    np.testing.assert_array_equal(one.extras["x_recorded"][0], one.extras["x_initial"])
    np.testing.assert_array_equal(one.extras["x_recorded_next"][-1], one.extras["x_final"])
