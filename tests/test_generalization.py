"""Networks asked about unseen problems: who is asked what, what is counted, and what the page says."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import jpo_lib as jpo
from jpo_book.analysis import generalization
from jpo_book.studies.run_generalization import SOLVERS, run_generalization, unseen_problems

PROBLEM = jpo.InverseProblem(
    name="bend",
    dimension=1,
    simulate=lambda x, context: jnp.concatenate([jnp.sin(2.0 * x), x**3]),
    loss=lambda output, y: jnp.sum(jnp.square(output - y)),
    sample_x=lambda key: jax.random.uniform(key, (1,), minval=-1.0, maxval=1.0),
    threshold=lambda output, y: 1e-3,
    bounds=((-1.0,), (1.0,)),
    recommended=jpo.Recommended(
        solvers={"JointOptimization": {"learning_rate": 1e-2, "num_steps": 60, "batch_size": 4}}
    ),
)
SEEDS = (0, 1)


@pytest.fixture(scope="module")
def studies():
    return {n: run_generalization(PROBLEM, 8, 5, n, SEEDS, {})[0] for n in (4, 16)}


def test_every_solver_is_there_and_classical_ones_know_nothing_of_n(studies):
    for study in studies.values():
        assert list(study.solver.values) == list(SOLVERS) and dict(study.loss.sizes) == {
            "solver": 14,
            "network_seed": 2,
            "problem": 8,
        }
    for name in ("BFGS", "BFGSUnseen", "MultiStart", "MultiStartUnseen"):
        for kind in ("loss", "num_evaluations"):
            np.testing.assert_array_equal(
                studies[4][kind].sel(solver=name), studies[16][kind].sel(solver=name)
            )
        assert bool((studies[4].num_training_evaluations.sel(solver=name) == 0).all())


def test_unseen_problems_are_unseen(studies):
    known, unseen = PROBLEM.sample_dataset(16, 5), unseen_problems(PROBLEM, 8, 5)
    assert not np.isin(np.asarray(unseen.x_true), np.asarray(known.x_true)).any()


@pytest.mark.parametrize("n", [4, 16])
def test_the_numbers_are_those_of_the_solvers(studies, n):
    """n = 4: two networks for 8 problems.
    n = 16: one network, which learns from 8 problems more than are reported."""
    study, unseen = studies[n], unseen_problems(PROBLEM, 8, 5)
    everything = PROBLEM.sample_dataset(max(n, 8), 5)
    joint = jpo.solve(PROBLEM, everything, jpo.JointOptimization(group_size=n), seed=list(SEEDS))
    np.testing.assert_allclose(study.loss.sel(solver="Joint"), joint.loss[:, :8], rtol=1e-5)
    value = jax.vmap(jax.vmap(PROBLEM.objective, (0, None, 0)), (0, None, None))
    for name, x, data in (
        ("JointLast", joint.extras["x_final"][:, :8], everything[:8]),
        ("JointUnseen", joint.network(unseen), unseen),
    ):
        np.testing.assert_allclose(
            study.loss.sel(solver=name), value(jnp.asarray(x), None, data.y), rtol=1e-3, atol=1e-6
        )
    assert (joint.network(unseen)[0] != joint.network(unseen)[1]).all()


def test_training_is_counted_for_known_problems_and_reported_apart_for_unseen_ones(studies):
    # 60 steps of 4 problems are 60 visits to each of 4 problems, or 15 to each of 16; one more
    # evaluation at the end.
    for n, visits in ((4, 60), (16, 15)):
        study = studies[n]
        assert bool(
            (
                study.num_training_evaluations.sel(solver=["Joint", "JointRefined", "JointUnseen"])
                == visits + 1
            ).all()
        )
        assert bool(
            (study.num_training_evaluations.sel(solver="SupervisedUnseen") == 2).all()
        )  # a pair and an answer
        spent = study.num_evaluations
        assert bool((spent.sel(solver=["JointUnseen", "SupervisedUnseen"]) == 1).all())
        assert bool((spent.sel(solver="JointRefined") > visits + 1).all()) and bool(
            (spent.sel(solver="JointUnseenRefined") < visits).all()
        )
        for raw, refined in (
            ("Joint", "JointRefined"),
            ("JointUnseen", "JointUnseenRefined"),
            ("SupervisedUnseen", "SupervisedUnseenRefined"),
        ):
            assert bool((study.loss.sel(solver=refined) <= study.loss.sel(solver=raw) * (1 + 1e-6)).all())


def synthetic(known: float, unseen: float, seeds=(3, 4), problems=200) -> xr.Dataset:
    """A study in which the given fractions of known and unseen problems are solved."""
    generator = np.random.default_rng(1)
    shape = (2, 1, len(SOLVERS), seeds[1], problems)
    rate = np.array([unseen if "Unseen" in name else known for name in SOLVERS])[None, None, :, None, None]
    solved = generator.random(shape) < rate
    dims = ("data_seed", "group_size", "solver", "network_seed", "problem")
    kinds = {
        "solved": solved,
        "loss": np.where(solved, 0.1, 10.0),
        "num_evaluations": np.ones(shape, int),
        "num_training_evaluations": np.ones(shape, int),
    }
    thresholds = {
        name: (("data_seed", "problem"), np.ones((2, problems))) for name in ("threshold", "threshold_unseen")
    }
    return xr.Dataset(
        {**{k: (dims, v) for k, v in kinds.items()}, **thresholds},
        coords={"solver": list(SOLVERS), "group_size": [64]},
    )


@pytest.mark.parametrize(
    "known, unseen, words",
    [(0.9, 0.5, "more"), (0.5, 0.9, "fewer"), (0.7, 0.7, "as many, as far as we can tell")],
)
def test_a_gap_is_found_where_there_is_one(known, unseen, words):
    study = synthetic(known, unseen).isel(group_size=0)
    found, said = generalization.difference(study, "JointRefined", "JointUnseenRefined")
    assert said == words and found.low < known - unseen < found.high and found.high - found.low < 0.2


def test_the_text_follows_the_results():
    high, low = (generalization.findings(synthetic(0.9, unseen)) for unseen in (0.9, 0.2))
    assert float(low["gap"].split()[0]) > 0.6 > 0.1 > float(high["gap"].split()[0])
    rows = generalization.answer_rows("experiment", synthetic(0.9, 0.2))
    assert all(len(row) == len(generalization.HEADER) for row in rows) and len(rows) == 5


def test_the_cell_runs_what_the_profile_says(monkeypatch):
    from jpo_book import studies
    from jpo_book.studies import run_generalization

    cell = studies.plan("wave_packet_generalization", "smoke")[0]
    called = {}
    monkeypatch.setattr(
        run_generalization,
        "run_generalization",
        lambda *arguments: called.update(zip(("problem", *"Ndnso"), arguments)),
    )
    cell.run()
    assert (called["problem"].name, called["N"], called["n"], called["o"]) == (
        "wave_packet",
        16,
        cell.group_size,
        dict(cell.options),
    )
    assert dataclasses.is_dataclass(called["problem"])
