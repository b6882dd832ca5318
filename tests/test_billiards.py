"""The billiards simulator: against closed forms, small steps, and what physics conserves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jpo_lib as jpo
from jpo_book.verification import billiards as verification
from jpo_book.verification.measures import order
from jpo_lib.problems.billiards import play, triangle


def shoot(positions, velocities, **options):
    with jax.enable_x64(True):
        return jax.tree.map(
            np.asarray, jpo.simulate_shot(np.array(positions, float), np.array(velocities, float), **options)
        )


def energies(run):
    return 0.5 * np.sum(run.velocities_before**2, (1, 2)), 0.5 * np.sum(run.piece_velocities[1:] ** 2, (1, 2))


# --- against closed forms and another method ----------------------------------------------------------------


def test_the_open_table_has_its_closed_form():
    assert verification.closed_form_errors(2000).max() < 1e-12


def test_single_precision_stays_within_its_bound():
    error = verification.closed_form_errors(20_000, double=False)
    assert error.max() < 1e-4 and np.median(error) < 1e-6


def test_small_steps_approach_the_event_driven_run_with_order_one():
    steps = (2.0**-6, 2.0**-7, 2.0**-8, 2.0**-9)
    errors = verification.small_step_errors(steps, num_tables=60)
    assert np.all(errors[1:] < 0.65 * errors[:-1]) and errors[-1] < 0.01
    assert 0.85 < order(steps, errors) < 1.2


def test_gradient_agrees_with_central_differences():
    for layout, least in (("open", 450), ("blocked", 400)):
        errors = verification.gradient_errors(500, layout=layout)
        assert len(errors) >= least and errors.max() < 1e-6
        assert 0 < np.mean(errors == 0) < 0.95  # shots that miss, and shots that do not


def test_two_moving_balls_meet_when_a_quartic_says_so():
    """A chase, a meeting at right angles, and balls that stop before they would meet;
    contact times by dense sampling."""
    with jax.enable_x64(True):
        for seed in range(20):
            p, v = verification.random_tables(1, 2, seed, side=5.0, speed=3.0)
            run = shoot(p[0], v[0], max_events=4)
            times = np.linspace(0, np.linalg.norm(v[0], axis=1).max(), 200_001)
            speed = np.linalg.norm(v[0], axis=1)
            spent = np.minimum(times[:, None], speed)
            path = p[0] + v[0] / speed[:, None] * (speed * spent - 0.5 * spent**2)[..., None]
            touching = np.linalg.norm(path[:, 0] - path[:, 1], axis=1) <= 1.0
            assert touching.any() == (run.num_events > 0)
            if touching.any():
                assert abs(times[np.argmax(touching)] - run.times[1]) <= times[1]


def test_a_ball_that_has_stopped_does_not_come_back():
    """The parabola of the left ball would turn round and hit the other one;
    the ball itself stops and waits."""
    run = shoot([[0.0, 0.0], [-3.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]])
    assert run.num_events == 0
    np.testing.assert_allclose(run.positions, [[0.5, 0.0], [-3.0, 0.0]], atol=1e-15)
    # The left ball stops at 0.5; later the right one arrives, after a way of 6.5:
    # of its speed squared, 4^2 - 2 * 6.5 = 3 is left.
    run = shoot([[0.0, 0.0], [8.0, 0.0]], [[1.0, 0.0], [-4.0, 0.0]], restitution=1.0)
    assert run.num_events == 1 and abs(run.times[1] - (4 - np.sqrt(3))) < 1e-14
    np.testing.assert_allclose(run.positions, [[0.5 - 1.5, 0.0], [1.5, 0.0]], atol=1e-13)


def test_a_cushion_returns_what_its_restitution_says():
    run = shoot([[0.0, 0.0]], [[4.0, 0.0]], table=(6.0, 4.0), cushion_restitution=0.5)
    # 2.5 to the cushion, where the speed is sqrt(16 - 5); then half of it, for a quarter of 11 / 2.
    np.testing.assert_allclose(run.positions, [[2.5 - 11 / 8, 0.0]], atol=1e-14)
    corner = shoot([[0.0, 0.0]], [[2.0, 2.0]], table=(4.0, 4.0), cushion_restitution=1.0)
    assert (
        corner.num_events == 1
    )  # both cushions at one instant; the whole way is |v|^2 / 2 = 4, of which 1.5 sqrt(2) lead there
    np.testing.assert_allclose(corner.positions, [[1.5 - (4 / np.sqrt(2) - 1.5)] * 2], atol=1e-13)


# --- what is conserved --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def six_balls():
    """Runs of six balls, compiled once for each restitution."""
    with jax.enable_x64(True):
        yield {
            e: jax.jit(lambda p, v, e=e: jpo.simulate_shot(p, v, restitution=e, table=None))
            for e in (1.0, 0.6)
        }


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), restitution=st.sampled_from([1.0, 0.6]), speed=st.floats(0.1, 30.0))
def test_energy_never_grows_and_momentum_is_kept(six_balls, seed, restitution, speed):
    p, v = verification.random_tables(1, 6, seed, side=6.0, speed=speed)
    with jax.enable_x64(True):
        run = jax.tree.map(np.asarray, six_balls[restitution](p[0], v[0]))
    before, after = energies(run)
    scale = before.max()
    assert run.finished and np.isfinite(run.positions).all()
    assert np.all(after <= before * (1 + 1e-14)) and np.all(
        np.diff(0.5 * np.sum(run.piece_velocities**2, (1, 2))) <= 1e-14 * scale
    )
    happened = run.happened
    change = np.abs(run.velocities_before.sum(1) - run.piece_velocities[1:].sum(1))[happened]
    assert np.all(change <= 1e-13 * np.sqrt(scale))
    if restitution == 1.0:
        assert np.allclose(before[happened], after[happened], rtol=1e-12)
    distance = np.linalg.norm(run.positions[:, None] - run.positions[None], axis=-1)[np.triu_indices(6, 1)]
    assert distance.min() > 1 - 1e-4


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), order=st.permutations(range(6)))
def test_mirror_and_names_do_not_matter(six_balls, seed, order):
    p, v = (a[0] for a in verification.random_tables(1, 6, seed, side=6.0))
    with jax.enable_x64(True):
        rest = np.asarray(six_balls[0.6](p, v).positions)
        mirrored = np.asarray(six_balls[0.6](p * [1, -1], v * [1, -1]).positions)
        renamed = np.asarray(six_balls[0.6](p[np.array(order)], v[np.array(order)]).positions)
    np.testing.assert_allclose(mirrored * [1, -1], rest, atol=1e-9)
    np.testing.assert_allclose(renamed, rest[np.array(order)], atol=1e-9)


# --- contacts that are delicate -----------------------------------------------------------------------------


def test_a_row_of_touching_balls_passes_the_shot_on():
    run = shoot(
        [[-3.0, 0.0], [0.0, 0.0], [1.0, 0.0], [2.0, 0.0]], [[4.0, 0.0], *[[0.0, 0.0]] * 3], restitution=1.0
    )
    np.testing.assert_allclose(
        run.positions, [[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [2.0 + (16 - 4) / 2, 0.0]], atol=1e-12
    )
    assert run.finished and run.num_events == 3


def test_a_ball_that_hits_two_at_once_favours_neither():
    """Elastic, at 30 degrees to each: momentum and energy give -1/5 and 2 sqrt(3) / 5 of the speed."""
    height = np.sqrt(3) / 2
    run = shoot([[-2.0, 0.0], [0.0, 0.5], [0.0, -0.5]], [[3.0, 0.0], [0, 0], [0, 0]], restitution=1.0)
    speed = np.sqrt(9 - 2 * (2 - height))
    np.testing.assert_allclose(
        run.piece_velocities[1] / speed,
        [[-0.2, 0], [0.6, 0.2 * np.sqrt(3)], [0.6, -0.2 * np.sqrt(3)]],
        atol=1e-12,
    )
    before, after = energies(run)
    assert run.num_events == 1 and abs(before[0] - after[0]) < 1e-13


@pytest.mark.parametrize("restitution", [1.0, 0.95, 0.0])
def test_a_touching_rack_breaks_without_gaining_energy(restitution):
    balls = [(-4.0, 0.0), *triangle(5, 0.5)]
    for angle in (0.0, 0.07):
        run = shoot(
            balls, [[8 * np.cos(angle), 8 * np.sin(angle)], *[[0.0, 0.0]] * 15], restitution=restitution
        )
        before, after = energies(run)
        assert run.finished and np.isfinite(run.positions).all() and 3 <= run.num_events < 200
        assert np.all(after <= before * (1 + 1e-14)) and run.rest_speed < 0.1
        if restitution > 0:
            assert (
                np.linalg.norm(run.positions - np.array(balls), axis=1)[[11, 15]].min() > 0.5
            )  # the rear corners fly off
        if angle == 0.0:
            mirror = [0, 1, 3, 2, 6, 5, 4, 10, 9, 8, 7, 15, 14, 13, 12, 11]
            np.testing.assert_allclose(
                run.piece_velocities[1][mirror] * [1, -1], run.piece_velocities[1], atol=1e-9
            )


def test_grazing_shots_have_values_and_gradients():
    """From a full hit to a miss by one part in 10^12;
    the rest position is continuous where the gradient jumps."""
    problem = jpo.billiards()
    miss = np.concatenate([1 - 10.0 ** -np.arange(1, 13), [1.0], 1 + 10.0 ** -np.arange(1, 13)])
    angle = np.arcsin(np.minimum(miss, 3.9) / 4)
    for double in (True, False):
        with jax.enable_x64(double):
            x = jnp.asarray(
                5.0 * np.stack([np.cos(angle), np.sin(angle)], 1), jnp.float64 if double else jnp.float32
            )
            rest, pull_back = jax.vjp(jax.jit(jax.vmap(problem.simulate)), x)
            assert np.isfinite(rest).all() and all(
                np.isfinite(pull_back(jnp.ones_like(rest) * jnp.eye(2)[k])).all() for k in (0, 1)
            )
            np.testing.assert_allclose(
                rest, verification.open_table_closed_form(np.asarray(x)), atol=1e-9 if double else 1e-4
            )


def test_no_run_of_the_open_table_is_unfinished():
    assert verification.count_unfinished(100_000, seed=1) == 0


def test_a_run_that_is_cut_says_so():
    balls = [(-4.0, 0.0), *triangle(5, 0.5, 0.01)]
    shot = [[8.0, 0.3], *[[0.0, 0.0]] * 15]
    run, whole = shoot(balls, shot, max_events=3), shoot(balls, shot)
    assert not run.finished and run.num_events == 4 and whole.finished and whole.num_events > 4
    problem = jpo.billiards(positions=((-4.0, 0.0), (0.0, 0.0), (1.2, 0.0)), max_events=1)
    assert np.isnan(
        problem.simulate(jnp.array([5.0, 0.0]))
    ).all()  # ball 1 would hit ball 2 as a second event
    assert np.array_equal(problem.simulate(jnp.array([5.0, 4.0])), [0.0, 0.0])  # a miss has none


# --- the problem --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def problem():
    return jpo.billiards()


def test_truths_move_the_target_and_half_of_the_starts_do_not(problem):
    data = problem.sample_dataset(256, seed=11)
    assert np.linalg.norm(data.y, axis=1).min() > 0.5
    speed, angle = np.linalg.norm(data.x0, axis=1), np.arctan2(data.x0[:, 1], data.x0[:, 0])
    assert speed.min() >= 3 and speed.max() <= 6 and np.abs(angle).max() <= 0.5
    moved = np.linalg.norm(verification.open_table_closed_form(data.x0), axis=1)
    assert 0.40 < np.mean(moved == 0) < 0.60
    np.testing.assert_allclose(verification.open_table_closed_form(data.x_true), data.y, atol=1e-4)


def test_unseen_shots_are_solved_jointly(problem):
    """The statement of the chapter, on a data set that nothing was chosen on."""
    data = problem.sample_dataset(256, seed=4711)
    bfgs = jpo.solve(problem, data, jpo.BFGS())
    joint = jpo.solve(problem, data, jpo.JointOptimization(group_size=64), seed=7)
    comparison = jpo.compare(jpo.solve(problem, data, jpo.BFGS(), x0=joint.x), bfgs)
    assert comparison.solved.value >= 0.98 and comparison.worse.value <= 0.01
    assert 0.30 <= comparison.solved_reference.value <= 0.50


def test_equal_settings_give_the_same_problem(problem):
    assert jpo.billiards() is problem and jpo.billiards(positions=[[-4, 0], [0, 0]]) is problem
    assert jpo.billiards(layout="blocked") is not problem
    shot = np.array([5.0, 0.3], np.float32)
    np.testing.assert_allclose(
        play(problem, shot).positions[1], problem.simulate(jnp.asarray(shot)), atol=1e-5
    )


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(layout="snooker"), "layout: expected one of open, blocked, cushions, rack, got 'snooker'"),
        (dict(radius=-0.5), "radius: expected a finite number above zero, got -0.5"),
        (dict(deceleration=0.0), "deceleration: expected a finite number above zero, got 0.0"),
        (dict(restitution=1.1), "restitution: expected a number between 0 and 1, got 1.1"),
        (dict(restitution=float("nan")), "restitution: expected a number between 0 and 1, got nan"),
        (
            dict(layout="cushions", cushion_restitution=-0.1),
            "cushion_restitution: expected a number between 0 and 1",
        ),
        (dict(layout="cushions", table_width=0.5), "table: expected sides longer than 2 radius = 1"),
        (dict(layout="cushions", table_length=8.0), "positions: expected balls on the table"),
        (dict(positions=[[-4, 0], [0, 0], [0.9, 0]]), "got balls 1 and 2 at a distance of 0.9"),
        (dict(positions=[[-4, 0, 0], [0, 0, 0]]), "positions: expected shape (B, 2)"),
        (dict(positions=[[-4, 0], [np.nan, 0]]), "positions: expected finite numbers"),
        (dict(target_ball=2), "target_ball: expected an index from 1 to 1, got 2"),
        (dict(target_ball=0), "target_ball: expected a whole number of at least 1, got 0"),
        (dict(speed_min=6.0, speed_max=3.0), "speed_max: expected more than speed_min"),
        (dict(speed_min=0.1, speed_max=0.5), "speed_max: expected a shot that reaches a ball 3 away"),
        (dict(angle_max=4.0), "angle_max: expected at most pi"),
        (dict(max_events=0), "max_events: expected a whole number of at least 1, got 0"),
        (dict(cushions="yes"), "cushions: expected True or False"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(change, words):
    with pytest.raises(ValueError) as caught:
        jpo.billiards(**change)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "positions, velocities, options, words",
    [
        ([[0, 0], [0.5, 0]], np.zeros((2, 2)), {}, "positions: expected balls at least 2 radius = 1 apart"),
        ([[0, 0]], np.zeros((2, 2)), {}, "velocities: expected shape (B, 2)"),
        ([[0, 0]], [[np.inf, 0]], {}, "velocities: expected finite numbers"),
        ([[5, 0]], [[0, 0]], dict(table=(6.0, 6.0)), "positions: expected balls on the table"),
        ([[0, 0]], [[0, 0]], dict(radius=0.0), "radius: expected a finite number above zero"),
        ([[0, 0]], [[0, 0]], dict(table=(6.0,)), "table: expected None or (length, width)"),
    ],
)
def test_bad_tables_are_refused_in_one_sentence(positions, velocities, options, words):
    with pytest.raises(ValueError) as caught:
        jpo.simulate_shot(np.array(positions, float), np.array(velocities, float), **options)
    assert words in str(caught.value) and "\n" not in str(caught.value)
