"""Problems with a precision of their own, losses that are only trained on, and refinement with restarts."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jpo_lib as jpo
from jpo_book import studies
from jpo_book.studies import run_solvers
from jpo_lib.solvers.refinement import first_problems, refinement_starts


def bumpy(**changes):
    """One unknown with a valley at the truth y and wrong ones beside it."""
    arguments = dict(
        name="bumpy",
        dimension=1,
        simulate=lambda x, context: x,
        loss=lambda output, y: jnp.sum(jnp.square(output - y) + 0.2 * (1 - jnp.cos(12 * (output - y)))),
        sample_x=lambda key: jax.random.uniform(key, (1,), minval=-1.0, maxval=1.0),
        starts=jpo.Starts(
            first=lambda key: jnp.zeros(1),
            restart=lambda key: jax.random.uniform(key, (1,), minval=-1.0, maxval=1.0),
        ),
        threshold=lambda output, y: 1e-6,
        bounds=((-1.0,), (1.0,)),
    )
    return jpo.InverseProblem(**{**arguments, **changes})


def both(problem, count=6):
    data = problem.sample_dataset(count, 0)
    joint = jpo.solve(problem, data, jpo.JointOptimization(num_steps=5), seed=0)
    return data, jpo.solve(problem, data, jpo.BFGS(), x0=joint.x), joint


@pytest.mark.filterwarnings("error:Explicitly requested dtype:UserWarning")
def test_a_problem_keeps_its_precision_whatever_the_flag():
    for float64, dtype in ((True, np.float64), (False, np.float32)):
        outcomes = []
        for flag in (True, False):
            with jax.enable_x64(flag):
                outcomes.append(both(bumpy(execution=jpo.Execution(float64=float64))))
        for one, other in zip(*outcomes):
            for name in ("x", "y", "loss", "x_true", "threshold"):
                if hasattr(one, name):
                    assert getattr(one, name).dtype == dtype
                    np.testing.assert_array_equal(
                        np.asarray(getattr(one, name)), np.asarray(getattr(other, name))
                    )
        assert outcomes[0][0][2:4].y.dtype == dtype
    # In float64 the solution is exact beyond what float32 can hold.
    data, refined, _ = both(bumpy(execution=jpo.Execution(float64=True)))
    near = np.abs(refined.x - np.asarray(data.x_true)) < 0.1
    assert near.any() and np.abs(refined.x - np.asarray(data.x_true))[near].max() < 1e-7


def test_own_data_take_the_precision_of_the_problem():
    problem = bumpy(execution=jpo.Execution(float64=True))
    data = problem.dataset(y=np.zeros((3, 1), np.float32), x0=np.ones((3, 1), np.float32))
    assert data.x0.dtype == np.float64 and data.y.dtype == np.float64
    with pytest.raises(ValueError, match="data: expected float64 for the problem 'bumpy', got float32"):
        jpo.solve(problem, bumpy(execution=jpo.Execution(float64=False)).sample_dataset(3, 0), jpo.BFGS())


def test_a_training_loss_is_descended_and_never_reported():
    """The training loss has its minimum elsewhere: the network goes there, the result speaks of the loss."""
    plain = bumpy(loss=lambda output, y: jnp.sum(jnp.square(output - y)))
    lured = dataclasses.replace(plain, training_loss=lambda output, y: jnp.sum(jnp.square(output - 0.5)))
    data = plain.sample_dataset(8, 1)
    solver = jpo.JointOptimization(num_steps=300, learning_rate=1e-2)
    honest, result = jpo.solve(plain, data, solver), jpo.solve(lured, data, solver)
    np.testing.assert_allclose(result.extras["x_final"], 0.5, atol=0.02)
    assert np.abs(honest.extras["x_final"] - data.x_true).max() < 0.1
    np.testing.assert_allclose(
        result.loss, jax.vmap(plain.objective)(jnp.asarray(result.x), None, data.y), atol=1e-6
    )
    assert (result.num_evaluations == 301).all()  # one simulation gives both losses
    # The best point is chosen by the loss: on its way to 0.5 the network passes closer to many truths.
    assert (result.loss <= np.square(0.5 - np.asarray(data.x_true[:, 0])) + 1e-3).all()


def test_restarts_are_used_in_their_order():
    problem = bumpy()
    data = problem.sample_dataset(5, 2)
    points = np.stack([np.full((5, 1), 0.3), np.asarray(data.x_true)], axis=1)
    single = jpo.BFGS(max_evaluations=1)
    result = jpo.solve(problem, data, jpo.MultiStart(single, num_starts=3), restarts=points)
    np.testing.assert_allclose(result.x, data.x_true)
    losses = [jax.vmap(problem.objective)(x, None, data.y) for x in (data.x0, points[:, 0], points[:, 1])]
    np.testing.assert_allclose(
        result.loss_history, np.minimum.accumulate(np.stack(losses, 1), axis=1), atol=1e-5
    )
    # Beyond the given points they are drawn from the distribution of restarts, not from that
    # of x0 (always 0).
    many = jpo.solve(problem, data, jpo.MultiStart(single, num_starts=40), restarts=points[:, :1])
    assert len(np.unique(many.x)) == 5 and not np.isin(many.x, [0.0, 0.3]).all()
    for bad, words in (
        (points[:, 0], "restarts: expected shape"),
        (np.zeros((5, 3, 1)), "1 <= K < num_starts = 3"),
        (points[:2], "restarts: expected shape (5, 2, 1)"),
    ):
        with pytest.raises(ValueError) as caught:
            jpo.solve(problem, data, jpo.MultiStart(single, num_starts=3), restarts=bad)
        assert words in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="restarts: expected None for BFGS"):
        jpo.solve(problem, data, jpo.BFGS(), restarts=points)


def test_refinement_continues_only_what_is_unsolved():
    problem = bumpy()
    data = problem.sample_dataset(64, 3)
    joint = jpo.solve(problem, data, jpo.JointOptimization(num_steps=5, group_size=32), seed=[0, 1])
    starts = refinement_starts(problem, joint, 6)
    assert starts.shape == (2, 64, 6, 1) and np.abs(starts).max() <= 1.0
    moved = np.any(joint.x != joint.extras["x_final"], axis=-1)
    np.testing.assert_array_equal(starts[:, :, 0][moved], joint.extras["x_final"][moved])
    assert np.all(
        starts[:, :, 0][~moved] != joint.x[~moved]
    )  # to run from the same point again would gain nothing
    once = jpo.solve(
        problem, data, jpo.BFGS(max_evaluations=25, stop_when_solved=True), x0=joint.x, seed=[0, 1]
    )
    thrice = jpo.refine(problem, data, joint, num_starts=7, spread=0.3)
    np.testing.assert_array_equal(thrice.num_evaluations[once.solved], once.num_evaluations[once.solved])
    assert (thrice.num_evaluations[~once.solved] > once.num_evaluations[~once.solved]).all()
    assert thrice.solved.mean() > once.solved.mean() + 0.2
    total = jpo.continued(joint, thrice)
    np.testing.assert_array_equal(total.num_evaluations, joint.num_evaluations + thrice.num_evaluations)
    np.testing.assert_array_equal(total.loss, np.minimum(joint.loss, thrice.loss))
    with pytest.raises(
        ValueError, match="joint: expected the result of a JointOptimization, got that of BFGS"
    ):
        refinement_starts(problem, once, 1)


def test_a_group_may_be_larger_than_what_is_reported():
    """16 problems in groups of 16 and 64:
    the same problems are reported, and the larger group costs more training."""
    problem = bumpy(recommended=jpo.Recommended(refinement={"num_starts": 2}))
    options = {"num_steps": 8, "batch_size": 16}
    small, large = (run_solvers.run_joint(problem, 16, 5, n, [0, 1], options)[0] for n in (16, 64))
    np.testing.assert_array_equal(small.x_true, large.x_true)
    assert small.sizes["problem"] == large.sizes["problem"] == 16
    assert list(small.solver.values) == ["Joint", "JointRefined", "JointRestarted", "NetworkStart"]
    assert (small.num_evaluations.sel(solver="Joint") == 9).all() and (
        large.num_evaluations.sel(solver="Joint") == 3
    ).all()
    np.testing.assert_array_equal(
        first_problems(
            jpo.solve(
                problem,
                problem.sample_dataset(64, 5),
                jpo.JointOptimization(group_size=64, **options),
                seed=[0, 1],
            ),
            16,
        ).loss,
        large.loss.sel(solver="Joint"),
    )


def test_profiles_may_leave_a_study_out_and_groups_may_exceed_the_problems():
    assert studies.plan("kuramoto_sivashinsky_t40", "smoke") == []
    cells = studies.plan("kuramoto_sivashinsky_t40", "paper", seed=3)
    assert {c.group_size for c in cells} == {None, 256, 1024, 4096} and {c.num_problems for c in cells} == {
        256
    }
    assert cells[0].settings == {"horizon": 40.0}
    with pytest.raises(ValueError, match="group_sizes: expected divisors of the 256 problems, got 300"):
        studies.plan("kuramoto_sivashinsky_t40", "paper", group_sizes=[300])


def test_a_recommended_batch_fits_any_group():
    """The batch is enlarged to the next divisor of the group;
    a batch that the user chose is refused instead."""
    problem = bumpy(
        recommended=jpo.Recommended(solvers={"JointOptimization": {"batch_size": 8, "num_steps": 6}})
    )
    for count, batch in ((4, 4), (16, 8), (10, 10), (20, 10), (7, 7), (11, 11)):
        result = jpo.solve(problem, problem.sample_dataset(count, 0), jpo.JointOptimization(), seed=0)
        assert f"batch_size={batch}," in result.solver
        assert result.num_evaluations.sum() == 6 * batch + count
    with pytest.raises(ValueError, match="batch_size: expected a divisor of the group size 10, got 8"):
        jpo.solve(problem, problem.sample_dataset(10, 0), jpo.JointOptimization(batch_size=8))


def test_programs_of_one_precision_do_not_serve_the_other():
    """A session may change the flag between two calls; keys, from which weights are drawn, look the same."""
    problem = jpo.wave_packet(num_points=64, window=32.0)
    for float64 in (True, False, True):
        with jax.enable_x64(float64):
            data = problem.sample_dataset(4, 0)
            result = jpo.solve(problem, data, jpo.JointOptimization(num_steps=2))
            weights = jax.tree.leaves(eqx.filter(result.network.network, eqx.is_inexact_array_like))
        expected = "float64" if float64 else "float32"
        assert {str(np.asarray(leaf).dtype) for leaf in weights} == {expected} == {str(result.loss.dtype)}
