"""The four theorems behind Figure 2:
closed forms against limits, brute force, automatic differentiation, simulation."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special

from jpo_lib.theory import alignment as theory
from jpo_lib.theory import measured

KEY = jax.random.key(2024)
SNR = st.floats(1e-4, 1e4)


def kummer(lam, d):
    """Theorem 1 as it is stated, from an independent evaluation of 1F1."""
    constant = np.exp(special.gammaln((d + 1) / 2) - special.gammaln(d / 2 + 1)) / np.sqrt(2)
    return constant * lam * special.hyp1f1(0.5, d / 2 + 1, -(lam**2) / 2)


# ---------------------------------------------------------------- Theorem 1
@settings(deadline=None, max_examples=80)
@given(lam=SNR, d=st.integers(1, 10_000))
def test_noise_alignment_is_the_kummer_function(lam, d):
    assert theory.noise_alignment(lam, d) == pytest.approx(kummer(lam, d), rel=1e-10)


def test_noise_alignment_in_one_dimension_is_the_error_function():
    lam = np.geomspace(1e-4, 1e4, 50)
    np.testing.assert_allclose(theory.noise_alignment(lam, 1), special.erf(lam / np.sqrt(2)), rtol=1e-12)


@pytest.mark.parametrize("d", [2, 3, 8, 64, 10_000])
def test_noise_alignment_has_the_stated_expansions(d):
    # The first neglected term sets the rate: lam^7 for small lam, lam^-6 for large lam.
    lam = np.sqrt(d) * np.array([0.04, 0.02])
    error = np.abs(theory.noise_alignment(lam, d) / theory.noise_alignment_expansion(lam, d, "small") - 1)
    assert error[0] < 1e-8
    lam = np.sqrt(d) * np.array([20.0, 40.0])
    error = np.abs(theory.noise_alignment(lam, d) - theory.noise_alignment_expansion(lam, d, "large"))
    assert error[0] < 1e-8 and (error[1] < error[0] / 30 or error[0] < 1e-13)


@settings(deadline=None, max_examples=60)
@given(lam=st.floats(1e-3, 1e3), factor=st.floats(1.01, 10), d=st.integers(1, 2000))
def test_noise_alignment_grows_with_signal_and_falls_with_dimension(lam, factor, d):
    value = theory.noise_alignment(lam, d)
    assert 0 < value <= 1 + 1e-14
    assert theory.noise_alignment(lam * factor, d) >= value - 1e-14
    assert theory.noise_alignment(lam, d + 1) <= value + 1e-14


def test_noise_alignment_limits():
    assert theory.noise_alignment(0.0, 5) == 0
    d = 10_000
    assert theory.noise_alignment(np.sqrt(d), d) == pytest.approx(np.sqrt(0.5), abs=1e-4)


def test_noise_alignment_agrees_with_simulation():
    sizes, dimensions = np.array([1, 4, 16, 64, 256]), (1, 2, 8, 64)
    samples = measured.sample_noise_alignment(KEY, 1000, sizes, dimensions, 1 / 8)
    for i, d in enumerate(dimensions):
        result = measured.agreement(
            samples[:, i], theory.noise_alignment(np.sqrt(sizes) / 8, d), sign_valued=d == 1
        )
        assert np.max(np.abs(result.z)) <= 4, (d, result)


# ---------------------------------------------------------------- Theorem 2
@pytest.mark.parametrize("half_width", [0.5, np.pi / 4, 0.9, 1.0, 1.3, np.pi / 2])
def test_landscape_limit_is_the_share_of_right_signs(half_width):
    x, x_true = np.random.default_rng(1).uniform(-half_width, half_width, (2, 200_000))
    signs = np.sign(np.cos(2 * x) * (np.sin(2 * x_true) - np.sin(2 * x)) * (x_true - x))
    assert abs(signs.mean() - theory.landscape_limit(half_width)) <= 4 * max(signs.std(), 1e-9) / np.sqrt(
        signs.size
    )
    large_n = theory.landscape_alignment(10**12 + 1, 1.0, half_width=half_width)[0]
    assert large_n == pytest.approx(theory.landscape_limit(half_width), abs=1e-4)


def test_landscape_alignment_agrees_with_adaptive_quadrature():
    def inner(x_true, x, n=9, sigma=0.7):
        signal = np.sin(2 * x_true) - np.sin(2 * x)
        return np.sign(np.cos(2 * x) * (x_true - x)) * special.erf(np.sqrt(n / 2) * signal / sigma) / 4

    total = 0.0
    for a, b in itertools.pairwise([-1, -np.pi / 4, np.pi / 4, 1]):
        for low, high in ((-1, lambda x: x), (lambda x: x, 1)):
            total += integrate.dblquad(inner, a, b, low, high, epsabs=1e-9)[0]
    assert theory.landscape_alignment(9, 0.7)[0] == pytest.approx(total, abs=1e-8)


@settings(deadline=None, max_examples=15)
@given(sigma=st.floats(0.05, 20), half_width=st.floats(0.1, np.pi / 2), law=st.sampled_from(theory.LAWS))
def test_landscape_curves_are_ordered(sigma, half_width, law):
    n = np.array([1, 3, 27])
    summed = theory.landscape_alignment(n, sigma, "sum", law, half_width=half_width)
    noise_only = theory.landscape_alignment(n, sigma, "sum", law, noise_only=True, half_width=half_width)
    votes = theory.landscape_alignment(n, sigma, "vote", law, noise_only=True, half_width=half_width)
    assert np.all(np.abs(summed) <= noise_only + 1e-9) and np.all(noise_only <= 1 + 1e-9)
    assert np.all(np.diff(votes) >= -1e-9)
    if law == "normal":  # Theorem 3, part 2
        assert votes[0] == pytest.approx(noise_only[0]) and np.all(votes <= noise_only + 1e-9)
    else:  # Theorem 3, part 4: the sum does not improve, the vote does
        assert np.ptp(noise_only) < 1e-12 and votes[2] > noise_only[2]


@pytest.mark.parametrize("law", theory.LAWS)
def test_landscape_alignment_agrees_with_simulation(law):
    sizes = np.array([1, 3, 9, 27, 81, 243])
    samples = measured.sample_landscape_alignment(KEY, 1000, sizes, 1.0, law)
    for estimator in theory.ESTIMATORS:
        curve = theory.landscape_alignment(sizes, 1.0, estimator, law)
        result = measured.agreement(samples[estimator], curve, sign_valued=True)
        assert np.max(np.abs(result.z)) <= 4, (estimator, result)


# ---------------------------------------------------------------- Theorem 3
def enumerate_votes(p, n):
    """Chance that the majority is right, ties counted half, over all 2^n outcomes."""
    total = 0.0
    for votes in itertools.product((0, 1), repeat=n):
        right = sum(votes)
        total += (
            p**right * (1 - p) ** (n - right) * (1.0 if 2 * right > n else 0.5 if 2 * right == n else 0.0)
        )
    return total


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.77, 1.0])
def test_majority_is_the_binomial_tail(p):
    for n in (1, 3, 5, 9):
        assert theory.majority_correct(p, n) == pytest.approx(enumerate_votes(p, n), abs=1e-14)
    # An even number of votes with ties counted half is worth one vote less.
    assert enumerate_votes(p, 8) == pytest.approx(theory.majority_correct(p, 7), abs=1e-14)


@settings(deadline=None, max_examples=60)
@given(q=st.floats(0, 1), k=st.integers(1, 20))
def test_majority_gains_from_two_more_votes_as_stated(q, k):
    n = 2 * k - 1
    gain = special.comb(n, k) * (q * (1 - q)) ** k * (2 * q - 1)
    assert theory.majority_correct(q, n + 2) - theory.majority_correct(q, n) == pytest.approx(gain, abs=1e-12)
    assert theory.majority_correct(q, n) + theory.majority_correct(1 - q, n) == pytest.approx(1, abs=1e-12)


def test_vote_efficiency_is_what_large_samples_need():
    ratio = 0.02  # |F(x) - F(x*)| / sigma
    n = np.arange(1, 60_001, 2)
    votes = 2 * theory.majority_correct((1 + special.erf(ratio / np.sqrt(2))) / 2, n) - 1
    needed_by_vote = n[np.argmax(votes >= 0.9)]
    needed_by_sum = 2 * (special.erfinv(0.9) / ratio) ** 2
    efficiency = theory.vote_efficiency(1 / np.sqrt(2 * np.pi), 1.0)
    assert efficiency == pytest.approx(2 / np.pi)
    assert needed_by_vote / needed_by_sum == pytest.approx(1 / efficiency, rel=1e-3)
    assert theory.vote_efficiency(0.5, 2.0) == pytest.approx(2)  # Laplace noise: the vote is twice as good
    assert theory.vote_efficiency(1 / np.pi, np.inf) == np.inf  # Cauchy noise


# ---------------------------------------------------------------- Theorem 4
def test_network_kernels_agree_with_automatic_differentiation():
    width, gammas = 200_000, jnp.array([-0.9, -0.3, 0.2, 0.25, 1.0], jnp.float32)
    w = jax.random.normal(KEY, (width, 3), jnp.float32)
    inputs = jnp.stack([gammas, jnp.ones_like(gammas)])
    jacobian = jax.jacrev(lambda w: w[:, 2] @ jax.nn.relu(w[:, :2] @ inputs) / np.sqrt(width))(w).reshape(
        5, -1
    )
    tangent, covariance = theory.relu_kernels(gammas)
    np.testing.assert_allclose(jacobian @ jacobian.T, tangent, atol=0.03)
    hidden = np.maximum(np.asarray(w[:, :2] @ inputs), 0)
    np.testing.assert_allclose(hidden.T @ hidden / width, covariance, atol=0.03)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.floats(-1, 1).map(lambda g: round(g, 2)), min_size=1, max_size=12, unique=True).filter(any)
)
def test_network_alignment_is_positive_and_bounded(gammas):
    tangent, covariance = theory.relu_kernels(gammas)
    values = np.linalg.eigvalsh(tangent)
    assert values[0] > 0 and np.linalg.eigvalsh(covariance)[0] > -1e-12
    kappa = values[-1] / values[0]
    alignment = theory.network_alignment(gammas)
    assert 2 * np.sqrt(kappa) / (1 + kappa) - 1e-12 <= alignment <= 1 + 1e-12  # Kantorovich
    shuffled = np.random.default_rng(0).permutation(gammas)
    assert theory.network_alignment(shuffled) == pytest.approx(alignment, rel=1e-12)
    assert theory.network_width_term(shuffled) == pytest.approx(
        theory.network_width_term(gammas), rel=1e-8, abs=1e-10
    )


def test_network_with_one_example_is_aligned_at_every_width():
    gammas = np.array([[0.3], [-0.8]])
    np.testing.assert_allclose(theory.network_alignment(gammas), 1)
    np.testing.assert_allclose(theory.network_width_term(gammas), 0, atol=1e-12)
    np.testing.assert_allclose(measured.sample_network_alignment(KEY, gammas, 16), 1, rtol=1e-5)


def test_network_width_term_agrees_with_sampled_neurons():
    gammas = np.array([-0.8, -0.1, 0.35, 0.6, 0.95])
    rng, r = np.random.default_rng(3), 10 * gammas
    inputs = np.stack([gammas, np.ones(5)])
    hidden, a = rng.standard_normal((1_000_000, 2)) @ inputs, rng.standard_normal((1_000_000, 1))
    active = hidden > 0
    parts = hidden * active * ((hidden * active) @ r)[:, None]
    parts += a**2 * active * (((active * r) @ inputs.T) @ inputs)
    mean = theory.relu_kernels(gammas)[0] @ r
    np.testing.assert_allclose(parts.mean(0), mean, rtol=0.02)
    covariance = np.cov(parts.T)
    length = np.linalg.norm(mean)
    u, e = mean / length, r / np.linalg.norm(r)
    c = u @ e
    expected = (
        -(c / 2 * (np.trace(covariance) - u @ covariance @ u) + u @ covariance @ (e - c * u)) / length**2
    )
    assert theory.network_width_term(gammas, 4000) == pytest.approx(expected, rel=0.03)


@pytest.fixture(scope="module")
def network_study():
    gammas = np.random.default_rng(5).uniform(-1, 1, (1000, 64)).astype(np.float32)
    samples = {m: measured.sample_network_alignment(KEY, gammas, m, (2, 8, 64)) for m in (128, 512, 4096)}
    return gammas, samples


def test_network_alignment_agrees_with_gradient_steps(network_study):
    gammas, samples = network_study
    for i, n in enumerate((2, 8, 64)):
        limit, term = theory.network_alignment(gammas[:, :n]), theory.network_width_term(gammas[:, :n])
        for m in (128, 512, 4096):
            assert abs(measured.agreement(samples[m][:, i], limit + term / m).z) <= 4, (n, m)


def test_network_gap_falls_as_one_over_width(network_study):
    gammas, samples = network_study
    limit, term = theory.network_alignment(gammas), theory.network_width_term(gammas)
    gap = {m: measured.agreement(samples[m][:, 2], limit) for m in samples}
    assert gap[128].z < -4  # without the correction theory fails at this width
    scaled = [m * (gap[m].mean - gap[m].theory) for m in (128, 512)]
    error = [m * np.std(samples[m][:, 2] - limit) / np.sqrt(len(limit)) for m in (128, 512)]
    assert np.all(np.abs(np.array(scaled) - term.mean()) <= 4 * np.array(error))
    assert abs(gap[4096].mean - gap[4096].theory) < abs(gap[128].mean - gap[128].theory) / 4


def test_network_step_is_the_limit_of_real_steps():
    gammas, width, eta = np.array([[-0.7, 0.1, 0.4, 0.9]]), 64, 1e-3
    weights = measured._network_weights(jax.random.fold_in(KEY, 0), 1, width)[0]

    def outputs(w):
        return (
            w[:, 2]
            @ jax.nn.relu(w[:, :2] @ jnp.stack([jnp.float32(gammas[0]), jnp.ones(4)]))
            / np.sqrt(width)
        )

    r = jnp.float32(10 * gammas[0])
    change = outputs(weights + eta * jax.vjp(outputs, weights)[1](r)[0]) - outputs(weights)
    cosine = change @ r / (jnp.linalg.norm(change) * jnp.linalg.norm(r))
    assert measured.sample_network_alignment(KEY, gammas, width)[0, 0] == pytest.approx(
        float(cosine), abs=5e-3
    )


def test_network_that_keeps_its_random_output_follows_the_gaussian_process(network_study):
    gammas, samples = network_study
    start = theory.sample_network_start(np.random.default_rng(8), gammas)
    process = theory.network_alignment(gammas, start)
    kept = measured.sample_network_alignment(KEY, gammas, 4096, start="random")[:, 0]
    assert abs(measured.agreement(kept, process).z) <= 4
    assert kept.mean() < samples[4096][:, 2].mean() - 0.005  # and a wide network does not remove it


# ---------------------------------------------------------------- comparison and bad input
def test_agreement_of_unanimous_signs_stays_finite():
    result = measured.agreement(np.ones(1000), 0.999, sign_valued=True)
    assert 0 < result.z < 1 and result.standard_error == 0
    assert abs(measured.agreement(np.random.default_rng(0).normal(size=10_000) + 1, 0.0).z) > 90


def test_samples_repeat_bit_for_bit():
    first, second = (measured.sample_noise_alignment(KEY, 5, (1, 4), (1, 2), 0.5) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    "call, word",
    [
        (lambda: theory.noise_alignment(-1.0, 2), "signal_to_noise"),
        (lambda: theory.noise_alignment(np.nan, 2), "signal_to_noise"),
        (lambda: theory.noise_alignment(1.0, 0), "dimension"),
        (lambda: theory.noise_alignment(1.0, 2.5), "dimension"),
        (lambda: theory.noise_alignment_expansion(0.0, 2, "large"), "signal_to_noise"),
        (lambda: theory.noise_alignment_expansion(1.0, 2, "medium"), "regime"),
        (lambda: theory.landscape_alignment(0, 1.0), "num_examples"),
        (lambda: theory.landscape_alignment(4, 1.0, "vote"), "odd"),
        (lambda: theory.landscape_alignment(3, -1.0), "noise_scale"),
        (lambda: theory.landscape_alignment(3, 1.0, "median"), "estimator"),
        (lambda: theory.landscape_alignment(3, 1.0, law="laplace"), "law"),
        (lambda: theory.landscape_alignment(3, 1.0, half_width=2.0), "half_width"),
        (lambda: theory.landscape_limit(0.0), "half_width"),
        (lambda: theory.majority_correct(1.1, 3), "prob"),
        (lambda: theory.majority_correct(np.nan, 3), "prob"),
        (lambda: theory.majority_correct(0.5, 2), "odd"),
        (lambda: theory.vote_efficiency(-1.0, 1.0), "density_at_zero"),
        (lambda: theory.relu_kernels([]), "gammas"),
        (lambda: theory.network_alignment([0.1, np.nan]), "gammas"),
        (lambda: theory.network_alignment([0.0, 0.0]), "gammas"),
        (lambda: theory.network_width_term([0.5], 0), "num_angles"),
        (lambda: measured.sample_noise_alignment(KEY, 0, 1, 1, 1.0), "num_seeds"),
        (lambda: measured.sample_landscape_alignment(KEY, 5, 3, np.inf), "noise_scale"),
        (lambda: measured.sample_network_alignment(KEY, np.ones(4), 8), "gammas"),
        (lambda: measured.sample_network_alignment(KEY, np.ones((2, 4)), -8), "width"),
        (lambda: measured.sample_network_alignment(KEY, np.ones((2, 4)), 8, 5), "num_examples"),
        (lambda: measured.sample_network_alignment(KEY, np.ones((2, 4)), 8, start="one"), "start"),
        (lambda: measured.agreement([1.0], 0.0), "samples"),
        (lambda: measured.agreement([1.0, np.nan], 0.0), "samples"),
    ],
)
def test_bad_input_is_refused_with_a_sentence(call, word):
    with pytest.raises(ValueError, match=word) as error:
        call()
    assert "expected" in str(error.value) and "got" in str(error.value) and ";" in str(error.value)
