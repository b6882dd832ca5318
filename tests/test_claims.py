"""Verdicts follow from results."""

import json

import numpy as np
import pytest
import xarray as xr

from jpo_book import names
from jpo_book.analysis import claims, resample
from jpo_book.pages import ledger


def results(refined, single, bfgs, runs=6, problems=100):
    """Studies in which the given fractions of problems are solved,
    by refined JPO with n = 256 and n = 1, and by BFGS."""

    def solved(fraction, shape):
        return np.broadcast_to(np.arange(problems) < fraction * problems, shape)

    shape = (2, runs // 2, problems)
    joint = np.stack([np.stack([solved(f, shape)] * 3) for f in (single, refined)])
    joint = xr.DataArray(
        joint,
        dims=("group_size", "solver", "data_seed", "network_seed", "problem"),
        coords={"group_size": [1, 256], "solver": ["Joint", "JointRefined", "NetworkStart"]},
    )
    classical = xr.DataArray(
        np.stack([solved(bfgs, (2, problems)), solved(1.0, (2, problems))]),
        dims=("solver", "data_seed", "problem"),
        coords={"solver": ["BFGS", "MultiStart"]},
    )
    return [
        xr.Dataset(
            {"solved": s, "loss": xr.where(s, 1e-6, 1.0), "num_evaluations": xr.ones_like(s, dtype=int)}
        )
        for s in (classical, joint)
    ]


def verdict(claim, problems, **judged):
    return claims.over_experiments(claim, problems, judged)["verdict"]


def test_effects_are_those_that_were_put_in():
    classical, joint = results(refined=0.9, single=0.6, bfgs=0.2)
    advantage, growth = claims.judge_advantage(classical, joint), claims.judge_growth(classical, joint)
    assert advantage["effect"] == pytest.approx(0.7) and growth["effect"] == pytest.approx(0.3)
    for judged in (advantage, growth):
        assert judged["interval"][0] < judged["effect"] < judged["interval"][1]


def test_the_verdict_moves_with_the_results():
    strong = claims.judge_advantage(*results(refined=0.9, single=0.6, bfgs=0.2))
    none = claims.judge_advantage(*results(refined=0.2, single=0.2, bfgs=0.2))
    four = list(names.EXPERIMENTS)
    assert verdict("C1", four, **dict.fromkeys(four, strong)) == "reproduced"
    assert verdict("C1", four, wave_packet=strong) == "partly"
    assert verdict("C1", four, wave_packet=none) == "not reproduced"
    assert verdict("C1", four, **dict.fromkeys(four[1:], strong), wave_packet=none) == "partly"
    assert verdict("C1", four) == "planned"
    few = claims.judge_advantage(*results(refined=0.9, single=0.6, bfgs=0.2, runs=4))
    assert verdict("C1", four, wave_packet=few) == "out of budget"
    mixed = claims.over_experiments("C1", four, {"wave_packet": few, "billiards": strong})
    assert mixed["verdict"] == "out of budget" and mixed["note"].endswith(
        "networks each were run for: wave packet."
    )  # and says where


def test_bootstrap_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(1)
    inside = 0
    for _ in range(60):
        low, high = resample.interval_of_mean(generator.random((6, 100)) < 0.7, num_resamples=300)
        inside += low <= 0.7 <= high
    # Resampling both runs and problems is conservative for independent trials: at least 95 % minus chance.
    assert inside >= 52


def test_without_executed_pages_everything_is_planned(tmp_path):
    assert {v["verdict"] for v in claims.verdicts(tmp_path)} == {"planned"}


def costs(training, refinement, restarts, fails=0):
    """Studies of costs: JPO solves all problems but `fails` of 40 after training
    and refinement, restarts solve all."""
    dims, shape = ("data_seed", "group_size", "solver", "network_seed", "problem"), (2, 1, 2, 3, 40)
    at, total = np.zeros(shape, int), np.full(shape, training)
    at[:, :, 1] = total[:, :, 1] = training + refinement
    at[..., :fails] = 0
    joint = xr.Dataset(
        {"solved_at": (dims, at), "num_evaluations": (dims, total), "solved": (dims, at > 0)},
        coords={"group_size": [4096], "solver": ["Joint", "JointRefined"]},
    )
    spent = np.full((1, 2, 40), restarts)
    dims = ("solver", "data_seed", "problem")
    classical = xr.Dataset(
        {"solved_at": (dims, spent), "num_evaluations": (dims, spent), "solved": (dims, spent > 0)},
        coords={"solver": ["MultiStart"]},
    )
    return classical, joint


def test_the_effect_on_cost_is_a_ratio_with_training_counted():
    judged = claims.judge_cost(*costs(training=3, refinement=7, restarts=40), num_resamples=20)
    assert judged["effect"] == 4.0 and judged["interval"] == (4.0, 4.0)
    assert verdict("C5", ["wave_packet"], wave_packet=judged) == "reproduced"
    dear = claims.judge_cost(*costs(training=93, refinement=7, restarts=40), num_resamples=20)
    assert dear["effect"] == 0.4 and verdict("C5", ["wave_packet"], wave_packet=dear) == "not reproduced"
    assert verdict("C5", ["wave_packet", "billiards"], wave_packet=judged, billiards=dear) == "partly"
    assert judged["words"] is None and dear["words"] is None


def test_where_nine_in_ten_are_never_solved_words_stand_instead_of_a_ratio():
    failing = claims.judge_cost(*costs(3, 7, 40, fails=8), num_resamples=20)
    assert (
        failing["effect"] == 0.0
        and failing["words"] == "only multi-start BFGS solves 90 % of the problems in all its runs"
    )
    classical, joint = costs(3, 7, 40)
    classical["solved_at"][0, 1, :8] = 0  # one data set suffices
    restarts_fail = claims.judge_cost(classical, joint, num_resamples=20)
    assert restarts_fail["effect"] == np.inf and restarts_fail["words"].startswith("only refined JPO")
    assert verdict("C5", ["wave_packet"], wave_packet=restarts_fail) == "reproduced"  # cheaper in every draw
    neither = claims.judge_cost(classical, costs(3, 7, 40, fails=8)[1], num_resamples=20)
    assert neither["effect"] == 0.0 and neither["words"].startswith(
        "neither multi-start BFGS nor refined JPO"
    )


def test_the_ledger_says_infinite_in_words_and_the_page_says_who_fails(tmp_path):
    classical, joint = costs(3, 7, 40)
    classical["solved_at"][0, 1, :8] = 0
    judged = claims.judge_cost(classical, joint, num_resamples=20)
    entry = claims.over_experiments("C5", ["wave_packet"], {"wave_packet": judged})
    path = ledger.write_ledger(tmp_path, lambda root: [entry])
    claim = next(
        i for i in json.loads(path.read_text(), parse_constant=pytest.fail)["items"] if i["id"] == "C5"
    )
    assert claim["effect"] == "infinite" and claim["by_experiment"]["wave_packet"]["words"] == judged["words"]
    page = (tmp_path / "book" / "_generated" / "claims_table.md").read_text()
    assert f"No ratio: {judged['words']}." in page and "infinite" not in page


def test_verdicts_need_no_executed_page(tmp_path, monkeypatch):
    """C4 comes from the points of Figure 2 themselves; they are kept, and found again."""
    monkeypatch.setenv("JPO_STUDIES", str(tmp_path / "studies"))
    found = {v["id"]: v for v in claims.verdicts(tmp_path, "smoke")}
    assert found["C4"]["verdict"] in ("reproduced", "partly", "not reproduced") and found["C4"]["effect"] > 0
    assert "Each point is a mean over 50 seeds." in found["C4"]["note"]
    monkeypatch.setattr("jpo_book.analysis.theory.first_step", lambda *_: pytest.fail("computed again"))
    assert {v["id"]: v for v in claims.verdicts(tmp_path, "smoke")}["C4"] == found["C4"]


@pytest.mark.parametrize("inside, verdict", [(74, "reproduced"), (67, "partly"), (66, "not reproduced")])
def test_the_rule_of_theory_counts_points(monkeypatch, inside, verdict):
    points = {"points": 74, "inside": inside, "largest_z": 2.0, "num_seeds": 1000}
    monkeypatch.setattr(claims, "agreement_with_theory", lambda *_: points)
    assert claims.judge_theory({"parameters": {"profile": "laptop"}})["verdict"] == verdict
