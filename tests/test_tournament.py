"""The tournament: one accounting for all methods, curves of price, and choices made by code."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import xarray as xr
from conftest import reference

import jpo_lib as jpo
from jpo_book import studies
from jpo_book.analysis import prices, tournament
from jpo_book.studies.run_tournament import merged, run_method, solver_of
from jpo_book.studies.tournament import TUNING_SEED, choice, methods, tournament_cells

WORK = {
    "problem": "wave_packet",
    "num_problems": 8,
    "group_sizes": [4, 16],
    "num_data_seeds": 2,
    "num_network_seeds": 2,
}


def outcome(cost, solved, training=0.0):
    """Results of a method by hand, (data_seed, network_seed, problem)."""
    cost = np.asarray(cost, float)
    return xr.Dataset(
        {
            "cost": (("data_seed", "network_seed", "problem"), cost),
            "solved": (("data_seed", "network_seed", "problem"), np.broadcast_to(solved, cost.shape)),
            "training_cost": (("data_seed", "network_seed", "problem"), np.full(cost.shape, training)),
        }
    )


def test_a_curve_says_what_is_solved_for_which_price():
    """Costs 1, 2, 3, 10 where the third is never solved: with budget 2 half are solved, for 7/4 each."""
    curve = tournament.curve(outcome([[[1.0, 2.0, 3.0, 10.0]]], [True, True, False, True]))
    assert curve.price(0.25)[0] == 1.0
    assert curve.price(0.5)[0] == pytest.approx((1 + 2 + 2 + 2) / 4)
    assert curve.price(0.75)[0] == pytest.approx((1 + 2 + 3 + 10) / 4)
    assert np.isinf(curve.price(0.76)[0])  # never, which is not the same as dear
    assert curve.share_for(1.74)[0] == 0.25 and curve.share_for(1.75)[0] == 0.5
    assert curve.share_for(0.1)[0] == 0.0 and curve.share_for(1e9)[0] == 0.75


def test_who_is_cheaper_is_ahead_and_who_never_arrives_is_dearer_than_all_it_spent():
    rng = np.random.default_rng(0)
    shape = (4, 5, 64)
    joint = outcome(20 + rng.exponential(5, shape), rng.random(shape) < 0.97, training=15)
    dear = outcome(60 + rng.exponential(30, (4, 1, 64)), True)
    cheap = outcome(2 + rng.exponential(1, (4, 1, 64)), True)
    weak = outcome(500 + rng.exponential(30, (4, 1, 64)), rng.random((4, 1, 64)) < 0.3)
    assert [tournament.judged(joint, other).verdict for other in (dear, cheap, weak)] == [
        "ahead",
        "behind",
        "ahead",
    ]
    assert tournament.judged(joint, dear).share == pytest.approx(0.97, abs=0.02)
    censored = tournament.judged(joint, weak).ratio
    assert np.isinf(censored.high) and censored.low > 10  # "more than", no number
    itself = tournament.judged(joint, joint)
    assert itself.verdict == "level" and abs(itself.difference.value) < 0.02


def test_the_crossing_point_lies_where_the_curve_of_prices_meets_that_of_the_opponent():
    """Prices 640 / n meet a price of 5 at n = 128, in all draws alike. One that gives up is dearer than what
    it spent: JPO is cheaper at least where it pays no more than that."""
    shape = (4, 5, 8)
    found: dict = {("Joint", n): outcome(np.full(shape, 640 / n), True) for n in (64, 256, 1024)}
    found |= {("MultiStart", None): outcome(np.full((4, 1, 8), 5.0), True)}
    found |= {("BFGS", None): outcome(np.full((4, 1, 8), 5.0), False)}
    found |= {("LookUp", None): outcome(np.full((4, 1, 8), 0.1), True)}
    joint = prices.curves("Joint", found), prices.sizes_of("Joint", found)
    (restarts,), (gives_up,), (cheap,) = (
        prices.curves(name, found) for name in ("MultiStart", "BFGS", "LookUp")
    )
    meets = prices.crossing(*joint, restarts, 0.9)
    np.testing.assert_allclose([meets.value, meets.low, meets.high, meets.upper], 128, rtol=1e-6)
    early = prices.crossing(*joint, gives_up, 0.9)
    assert early.value == 0 and early.upper == pytest.approx(128)
    never = prices.crossing(*joint, cheap, 0.9)
    assert never.value == 1024 and np.isinf(never.upper)


def test_each_method_gets_the_same_effort():
    for name, method in methods().items():
        assert len(method["grid"]) == (1 if name == "BFGS" else 4), name
    tuned = tournament_cells("tuning_wave_packet", WORK, 0)
    assert {cell.data_seed for cell in tuned} == {TUNING_SEED} and TUNING_SEED >= 900
    assert all(min(cell.network_seeds, default=900) >= 900 for cell in tuned)
    played = tournament_cells("tournament_wave_packet", WORK, 0)
    assert [(c.variant, c.group_size) for c in played] == [(c.variant, c.group_size) for c in tuned]
    assert all(len(cell.options["grid"]) == 1 for cell in played)
    assert {cell.variant for cell in played} == set(methods())
    small = tournament_cells("tuning_kuramoto_sivashinsky", {**WORK, "problem": "kuramoto_sivashinsky"}, 0)
    assert "FeatureStart" not in {cell.variant for cell in small}  # nobody knows one


def test_the_settings_that_play_are_those_that_were_selected():
    """The choice in the packages is what the tuning results select, for each experiment that has them."""
    for experiment, written in choice().items():
        cells = studies.plan(f"tuning_{experiment}", "paper")
        tuning = tournament.by_method(cells, reference(cells))
        assert written == json.loads(json.dumps(tournament.chosen(tuning))), experiment


def test_changes_reach_inside():
    assert merged({"a": 1, "s": {"x": 1, "y": {"z": 2}}}, {"s": {"y": {"w": 3}}, "b": 2}) == {
        "a": 1,
        "b": 2,
        "s": {"x": 1, "y": {"z": 2, "w": 3}},
    }


@pytest.fixture(scope="module")
def problem():
    return jpo.wave_packet(num_points=64, window=32.0)


@pytest.mark.parametrize(
    "name, group_size, least",
    [
        ("UntrainedNetwork", None, 1.0),
        ("FeatureStart", None, 1.0),
        ("NeuralAdjoint", 64, 1.5),
        ("Supervised", 64, 2.5),
        ("Joint", 64, 6.0),
        ("JointAfterSupervised", 64, 6.5),
    ],
)
def test_methods_solve_and_pay_for_all_that_they_ran(problem, name, group_size, least):
    method = methods()[name]
    changes = {}
    if "start" in method["grid"][0]:
        training: dict[str, Any] = {"num_steps": 5}
        if name == "JointAfterSupervised":
            training["first"] = {"num_steps": 20}
        changes = {"start": training}
    options = merged(merged(dict(method["options"]), method["grid"][0]), changes)
    data = problem.sample_dataset(64, 901)
    result, first = run_method(problem, data, data, options, group_size, [900, 901])
    assert result.solved.shape == (2, 64) and result.solved.mean() > 0.95
    assert (result.cost >= least - problem.forward_cost).all()
    np.testing.assert_allclose(
        result.cost, result.num_evaluations + problem.forward_cost * result.num_simulations
    )
    if first is not None and name.startswith("Joint"):
        pairs = 2 * problem.forward_cost if name == "JointAfterSupervised" else 0.0  # a pair and an answer
        np.testing.assert_allclose(
            first.cost, 5 + 1 + pairs
        )  # five steps with all problems, and the last answers


def test_settings_are_plain_data(problem):
    solver = solver_of(problem, {"name": "MultiStart", "solver": {"name": "BFGS", "max_evaluations": 7}})
    assert solver == jpo.MultiStart(jpo.BFGS(max_evaluations=7))
    assert dataclasses.is_dataclass(solver)


def test_a_table_names_the_price_of_as_many_solutions_as_jpo_has():
    rng = np.random.default_rng(1)
    found = {
        ("Joint", 64): outcome(np.full((1, 5, 50), 30.0), rng.random((1, 5, 50)) < 0.9, training=20.0),
        ("BFGS", None): outcome(np.full((1, 1, 50), 4.0), rng.random((1, 1, 50)) < 0.2),
        ("MultiStart", None): outcome(10 + np.arange(50.0)[None, None], True),
    }
    other = {("Joint", 64): found["Joint", 64], ("LookUp", None): found["MultiStart", None]}
    rows = {row[0]: row for row in prices.price_rows({"wave_packet": found, "billiards": other})}
    assert len(rows) == 4  # who plays nowhere has no row
    assert rows["one run of BFGS"][2] == "never"
    assert rows["JPO"][2].startswith("30") and rows["JPO"][2].endswith(", n = 64")
    assert 25 < float(rows["restarts of BFGS"][2].split()[0]) < 45
    assert rows["look-up in a table"][1:3] == ["gradient, prior", "–"]
