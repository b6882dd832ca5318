"""The Kuramoto–Sivashinsky simulator against mathematics, and the problem that is built on it."""

import csv
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import simpson

import jpo_lib as jpo
from jpo_book.files import reference_folder
from jpo_book.verification import kuramoto_sivashinsky as measure
from jpo_lib.networks.kuramoto_sivashinsky import RingConvolution, RingEncoder
from jpo_lib.problems._spectral import etdrk
from jpo_lib.problems.kuramoto_sivashinsky import (
    _discretization,
    _states,
    coefficients_of,
    default_forcing,
    integrate,
    random_state,
    trajectory,
)


def orders(errors, ratio):
    return np.log(errors[:-1] / errors[1:]) / np.log(ratio)


def test_fourth_order_in_time_and_agreement_with_the_reference():
    errors = measure.temporal_errors([1 / 128, 1 / 256, 1 / 512], order=4)
    assert (orders(errors, 2) >= 3.8).all() and (orders(errors, 2) <= 4.2).all()
    assert errors[-1] <= 1e-10  # against another scheme with the same modes
    assert measure.temporal_errors([1 / 512], order=4, forced=False)[0] <= 1e-10


def test_second_order_in_time():
    errors = measure.temporal_errors([1 / 16, 1 / 32, 1 / 64], order=2)
    assert (np.abs(orders(errors, 2) - 2.0) < 0.1).all()


def test_spectral_in_space():
    """The error falls faster than any power: per 16 points by more than a factor 10, and the orders grow."""
    sizes = np.array([48, 64, 96, 128])
    errors = measure.spatial_errors(sizes.tolist())
    rates = np.log(errors[:-1] / errors[1:]) / np.log(sizes[1:] / sizes[:-1])
    assert errors[-1] < 1e-9 and (rates > 10).all()


def energy_balance_error(*, horizon: float = 5.0, dt: float = 0.0125) -> float:
    """Mismatch of the energy E = mean u^2 / 2 over the motion with the integral of mean(u_x^2 - u_xx^2 +
    alpha G u).

    The nonlinear term only moves energy between modes. The integral is Simpson's;
    relative to the energy supplied.
    """
    with jax.enable_x64(True):
        u = np.asarray(
            trajectory(measure.example_state(128), measure.ALPHA, measure.BETA, horizon=horizon, dt=dt)
        )
    k = 2 * np.pi * np.arange(65) / 64.0
    u_x, u_xx = (np.fft.irfft(factor * np.fft.rfft(u, axis=1), axis=1) for factor in (1j * k, -(k**2)))
    supply = np.mean(u_x**2 - u_xx**2 + measure.ALPHA * default_forcing(128) * u, axis=1)
    gain = 0.5 * np.mean(u[-1] ** 2 - u[0] ** 2)
    return float(abs(gain - simpson(supply, dx=dt)) / simpson(np.mean(u_x**2, axis=1), dx=dt))


def test_mean_and_energy():
    assert measure.mean_drift() <= 1e-14
    assert energy_balance_error() <= 1e-6


@pytest.mark.parametrize("alpha", [0.0, 0.8])
def test_without_nonlinear_term_the_closed_form(alpha):
    """beta = 0: each mode grows as exp((k^2 - k^4) t), the forced one by alpha (exp(s t) - 1) / s more."""
    horizon, m = 5.0, np.arange(49)
    with jax.enable_x64(True):
        u0 = measure.example_state(96, mean=0.2)
        u = np.asarray(integrate(u0, alpha, 0.0, horizon=horizon))
    k = 2 * np.pi * m / 64.0
    s = k**2 - k**4
    spectrum = np.fft.rfft(u0) * np.exp(s * horizon)
    spectrum[4] += alpha * np.fft.rfft(default_forcing(96))[4].real * np.expm1(s[4] * horizon) / s[4]
    np.testing.assert_allclose(u, np.fft.irfft(spectrum), atol=1e-12)


