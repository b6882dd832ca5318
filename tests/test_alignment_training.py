"""Alignment in training: against closed forms,
with a linear problem and the kernel from a Jacobian written by hand."""

import dataclasses

import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import jpo_lib as jpo
from jpo_book import studies
from jpo_book.analysis import alignment as evidence
from jpo_book.studies import run_alignment as measured
from jpo_lib.solvers import complete
from jpo_lib.theory.alignment import noise_alignment

COUNT, WIDTH = 6, 8


class Small(eqx.Module):
    """x = B tanh(A y): nonlinear in its weights, and small enough for a Jacobian in one piece."""

    first: jax.Array
    last: jax.Array

    def __init__(self, key):
        keys = jax.random.split(key)
        self.first = jax.random.normal(keys[0], (WIDTH, 2))
        self.last = jax.random.normal(keys[1], (2, WIDTH)) / np.sqrt(WIDTH)

    def __call__(self, y, context=None, identifier=None):
        return self.last @ jnp.tanh(self.first @ y)


PROBLEM = jpo.InverseProblem(
    name="linear",
    dimension=2,
    simulate=lambda x, context: x * jnp.array([1.0, 3.0]),
    loss=lambda output, y: 0.5 * jnp.sum((output - y) ** 2),
    sample_x=lambda key: jax.random.normal(key, (2,)),
    threshold=lambda output, y: 1e-6,
    recommended=jpo.Recommended(network=Small),
    execution=jpo.Execution(float64=True),
)


def cell(group_size, **options):
    return studies.Cell(
        study="none",
        problem="none",
        kind="alignment",
        num_problems=COUNT,
        data_seed=3,
        group_size=group_size,
        network_seeds=(0, 4),
        options={"optimizer": "sgd", "num_steps": 2, "num_recorded": 2, **options},
    )


@pytest.fixture(scope="module")
def by_hand():
    """x, gradients and the full kernel of seed 4's untrained network for one group of all problems:
    no code of the library."""
    with PROBLEM.precision():
        data = PROBLEM.sample_dataset(COUNT, 3)
        network = Small(jax.random.fold_in(jpo.problem.random_stream(4, "networks"), 0))
        weights, unravel = jax.flatten_util.ravel_pytree(network)

        def outputs(w):
            return jax.vmap(unravel(w))(data.y)

        jacobian = jax.jacobian(outputs)(weights).reshape(2 * COUNT, -1)
        x = outputs(weights)
        gradient = np.asarray((x * np.array([1.0, 3.0]) - data.y) * np.array([1.0, 3.0]))
        return data, np.asarray(x), gradient, np.asarray(jacobian @ jacobian.T)


def test_kernel_is_that_of_the_full_jacobian(by_hand):
    data, _, _, kernel = by_hand
    with PROBLEM.precision():
        for size in (COUNT, 2):
            solver = complete(
                PROBLEM, jpo.JointOptimization(group_size=size, num_steps=2, optimizer="sgd"), COUNT
            )
            networks = measured.initial_networks(PROBLEM, solver, data, 4)
            found = measured.tangent_kernel(networks, data).reshape(2 * COUNT, 2 * COUNT)
            np.testing.assert_allclose(found, found.T, atol=1e-12)
            assert np.linalg.eigvalsh(found).min() > -1e-10
            if size == COUNT:
                np.testing.assert_allclose(found, kernel, rtol=1e-10)
            else:  # the first group's network is the same, and networks of other groups do not touch it
                np.testing.assert_allclose(
                    found[: 2 * size, : 2 * size], kernel[: 2 * size, : 2 * size], rtol=1e-10
                )
                assert (
                    not found[: 2 * size, 2 * size :].any()
                    and found[2 * size : 4 * size, 2 * size : 4 * size].any()
                )


def test_a_short_step_moves_along_the_kernel(by_hand):
    """x' - x = -(eta / n) K g + O(eta^2): halving the rate quarters what is left."""
    data, x, gradient, kernel = by_hand
    left = []
    for rate in (2e-3, 1e-3):
        solver = jpo.JointOptimization(num_steps=1, learning_rate=rate, optimizer="sgd", num_recorded=1)
        extras = jpo.solve(PROBLEM, data, solver, seed=4).extras
        np.testing.assert_allclose(extras["x_recorded"][0], x, rtol=1e-10)
        expected = -rate / COUNT * (kernel @ gradient.ravel()).reshape(x.shape)
        step = extras["x_recorded_next"][0] - extras["x_recorded"][0]
        left.append(np.abs(step - expected).max())
        assert left[-1] < 0.05 * np.abs(step).max()
    assert 3.5 < left[0] / left[1] < 4.5


