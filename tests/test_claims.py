"""Verdicts follow from results."""

import itertools
import json

import numpy as np
import pytest
import xarray as xr
from conftest import ROOT

from jpo_book import names
from jpo_book.analysis import claims, resample, tournament
from jpo_book.figures.forest import forest
from jpo_book.pages import ledger

ORDER = ["planned", "out of budget", "not reproduced", "partly", "reproduced"]  # from nothing to the best


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
    both = claims.judge_advantage(classical, joint)["found"], claims.judge_growth(classical, joint)["found"]
    assert [found.value for found in both] == pytest.approx([0.7, 0.3])
    assert all(found.low < found.value < found.high for found in both)


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
    assert mixed["verdict"] == "partly"  # the one with few seeds counts as not computed
    assert "networks each were run for: wave packet." in mixed["note"]  # and the page says where
    assert mixed["by_experiment"]["navier_stokes"]["words"] == "not computed"
    assert mixed["note"].endswith("and are too narrow: wave packet, billiards.")  # two and three networks


@pytest.mark.parametrize("claim", ["C1", "C2", "C3", "C5"])
def test_no_verdict_gets_better_where_an_experiment_is_left_out(claim):
    """Every state of the experiments: for the claim, not for it, with too few seeds, not computed."""
    problems = list(names.EXPERIMENTS)[: 3 if claim == "C3" else 4]
    better = resample.Estimate(9.0, 5.0, 12.0, 9.0), resample.Estimate(-1.0, -2.0, 0.0, -1.0)
    common = {"baseline": "", "words": None}
    states = [
        {"found": found, "enough_seeds": enough, "networks": 5, **common}
        for found, enough in ((better[0], True), (better[1], True), (better[0], False))
    ]
    for chosen in itertools.product([*states, None], repeat=len(problems)):
        judged = {p: state for p, state in zip(problems, chosen, strict=True) if state}
        full = claims.over_experiments(claim, problems, judged)
        for out in judged:
            rest = claims.over_experiments(claim, problems, {p: s for p, s in judged.items() if p != out})
            assert ORDER.index(rest["verdict"]) <= ORDER.index(full["verdict"])
            assert rest.get("by_experiment") is None or rest["by_experiment"][out]["words"] == "not computed"


def test_no_verdict_on_the_reference_results_gets_better_without_the_results_of_an_experiment(monkeypatch):
    def remember(function, key):
        known = {}

        def remembered(*arguments):
            if key(*arguments) not in known:
                known[key(*arguments)] = function(*arguments)
            return known[key(*arguments)]

        return remembered

    for name in ("judge_advantage", "judge_growth", "judge_cost"):
        monkeypatch.setattr(claims, name, remember(getattr(claims, name), lambda _, joint: id(joint)))
    monkeypatch.setattr(
        claims, "judge_theory", lambda _: {"id": "C4", "verdict": "planned"}
    )  # has no experiments
    load = remember(claims.load_study, lambda _root, _record, study: study)
    monkeypatch.setattr(claims, "load_study", load)
    full = {v["id"]: v for v in claims.verdicts(ROOT, "paper")}
    assert full["C1"]["verdict"] != "planned" and full["C5"]["verdict"] != "planned"
    for problem in names.EXPERIMENTS:

        def without(root, record, study, out=problem):
            return None if study.startswith(out) else load(root, record, study)

        monkeypatch.setattr(claims, "load_study", without)
        for found in claims.verdicts(ROOT, "paper"):
            assert ORDER.index(found["verdict"]) <= ORDER.index(full[found["id"]]["verdict"])
            if problem in found.get("by_experiment", {}):
                assert found["by_experiment"][problem]["words"] == "not computed"
                assert "Not computed: " in found["note"]


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
        {"solved_at": (dims, spent.copy()), "num_evaluations": (dims, spent), "solved": (dims, spent > 0)},
        coords={"solver": ["MultiStart"]},
    )
    return classical, joint


def test_the_effect_on_cost_is_a_ratio_with_training_counted():
    judged = claims.judge_cost(*costs(training=3, refinement=7, restarts=40))
    assert [judged["found"].value, *judged["found"].interval] == pytest.approx([4.0] * 3)
    assert verdict("C5", ["wave_packet"], wave_packet=judged) == "reproduced"
    dear = claims.judge_cost(*costs(training=93, refinement=7, restarts=40))
    assert dear["found"].value == pytest.approx(0.4)
    assert verdict("C5", ["wave_packet"], wave_packet=dear) == "not reproduced"
    assert verdict("C5", ["wave_packet", "billiards"], wave_packet=judged, billiards=dear) == "partly"
    assert judged["words"] is None and dear["words"] is None


