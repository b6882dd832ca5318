"""Problems, data sets and the wave packet's physics."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jpo_lib as jpo
from jpo_book.verification.wave_packet import gradient_errors
from jpo_lib.solvers.refinement import refinement_starts


@pytest.fixture(scope="module")
def problem():
    return jpo.wave_packet()


def test_problem_i_does_not_depend_on_how_many_there_are(problem):
    large, small = problem.sample_dataset(64, seed=3), problem.sample_dataset(16, seed=3)
    for name in ("x_true", "x0", "identifiers"):
        np.testing.assert_array_equal(getattr(large, name)[:16], getattr(small, name))
    np.testing.assert_allclose(large.y[:16], small.y, atol=1e-6)


def test_different_seeds_give_different_problems(problem):
    assert not np.any(
        np.asarray(problem.sample_dataset(8, 0).x_true) == np.asarray(problem.sample_dataset(8, 1).x_true)
    )


def test_waveform_and_noise_have_their_closed_forms(problem):
    data = problem.sample_dataset(200, seed=1)
    times = np.arange(256) * 0.25
    t0 = np.asarray(data.x_true, float)
    clean = np.sin(times - t0) * np.exp(-(((times - t0) / 3.0) ** 2))
    residual = np.asarray(data.y) - clean
    # The standard deviation of 51200 samples is known to 0.3 %; five times that is allowed.
    assert abs(residual.std() / 0.1 - 1) < 0.016
    assert abs(residual.mean()) < 5 * 0.1 / np.sqrt(residual.size)


def test_loss_at_truth_follows_the_chi_squared_law(problem):
    data = problem.sample_dataset(200, seed=2)
    loss = jax.vmap(problem.objective)(data.x_true, None, data.y)
    # 2 L / sd^2 has the mean 256 and the variance 512.
    assert abs(float(jnp.mean(2 * loss / 0.01)) - 256) < 5 * np.sqrt(512 / 200)
    assert bool(jnp.all(loss < data.threshold))


def test_gradient_agrees_with_central_differences_in_float64():
    assert gradient_errors().max() <= 1e-8


def test_shifting_the_truth_shifts_the_signal(problem):
    step = 64.0 / 256
    one, other = (
        problem.simulate(jnp.array([30.0]), None),
        problem.simulate(jnp.array([30.0 + 4 * step]), None),
    )
    np.testing.assert_allclose(other[4:], one[:-4], atol=1e-5)


def test_the_feature_start_is_close_to_the_truth(problem):
    data = problem.sample_dataset(256, seed=4)
    start = jax.vmap(problem.starts.classical)(data.y, None)
    error = np.abs(np.asarray(start - data.x_true))
    assert np.median(error) < 1.0  # noise shifts the median of the energy towards the middle by some samples


def test_equal_settings_give_the_same_problem_object():
    assert jpo.wave_packet() is jpo.wave_packet() and jpo.wave_packet(noise=0.2) is not jpo.wave_packet()


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(width=-1.0), "width: expected a finite number above zero, got -1.0"),
        (dict(width=float("nan")), "width: expected a finite number"),
        (dict(num_points=15), "num_points: expected a whole number of at least 16, got 15"),
        (dict(num_points=255), "a multiple of 2, got 255"),
        (dict(num_points=32), "num_points: expected at least 65 samples"),
        (dict(noise=-0.1), "noise: expected a finite number of at least 0"),
        (dict(prior_lower=50.0, prior_upper=40.0), "expected 0 <= lower < upper"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(change, words):
    with pytest.raises(ValueError) as caught:
        jpo.wave_packet(**change)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("arguments", [(0, 0), (-3, 0), (4, -1), (2.5, 0), (True, 0)])
def test_bad_sizes_and_seeds_are_refused(problem, arguments):
    with pytest.raises(ValueError, match="expected a whole number"):
        problem.sample_dataset(*arguments)


def test_bad_data_are_refused(problem):
    data = problem.sample_dataset(4, 0)
    broken = {
        "NaN": dataclasses.replace(data, y=data.y.at[1, 3].set(jnp.nan)),
        "shape": dataclasses.replace(data, y=data.y[:, :100]),
        "start": dataclasses.replace(data, x0=jnp.zeros((4, 3))),
        "infinite": dataclasses.replace(data, x0=data.x0.at[0].set(jnp.inf)),
    }
    for name, bad in broken.items():
        for solver in (jpo.BFGS(), jpo.JointOptimization()):
            with pytest.raises(ValueError, match=r"expected (shape|finite numbers)") as caught:
                jpo.solve(problem, bad, solver)
            assert "\n" not in str(caught.value), name
    with pytest.raises(ValueError, match="expected shape"):
        problem.dataset(y=np.zeros((4, 256)), x0=np.zeros((4, 2)))
    with pytest.raises(ValueError, match="expected shape"):
        problem.dataset(y=np.zeros((4, 256)), x0=np.zeros(4))


@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, 16), keep=st.integers(0, 15))
def test_selection_keeps_the_axis_of_problems(problem, count, keep):
    data = problem.sample_dataset(16, 3)
    chosen = data[keep]
    assert len(chosen) == 1 and chosen.y.shape == (1, 256)
    assert len(data[:count]) == count


def test_no_stream_of_random_numbers_repeats_another(problem):
    """A restart drawn from the stream of the data would hand the solution to the solver. It happened once."""
    data = problem.sample_dataset(64, seed=5)
    result = jpo.solve(
        problem, data, jpo.MultiStart(jpo.BFGS(max_evaluations=1), num_starts=24, max_evaluations=24), seed=5
    )
    # With one evaluation for each start, the best point is one of the starts.
    distance = np.abs(result.x - np.asarray(data.x_true))
    assert distance.min() > 0.0 and np.median(distance) > 0.05


def test_a_prior_term_is_in_all_that_is_descended_and_reported():
    """y = x + noise with the prior N(0, 1): L + R has the minimum y / (1 + s^2), for classical and joint
    methods, whatever is trained on; and half the square of its residuals is its value."""
    s = 0.5
    problem = jpo.InverseProblem(
        name="shrunk",
        dimension=3,
        simulate=lambda x, context: x,
        loss=lambda output, y: 0.5 * jnp.sum(jnp.square(output - y)) / s**2,
        prior_loss=lambda x: 0.5 * jnp.sum(jnp.square(x)),
        residuals=lambda x, output, y: jnp.concatenate([(output - y) / s, x]),
        sample_x=lambda key: jax.random.normal(key, (3,)),
        observe=lambda key, output: output + s * jax.random.normal(key, output.shape),
        threshold=lambda output, y, prior: 0.5 * jnp.sum(jnp.square(output - y)) / s**2 + prior,
        scale=(np.zeros(3), np.ones(3)),
    )
    data = problem.sample_dataset(64, 0)
    minimum = np.asarray(data.y) / (1 + s**2)
    objective = jax.vmap(problem.objective)
    lowest = objective(minimum, None, data.y)
    np.testing.assert_allclose(data.threshold, objective(data.x_true, None, data.y), rtol=1e-5)
    own = problem.dataset(data.y, data.x0, x_true=data.x_true)
    np.testing.assert_allclose(own.threshold, data.threshold, rtol=1e-5)
    residuals = jax.vmap(problem.residuals)(data.x0, data.x0, data.y)
    half = 0.5 * jnp.sum(jnp.square(residuals), axis=1)
    np.testing.assert_allclose(half, objective(data.x0, None, data.y), rtol=1e-5)

    single = jpo.solve(problem, data, jpo.BFGS())
    np.testing.assert_allclose(single.x, minimum, atol=1e-4)
    np.testing.assert_allclose(single.loss, lowest, rtol=1e-4)
    solver = jpo.JointOptimization(num_steps=400, learning_rate=1e-2)
    losses = None, lambda output, y, prior: jnp.log(problem.loss(output, y) + prior)
    joints = [jpo.solve(problem, data, dataclasses.replace(solver, training_loss=loss)) for loss in losses]
    for joint in joints:
        np.testing.assert_allclose(joint.x, minimum, atol=0.1)
        np.testing.assert_allclose(joint.loss, objective(joint.x, None, data.y), rtol=1e-4)
    assert np.any(joints[0].x != joints[1].x)
    joint = joints[0]
    starts = refinement_starts(problem, joint, 100, spread=0.5)  # no box: 0.5 times twice the scale
    assert abs((starts - joint.x[:, None])[:, 1:].std() - 1.0) < 0.03
    refined = jpo.refine(problem, data, joint)
    assert refined.solved.all() and (refined.num_evaluations < single.num_evaluations.mean()).all()
