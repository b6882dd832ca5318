"""The Lorenz-96 simulator against mathematics, and the problem that is built on it."""

import jax
import jax.numpy as jnp
import lorenz96_measurements as measure
import numpy as np
import pytest

import jpo_lib as jpo
from jpo_book.studies.named_networks import named_network
from jpo_lib.networks.lorenz96 import CircularConvolution
from jpo_lib.problems.lorenz96 import climate
from jpo_lib.solvers.refinement import first_problems


@pytest.fixture(scope="module")
def problem():
    return jpo.lorenz96()


@pytest.fixture(scope="module")
def data(problem):
    return problem.sample_dataset(256, 901)


def orders(values):
    return np.log2(values[:-1] / values[1:])


def test_fourth_order_in_time_and_agreement_with_scipy():
    errors = measure.temporal_errors([1 / 40, 1 / 80, 1 / 160, 1 / 320])
    assert (np.abs(orders(errors)[1:] - 4.0) < 0.2).all()
    assert errors[-1] < 1e-7
    assert measure.temporal_errors([0.05], horizon=0.9)[0] < 0.02  # the steps of the problem


def test_the_nonlinear_term_keeps_the_energy():
    """Exactly in the term; along the motion up to the error of the time steps, of order 4 or better."""
    assert measure.nonlinear_energy_supply() < 1e-14
    drifts = measure.energy_drifts([1 / 80, 1 / 160, 1 / 320])
    assert (orders(drifts) > 3.8).all() and drifts[-1] < 1e-8


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_shifts_of_the_ring(stride):
    assert measure.shift_error(stride=stride) < 1e-11


def test_gradients_in_float64():
    assert measure.gradient_errors().max() < 1e-7


def test_float32_stays_close_to_float64():
    errors = measure.float32_errors()
    assert errors["observations"].max() < 1e-4
    assert np.median(errors["gradient"]) < 1e-5 and errors["gradient"].max() < 1e-3


def test_climates_are_those_of_long_motions():
    """The table of means, and the deviation that follows from a steady energy; Runge–Kutta steps of 0.05
    spoil that balance by 1 % at F = 16."""
    for forcing, moments in measure.climates().items():
        np.testing.assert_allclose(climate(forcing), moments, rtol=0.015)


def test_true_states_are_those_of_the_climate(problem, data):
    x = np.asarray(data.x_true)
    mean, deviation = climate(8.0)
    assert (mean, deviation) == (2.34, 3.64)
    assert abs(x.mean() - mean) < 0.1 and abs(x.std() - deviation) < 0.1  # neighbours vary together
    again = problem.dataset(data.y, data.x0, x_true=x)
    np.testing.assert_allclose(again.threshold, data.threshold, rtol=1e-4)
    other = np.asarray(jax.jit(jax.vmap(problem.draw_restart))(jax.random.split(jax.random.key(1), 256)))
    for start, spread in ((np.asarray(data.x0), 0.1), (other, 1.0)):
        assert abs(start.mean() - mean) < 0.05 and abs(start.std() / spread - 1) < 0.02


def test_the_loss_at_the_truth_follows_its_law(problem, data):
    """2 M (L + R) at the truth has the mean M + d; of the noise alone, M, with a variance of 2 M."""
    count = 200
    output = jax.jit(jax.vmap(lambda x: problem.simulate(x, None)))(data.x_true)
    noise = 2 * count * np.asarray(jax.vmap(problem.loss)(output, data.y))
    assert abs(noise.mean() - count) < 5 * np.sqrt(2 * count / 256) and 0.7 < noise.var() / (2 * count) < 1.4
    assert abs(2 * count * np.mean(data.threshold) / 1.05 / (count + 40) - 1) < 0.05
    np.testing.assert_allclose(output[:, 0], data.x_true[:, ::2], atol=1e-6)


def test_residuals_and_training_loss_belong_to_the_objective(problem, data):
    def all_of(x, y):
        output = problem.simulate(x, None)
        squares = jnp.sum(jnp.square(problem.residuals(x, output, y)))
        trained = problem.judged(problem.training_loss, x, output, y)
        return problem.objective(x, None, y), 0.5 * squares, jnp.exp(trained)

    loss, half, trained = jax.jit(jax.vmap(all_of))(data.x0, data.y)
    np.testing.assert_allclose(half, loss, rtol=1e-5)
    np.testing.assert_allclose(trained, loss, rtol=1e-4)
    assert problem.residuals(data.x0[0], data.y[0], data.y[0]).shape == (240,)


def test_a_circular_convolution_is_the_convolution():
    layer = CircularConvolution(jax.random.key(0), 3, 5)
    u = jax.random.normal(jax.random.key(1), (8, 3))
    weight = layer.weight.reshape(3, 3, 5)
    reference = sum(jnp.roll(u, 1 - k, axis=0) @ weight[k] for k in range(3))
    np.testing.assert_allclose(layer(u), reference, atol=1e-5)


def test_the_network_has_the_symmetry_of_the_problem(data):
    """A shift of the observations by a place shifts the answer by `stride` variables, for any weights; a
    perceptron does not know that."""
    for stride in (2, 4):
        problem = jpo.lorenz96(stride=stride)
        shifted = {}
        for name in ("recommended", "dense"):
            network = jax.vmap(named_network(problem, {"architecture": name})(jax.random.key(0)))
            y = data.y[:8, :, :: stride // 2]
            x = network(y)
            assert x.shape == (8, 40)
            shifted[name] = np.abs(network(jnp.roll(y, 1, axis=2)) - jnp.roll(x, stride, axis=1)).max()
        assert shifted["recommended"] < 1e-4 < 0.1 < shifted["dense"]


def test_joint_optimization_pays(problem, data):
    """A quarter of the recommended steps and n = 1024: more is solved than by a descent of each problem, at
    less cost."""
    many = problem.sample_dataset(1024, 907)
    joint = first_problems(jpo.solve(problem, many, jpo.JointOptimization(num_steps=160), seed=1), 256)
    few = many[:256]
    refined = jpo.continued(joint, jpo.refine(problem, few, joint))
    alone = jpo.solve(problem, few, jpo.BFGS(stop_when_solved=True))
    assert 0.6 < alone.solved.mean() < 0.85
    assert refined.solved.mean() > alone.solved.mean() + 0.05
    assert refined.num_evaluations.mean() < 0.8 * alone.num_evaluations.mean()


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(dimension=7), "dimension: expected a whole number of at least 8, got 7"),
        (dict(stride=3), "stride: expected a divisor of dimension = 40 that leaves at least 3"),
        (dict(stride=20), "stride: expected a divisor of dimension = 40 that leaves at least 3"),
        (dict(num_times=1), "num_times: expected a whole number of at least 2, got 1"),
        (dict(noise=0.0), "noise: expected a finite number above zero, got 0.0"),
        (dict(interval=0.12), "interval: expected a multiple of dt = 0.05, got 0.12"),
        (dict(dt=0.1), "dt: expected at most 0.05, got 0.1"),
        (dict(forcing=3.0), "forcing: expected 5 to 16, where the motion is chaotic"),
        (dict(forcing=float("nan")), "forcing: expected a finite number above zero"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(change, words):
    with pytest.raises(ValueError) as caught:
        jpo.lorenz96(**change)
    assert words in str(caught.value) and "\n" not in str(caught.value)