def test_who_never_solves_nine_in_ten_costs_more_than_what_was_spent():
    failing = claims.judge_cost(*costs(3, 7, 40, fails=8))
    assert failing["words"] == "only multi-start BFGS solves 90 % of the problems in all its runs"
    # The unsolved fifth has spent 10, as the others: the ratio is below 40 / 10 and nothing else is known.
    assert failing["found"].value == 0 and failing["found"].upper == pytest.approx(4)
    assert claims.over_experiments("C5", ["billiards"], {"billiards": failing})["effect"] == "less than 4"
    classical, joint = costs(3, 7, 40)
    classical["solved_at"][0, 1, :8] = 0  # one data set suffices
    cut = claims.judge_cost(classical, joint)
    assert cut["found"].value == pytest.approx(4) and cut["found"].upper == np.inf
    assert cut["words"].startswith("only refined JPO")
    assert verdict("C5", ["wave_packet"], wave_packet=cut) == "reproduced"  # cheaper than what was spent
    counts = {name: classical[name] // 5 for name in ("solved_at", "num_evaluations")}
    short = claims.judge_cost(classical.assign(counts), joint)
    assert verdict("C5", ["wave_packet"], wave_packet=short) == "not reproduced"  # cut too early to tell
    neither = claims.judge_cost(classical, costs(3, 7, 40, fails=8)[1])
    assert (neither["found"].value, neither["found"].upper) == (0, np.inf)
    assert neither["words"].startswith("neither multi-start BFGS nor refined JPO")


def test_the_ledger_knows_no_infinity_and_the_page_says_who_fails(tmp_path):
    classical, joint = costs(3, 7, 40)
    classical["solved_at"][0, 1, :8] = 0
    judged = claims.judge_cost(classical, joint)
    entry = claims.over_experiments("C5", ["wave_packet"], {"wave_packet": judged})
    path = ledger.write_ledger(tmp_path, lambda root: [entry])
    claim = next(
        i for i in json.loads(path.read_text(), parse_constant=pytest.fail)["items"] if i["id"] == "C5"
    )
    assert claim["effect"] == "more than 4" and claim["interval"][1] == "infinite"
    assert claim["by_experiment"]["wave_packet"]["words"] == judged["words"]
    page = (tmp_path / "book" / "_generated" / "claims_table.md").read_text()
    assert (
        f"Effect more than 4 (95 % interval above 4): {judged['words']}." in page and "infinite" not in page
    )


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


def test_the_forest_plot_has_a_row_for_each_comparison_and_says_what_is_missing(tmp_path):
    far = {
        "words": "ahead, restarts of BFGS pays more than 3",
        "name": "restarts of BFGS",
        "verdict": "ahead",
    }
    far |= {"difference": [0.4, 0.3, 0.5], "ratio": [3.0, 2.0, "infinite"]}
    missing = {"words": "not computed"}
    waves, balls = (names.EXPERIMENTS[name].title for name in ("wave_packet", "billiards"))
    found = {"restarts of BFGS": {waves: far, balls: missing}, "the best of all": {waves: missing}}
    shares, prices = forest(found).axes
    assert [label.get_text() for label in shares.get_yticklabels()] == [waves, balls, waves]
    marks = {(ax, line.get_marker()): line.get_xdata() for ax in (shares, prices) for line in ax.lines}
    marker = names.EXPERIMENTS["wave_packet"].marker
    assert marks[shares, marker] == [0.4] and marks[prices, marker] == [3.0]
    assert (shares, ">") not in marks and marks[prices, ">"] == [prices.get_xlim()[1]]  # its price has no end
    said = [text.get_text() for text in prices.texts]
    assert said.count("not computed") == 2 and said.count("ahead") == 1
    claim = {"id": "C1", "verdict": "partly", "alternatives": found}
    ledger.write_ledger(tmp_path, lambda root: [claim])
    generated = tmp_path / "book" / "_generated"
    page = (generated / "claims_table.md").read_text(encoding="utf-8")
    assert f"Against the best of all: {waves} not computed." in page
    first = (generated / "figures" / "forest.svg").read_bytes()
    (generated / "figures" / "forest.svg").unlink()
    ledger.write_ledger(tmp_path, lambda root: [claim])
    assert (generated / "figures" / "forest.svg").read_bytes() == first


def test_opponents_are_judged_as_in_the_tournament_and_json_can_hold_it(monkeypatch):
    def method(costs, training=0.0):
        cost = xr.DataArray(np.tile(costs, (4, 1, 1)), dims=("data_seed", "network_seed", "problem"))
        solved = cost < 100
        return xr.Dataset({"cost": cost, "solved": solved, "training_cost": xr.full_like(cost, training)})

    waves = np.full((5, 40), 20.0)
    half = np.where(np.arange(40) < 20, 10.0, 200.0)[None]
    roles = tournament.Opponents(("Joint", 64), ("MultiStart", None), ("LookUp", None))
    played = {("Joint", 64): method(waves, 15.0), ("BFGS", None): method(half)}
    played |= {("MultiStart", None): method(waves[:1] * 2), ("LookUp", None): method(waves / 4)}
    monkeypatch.setattr(tournament, "players", lambda *_: roles)
    monkeypatch.setattr(tournament, "by_method", lambda *_: played)
    monkeypatch.setattr(claims, "computed_cells", lambda *_: ["some"])
    monkeypatch.setattr(claims.studies, "load_or_run", lambda *_, **__: {})
    found = claims.against_opponents(ROOT, None, "wave_packet")
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    verdicts = {kind: each["verdict"] for kind, each in found.items()}
    assert list(verdicts.values()) == ["ahead", "ahead", "ahead", "behind"]
    assert found["one run of BFGS"]["difference"][0] == pytest.approx(0.5)
    assert found["one run of BFGS"]["ratio"][2] == "infinite"
    assert found["the best of all"]["ratio"][0] == pytest.approx(0.25)