def test_measured_alignment_is_the_closed_form(by_hand):
    data, x, gradient, kernel = by_hand
    runs, _ = measured.run_alignment_cell(PROBLEM, cell(COUNT, learning_rate=1e-6))
    first = runs.sel(network_seed=4).isel(recorded=0)
    way = np.asarray(data.x_true) - x

    def cosines(step):
        return np.sum(step * way, axis=1) / np.linalg.norm(step, axis=1) / np.linalg.norm(way, axis=1)

    step = -(kernel @ gradient.ravel()).reshape(x.shape)
    np.testing.assert_allclose(first.alignment, cosines(step), atol=1e-5)
    np.testing.assert_allclose(first.alignment_kernel, cosines(step), atol=1e-9)
    np.testing.assert_allclose(first.alignment_own, cosines(-gradient), atol=1e-9)
    np.testing.assert_allclose(
        first.kernel.sel(stage="start"), np.einsum("iaja->ij", kernel.reshape(COUNT, 2, COUNT, 2)), rtol=1e-5
    )
    np.testing.assert_allclose(
        first.recorded_loss, 0.5 * np.sum((x * [1, 3] - np.asarray(data.y)) ** 2, axis=1), rtol=1e-9
    )
    clipped, _ = measured.run_alignment_cell(PROBLEM, cell(COUNT, learning_rate=1e-6, clip_problem=0.1))
    short = gradient * np.minimum(1.0, 0.1 / np.linalg.norm(gradient, axis=1, keepdims=True))
    np.testing.assert_allclose(
        clipped.alignment_kernel.sel(network_seed=4),
        cosines(-(kernel @ short.ravel()).reshape(x.shape)),
        atol=1e-9,
    )


def test_one_number_per_problem_is_gradient_descent():
    """A network that is nothing but x itself:
    every step is the own gradient, and nobody pulls on anybody else."""

    class Itself(eqx.Module):
        x: jax.Array

        def __call__(self, y, context, identifier):
            return self.x

    problem = dataclasses.replace(
        PROBLEM, recommended=jpo.Recommended(network=lambda key: Itself(jax.random.normal(key, (2,))))
    )
    runs, _ = measured.run_alignment_cell(problem, cell(1, learning_rate=1e-3))
    np.testing.assert_allclose(runs.agreement, 1.0, atol=1e-9)
    np.testing.assert_allclose(runs.alignment, runs.alignment_own, atol=1e-8)
    np.testing.assert_allclose(runs.kernel, np.broadcast_to(2 * np.eye(COUNT), runs.kernel.shape), atol=1e-6)


def test_cosine_knows_directions_only():
    u, w = np.random.default_rng(0).standard_normal((2, 50, 3))
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))[0]
    plain = measured.cosine(u, w)
    assert np.abs(plain).max() <= 1 and plain.std() > 0.3
    np.testing.assert_allclose(measured.cosine(1e-100 * u, 1e90 * w), plain, atol=1e-12)
    np.testing.assert_allclose(measured.cosine(u @ turn, w @ turn), plain, atol=1e-12)
    np.testing.assert_allclose(measured.cosine(-u, w), -plain)
    np.testing.assert_allclose(measured.cosine(w, 2 * w), 1.0)
    assert measured.cosine(np.zeros(3), w[0]) == 0 and measured.cosine(u[0], np.zeros(3)) == 0
    assert measured.cosine(u[0], u[0], shortest=10.0) == 0
    # Of a change in the last place nothing is left but rounding.
    x = np.array([30.0, 0.0, 0.0], np.float32)
    assert measured.cosine(np.spacing(x), w[0], float(measured.resolution(x))) == 0


def test_the_way_goes_around_a_periodic_box():
    problem = jpo.navier_stokes(num_points=24, horizon=0.8)
    way = problem.difference(np.array([-0.9, 0.4, -0.9, 0.4]), np.array([0.9, 0.0, 0.9, 0.0]))
    np.testing.assert_allclose(way, [0.2, 0.4, -1.8, 0.4])
    x, x_true = np.random.default_rng(0).uniform(-1, 1, (2, 100, 4))
    around = problem.difference(x_true, x + np.array([2.0, -4.0, 0.0, 0.0]))
    np.testing.assert_allclose(around, problem.difference(x_true, x), atol=1e-12)
    assert np.abs(around[:, :2]).max() <= 1 < np.abs(around[:, 2:]).max()
    # The simulator agrees that both points are the same.
    np.testing.assert_allclose(
        problem.simulate(jnp.float32([0.3, 2.1, 0.2, 0.1]), None),
        problem.simulate(jnp.float32([0.3, 0.1, 0.2, 0.1]), None),
        atol=1e-4,
    )


def test_all_profiles_plan_the_four_experiments():
    for profile in studies.profiles():
        for name in ("wave_packet", "billiards", "kuramoto_sivashinsky", "navier_stokes"):
            cells = studies.plan(f"alignment_{name}", profile)
            assert {c.problem for c in cells} == {name} and {c.kind for c in cells} == {"alignment"}
            assert {1, cells[0].num_problems} <= {c.group_size for c in cells}


# What is read from the results