@settings(max_examples=6, deadline=None)
@given(
    shift=st.sampled_from([8, 16, 24, 72]),
    alpha=st.floats(-1, 1),
    beta=st.floats(0.5, 1.5),
    mean=st.floats(-1, 1),
)
def test_symmetries(run, shift, alpha, beta, mean):
    """A shift by L / 4 leaves the equation as it is, by L / 8 turns alpha around,
    and so does u(x) -> -u(-x)."""
    u0 = measure.example_state(32, mean=mean)
    u = run(u0, alpha, beta)
    turn = -1.0 if (shift // 8) % 2 else 1.0
    roll = shift // 2  # 32 points: L / 8 is four of them
    np.testing.assert_allclose(run(np.roll(u0, roll), turn * alpha, beta), np.roll(u, roll), atol=1e-11)

    def mirror(v):
        return -np.roll(v[::-1], 1)

    np.testing.assert_allclose(run(mirror(u0), -alpha, beta), mirror(u), atol=1e-11)


@pytest.fixture(scope="module")
def run():
    """The simulator on a small ring, compiled once, in float64."""
    program = jax.jit(lambda u0, alpha, beta: integrate(u0, alpha, beta, horizon=5.0, domain_extent=25.0))

    def call(*arguments):
        with jax.enable_x64(True):
            return np.asarray(program(*(jnp.asarray(a, jnp.float64) for a in arguments)))

    return call


def test_galilean_invariance():
    """Without forcing, a uniform flow c carries the pattern along:
    u(x, t; u0 + c) = c + u(x - beta c t, t; u0)."""
    c, beta, horizon = 0.5, 1.2, 5.0
    with jax.enable_x64(True):
        u0 = measure.example_state(96)
        still, moving = (
            np.asarray(integrate(u0 + v, 0.0, beta, horizon=horizon, dt=1 / 128)) for v in (0.0, c)
        )
    k = 2 * np.pi * np.arange(49) / 64.0
    carried = c + np.fft.irfft(np.fft.rfft(still) * np.exp(-1j * k * beta * c * horizon))
    np.testing.assert_allclose(moving, carried, atol=1e-7)


def prior_box_extremes(
    horizon: float, *, dt: float, order: int, num_points: int = 128, num_problems: int = 64
) -> np.ndarray:
    """Largest |u| of the motion for problems all over the prior box,
    its corners among them; shape (num_problems,).

    Not finite where a motion blows up. `dt` may exceed what the simulator offers.
    """
    x = np.random.default_rng(1).uniform(-1, 1, (num_problems, 2))
    x[: num_problems // 2] = np.sign(x[: num_problems // 2])
    forcing, discretization = default_forcing(num_points), _discretization(num_points, 64.0, dt, order)

    def largest(key, x):
        u0 = random_state(key, num_points)
        motion = _states(u0, *coefficients_of(x), forcing, discretization, round(horizon / dt), True)
        return jnp.max(jnp.abs(motion))

    with jax.enable_x64(True):
        return np.asarray(jax.jit(jax.vmap(largest))(jax.random.split(jax.random.key(1), num_problems), x))


def test_the_whole_prior_box_stays_finite():
    """For the longest motion offered, with the largest step, and still with twice that step."""
    for dt, order in ((0.25, 4), (0.5, 4), (0.125, 2), (0.25, 2)):
        largest = prior_box_extremes(200.0 if order == 4 else 50.0, dt=dt, order=order)
        assert np.isfinite(largest).all() and largest.max() < 15.0


def test_gradients_in_float64():
    assert measure.gradient_errors(20.0).max() <= 1e-6
    assert measure.gradient_errors(40.0).max() <= 1e-5  # the loss is rougher: central differences lose digits


def test_the_derivatives_of_a_problem_are_those_of_its_simulator():
    """The Jacobian is computed forward along with the motion;
    going back through the motion gives the same, also in u0."""
    problem = jpo.kuramoto_sivashinsky(horizon=2.0, num_points=64, float64=True)
    with problem.precision():
        x, u0, weight = (
            jnp.array([0.3, -0.4]),
            jnp.asarray(measure.example_state(64)),
            jnp.asarray(measure.example_state(64, seed=1)),
        )
        back = jax.jit(
            jax.grad(lambda x, u0: weight @ integrate(u0, *coefficients_of(x), horizon=2.0), (0, 1))
        )(x, u0)
        for derivative, arguments in ((jax.grad, (0, 1)), (jax.grad, 0), (jax.jacfwd, 0)):
            ours = derivative(lambda x, u0: weight @ problem.simulate(x, u0), arguments)
            for one, other in zip(jax.tree.leaves(jax.jit(ours)(x, u0)), back):
                np.testing.assert_allclose(one, other, rtol=1e-11)


def test_float32_stays_close_to_float64():
    """The stated bound at T = 20: states within 2e-4; gradients within 1e-5 in the middle and 1 % always."""
    errors = measure.float32_errors(20.0)
    assert errors["state"].max() <= 2e-4
    assert np.median(errors["gradient"]) <= 1e-5 and errors["gradient"].max() <= 1e-2


def test_trajectory_ends_where_integrate_does():
    u0 = measure.example_state(64)
    states = np.asarray(trajectory(u0, 0.3, 1.0, horizon=3.0))
    assert states.shape == (13, 64)
    np.testing.assert_allclose(states[0], u0, atol=1e-5)
    np.testing.assert_allclose(states[-1], integrate(u0, 0.3, 1.0, horizon=3.0), atol=1e-5)


def test_coefficients_of_a_step_have_their_closed_forms():
    """Away from L dt = 0 the contour integrals equal the closed forms of Cox & Matthews."""
    z = np.array([-30.0, -5.0, -2.0, 2.0])
    _, _, (q, f1, f2, f3) = etdrk(z / 0.1, 0.1, 4)[1:]
    e = np.exp(z)
    closed = 0.1 * np.array(
        [
            np.expm1(z / 2) / z,
            (-4 - z + e * (4 - 3 * z + z**2)) / z**3,
            (2 + z + e * (z - 2)) / z**3,
            (-4 - 3 * z - z**2 + e * (4 - z)) / z**3,
        ]
    )
    np.testing.assert_allclose([q, f1, f2, f3], closed, rtol=1e-12)
    at_zero = etdrk(np.zeros(1), 0.1, 4).stages
    np.testing.assert_allclose(np.ravel(at_zero), 0.1 * np.array([1 / 2, 1 / 6, 1 / 6, 1 / 6]), rtol=1e-13)


# --- the inverse problem ------------------------------------------------------------------------------------


def test_data_follow_their_definition():
    problem = jpo.kuramoto_sivashinsky()
    data = problem.sample_dataset(64, seed=3)
    assert data.y.dtype == jnp.float32 and np.abs(data.x_true).max() <= 1 and (np.asarray(data.x0) == 0).all()
    spectrum = np.abs(np.fft.rfft(data.context, axis=1)) / 128
    assert spectrum[:, 0].max() < 1e-6 and spectrum[:, 9:].max() < 1e-6
    assert abs(np.mean(np.square(data.context)) - 1.0) < 5 / np.sqrt(64 * 8)
    np.testing.assert_allclose(data.threshold, 1e-3 * np.var(data.y, axis=1), rtol=1e-4)
    output = problem.simulate(data.x_true[0], data.context[0])
    np.testing.assert_allclose(output, data.y[0], atol=1e-3)
    # The losses at the truth are round-off; half of it is the training loss of two fields of equal size.
    wrong = 0.5 * data.y[0]
    loss, training = float(problem.loss(wrong, data.y[0])), float(problem.training_loss(wrong, data.y[0]))
    assert training == pytest.approx(4 * loss / (1.25 * float(jnp.mean(data.y[0] ** 2))), rel=1e-5)


def test_a_ring_convolution_is_the_convolution():
    layer = RingConvolution(jax.random.key(0), 3, 5)
    u = jax.random.normal(jax.random.key(1), (32, 3))
    weight = layer.weight.reshape(5, 3, 5)
    reference = jax.lax.conv_general_dilated(
        jnp.pad(u, ((2, 2), (0, 0)), mode="wrap")[None],
        weight,
        (2,),
        "VALID",
        dimension_numbers=("NWC", "WIO", "NWC"),
    )[0]
    np.testing.assert_allclose(layer(u), reference, atol=1e-5)


def test_the_network_has_the_symmetries_of_the_equation():
    """Shifts by L / 8 and the reflection turn alpha around and leave beta, for any weights;
    it starts near the guess."""
    network = RingEncoder(jax.random.key(0), num_points=128)
    data = jpo.kuramoto_sivashinsky().sample_dataset(16, seed=3)
    # The checker does not see that this Equinox module can be called.
    answer = jax.jit(jax.vmap(network))  # pyright: ignore[reportArgumentType]
    x = answer(data.y, data.context)
    shifted = answer(jnp.roll(data.y, 16, axis=1), jnp.roll(data.context, 16, axis=1))

    def mirror(v):
        return -jnp.roll(v[:, ::-1], 1, axis=1)

    for other in (shifted, answer(mirror(data.y), mirror(data.context))):
        np.testing.assert_allclose(other, x * np.array([-1.0, 1.0]), atol=1e-5)
    assert np.abs(x).max() < 0.3 and np.abs(x[:, 0]).max() > 1e-4
    plain = RingEncoder(jax.random.key(0), num_points=128, equivariant=False)
    shape = jax.vmap(plain)(data.y, data.context).shape  # pyright: ignore[reportArgumentType]  (as above)
    assert shape == (16, 2)


def test_unseen_problems_are_solved_jointly():
    """T = 20 with n = 64, an eighth of the recommended steps, on a data set that nothing was chosen on."""
    problem = jpo.kuramoto_sivashinsky()
    data = problem.sample_dataset(64, seed=4711)
    joint = jpo.solve(problem, data, jpo.JointOptimization(group_size=64, num_steps=60), seed=7)
    refined = jpo.solve(problem, data, jpo.BFGS(max_evaluations=60, stop_when_solved=True), x0=joint.x)
    assert refined.solved.mean() >= 0.8
    assert np.abs(joint.x).max() <= 1.0 and np.abs(joint.extras["x_initial"]).max() < 0.3


def test_attempts_are_rows_of_what_was_run():
    """The result file holds one row for each run,
    with rates between 0 and 1 and the commit at which it was measured."""
    path = reference_folder() / "attempts" / "kuramoto_sivashinsky.csv"
    rows = list(csv.DictReader(path.open(encoding="utf-8")))
    for row in rows:
        assert 0 <= float(row["solved"]) <= 1 and float(row["evaluations"]) >= 1
        if float(row["training_evaluations"]):
            assert (
                float(row["training_evaluations"])
                < float(row["evaluations_one_run"])
                <= float(row["evaluations"])
            )
        assert re.fullmatch("[0-9a-f]{10}", row["commit"])
    keys = [
        tuple(row[name] for name in ("attempt", "horizon", "group_size", "data_seed", "network_seed"))
        for row in rows
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(dt=0.5), "dt: expected at most 0.25 for order 4, got 0.5"),
        (dict(dt=0.25, order=2), "dt: expected at most 0.125 for order 2, got 0.25"),
        (dict(order=3), "order: expected one of 2, 4, got 3"),
        (dict(num_points=127), "a multiple of 2, got 127"),
        (dict(num_points=8), "num_points: expected a whole number of at least 16, got 8"),
        (dict(num_points=48), "num_points: expected at least 64 to resolve"),
        (dict(num_points=120), "a multiple of 16, got 120"),
        (dict(horizon=20.1), "horizon: expected a multiple of dt = 0.25, got 20.1"),
        (dict(horizon=-1.0), "horizon: expected a finite number above zero, got -1.0"),
        (dict(horizon=1e6), "horizon: expected at most 200, got 1e+06"),
        (dict(domain_extent=float("nan")), "domain_extent: expected a finite number above zero"),
        (dict(horizon=40.0, float64=False), "float64: expected True for horizon = 40, got False"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(change, words):
    with pytest.raises(ValueError) as caught:
        jpo.kuramoto_sivashinsky(**change)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "u0, change, words",
    [
        (np.zeros((2, 64)), {}, "u0: expected shape (num_points,), got (2, 64)"),
        (np.full(64, np.nan), {}, "u0: expected finite numbers, got 64 values"),
        (np.zeros(64), dict(forcing=np.zeros(32)), "forcing: expected shape (64,), got (32,)"),
    ],
)
def test_bad_states_are_refused_in_one_sentence(u0, change, words):
    with pytest.raises(ValueError) as caught:
        integrate(u0, 0.0, 1.0, horizon=1.0, **change)
    assert words in str(caught.value) and "\n" not in str(caught.value)