def test_rank_correlation():
    values = np.random.default_rng(0).standard_normal(40)
    assert evidence.rank_correlation(values, np.exp(values)) == pytest.approx(1)
    assert evidence.rank_correlation(values, -(values**3)) == pytest.approx(-1)
    assert np.isnan(evidence.rank_correlation(values, np.ones(40)))
    # Rising between two groups, falling within each.
    first, second, groups = [0, 1, 2, 10, 11, 12], [2, 1, 0, 12, 11, 10], [0, 0, 0, 1, 1, 1]
    assert evidence.rank_correlation(first, second) > 0.5 and evidence.rank_correlation(
        first, second, groups
    ) == pytest.approx(-1)
    with pytest.raises(ValueError, match="expected equally many points"):
        evidence.rank_correlation([1.0, 2.0], [1.0])


def made_up(effect, seed=0, num_problems=40):
    """Runs in which early alignment decides the outcome with a given weight, against noise;
    late alignment means nothing."""
    rng = np.random.default_rng(seed)
    shape = (2, 3, 4, num_problems)  # data seeds, n, network seeds, problems
    alignment = rng.uniform(-1, 1, shape) + np.linspace(-0.5, 0.5, 3)[:, None, None]
    late = rng.uniform(-1, 1, (*shape[:3], 2, num_problems))
    recorded = np.concatenate([alignment[..., None, :], late], axis=-2)
    solved = effect * alignment + (1 - abs(effect)) * rng.uniform(-1, 1, shape) > 0
    dims = ("data_seed", "group_size", "network_seed")
    return xr.Dataset(
        {
            "alignment": ((*dims, "recorded", "problem"), recorded),
            "step": ("recorded", [0, 50, 99]),
            "solved": (("solver", *dims, "problem"), solved[None]),
        },
        coords={"solver": ["JointRefined"]},
    )


@pytest.mark.parametrize("sign", [1, -1])
def test_evidence_finds_the_sign_of_an_effect(sign):
    first, second = made_up(0.6 * sign), made_up(0.6 * sign, seed=1)
    rate = evidence.predicts_solved_rate({"a": first, "b": second}, within=True, num_resamples=100)
    problems = evidence.predicts_solved_problems(first, num_resamples=100)
    assert rate.sign == sign and rate.count == 2 * 24 and rate.low <= rate.value <= rate.high
    assert problems.sign == sign and problems.low <= problems.value <= problems.high


def test_evidence_seldom_finds_an_effect_that_is_not_there():
    """Intervals of 95 % may miss zero once in twenty times;
    more than three times in fifteen would have a chance of 1 %."""
    found = [0, 0]
    for seed in range(15):
        runs = made_up(0.0, seed)
        found[0] += evidence.predicts_solved_rate({"a": runs}, within=False, num_resamples=40).sign != 0
        found[1] += evidence.predicts_solved_problems(runs, num_resamples=40).sign != 0
    assert max(found) <= 3, found


def test_pairs_of_problems_are_counted_one_by_one():
    runs = made_up(0.5).isel(group_size=[0], network_seed=[0, 1])
    runs["alignment"] = runs.alignment.round(1)  # with ties
    values, solved = evidence.early(runs), runs.solved[0].values
    pairs = [
        np.sign(v[i] - v[j])
        for v, s in zip(values.values.reshape(-1, 40), solved.reshape(-1, 40))
        for i in np.flatnonzero(s)
        for j in np.flatnonzero(~s)
    ]
    found = evidence.predicts_solved_problems(runs)
    assert found.count == len(pairs) and found.value == pytest.approx(np.mean(pairs))
    everything = made_up(0.5)
    everything["solved"] = everything.solved | True
    assert str(evidence.predicts_solved_problems(everything)) == "not known"


def test_worth_in_examples_inverts_theorem_1():
    for dimension in (1, 2, 4):
        own = float(noise_alignment(0.7, dimension))
        assert evidence.worth_in_examples(
            float(noise_alignment(0.7 * np.sqrt(5), dimension)), own, dimension
        ) == pytest.approx(5, rel=1e-6)
        assert evidence.worth_in_examples(0.5 * own, own, dimension) < 1
    assert evidence.worth_in_examples(-0.1, 0.5, 2) == 0 and np.isnan(
        evidence.worth_in_examples(0.5, -0.1, 2)
    )


def test_coupling_measures():
    jacobians = np.random.default_rng(0).standard_normal((3, 5, 20))
    kernel = jacobians @ jacobians.transpose(0, 2, 1)
    matrix = evidence.coupling(kernel)
    np.testing.assert_allclose(np.einsum("...ii->...i", matrix), 1)
    scale = np.array([1.0, 10.0, 0.1, 3.0, 7.0])
    np.testing.assert_allclose(evidence.coupling(kernel * scale[:, None] * scale), matrix)
    assert np.abs(matrix).max() <= 1 + 1e-12
    assert evidence.effective_rank(np.eye(5)) == pytest.approx(5) and evidence.effective_rank(
        np.ones((5, 5))
    ) == pytest.approx(1)
    assert (
        evidence.mean_coupling(np.ones((5, 5))) == pytest.approx(1) and evidence.mean_coupling(np.eye(5)) == 0
    )
    stuck = evidence.coupling(np.diag([1.0, 0.0]))
    np.testing.assert_array_equal(stuck, np.eye(2))
