"""Verdicts follow from results."""

import numpy as np
import pytest
import xarray as xr

from jpo_lib import claims


def results(refined, single, bfgs, runs=6, problems=100):
    """Studies in which the given fractions of problems are solved, by refined JPO with n = 256 and n = 1, and by BFGS."""

    def solved(fraction, shape):
        return np.broadcast_to(np.arange(problems) < fraction * problems, shape)

    shape = (2, runs // 2, problems)
    joint = np.stack([np.stack([solved(f, shape)] * 3) for f in (single, refined)])
    joint = xr.DataArray(joint, dims=("group_size", "solver", "data_seed", "network_seed", "problem"),
                         coords={"group_size": [1, 256], "solver": ["Joint", "JointRefined", "NetworkStart"]})
    classical = xr.DataArray(np.stack([solved(bfgs, (2, problems)), solved(1.0, (2, problems))]), dims=("solver", "data_seed", "problem"),
                             coords={"solver": ["BFGS", "MultiStart"]})
    return [xr.Dataset({"solved": s, "loss": xr.where(s, 1e-6, 1.0), "num_evaluations": xr.ones_like(s, dtype=int)}) for s in (classical, joint)]


def verdict(claim, problems, **judged):
    return claims._over_experiments(claim, problems, judged, [])["verdict"]


def test_effects_are_those_that_were_put_in():
    classical, joint = results(refined=0.9, single=0.6, bfgs=0.2)
    advantage, growth = claims.judge_advantage(classical, joint), claims.judge_growth(classical, joint)
    assert advantage["effect"] == pytest.approx(0.7) and growth["effect"] == pytest.approx(0.3)
    for judged in (advantage, growth):
        assert judged["interval"][0] < judged["effect"] < judged["interval"][1]


def test_the_verdict_moves_with_the_results():
    strong = claims.judge_advantage(*results(refined=0.9, single=0.6, bfgs=0.2))
    none = claims.judge_advantage(*results(refined=0.2, single=0.2, bfgs=0.2))
    four = list(claims.EXPERIMENTS)
    assert verdict("C1", four, **{p: strong for p in four}) == "reproduced"
    assert verdict("C1", four, wave_packet=strong) == "partly"
    assert verdict("C1", four, wave_packet=none) == "not reproduced"
    assert verdict("C1", four, **{p: strong for p in four[1:]}, wave_packet=none) == "partly"
    assert verdict("C1", four) == "planned"
    few = claims.judge_advantage(*results(refined=0.9, single=0.6, bfgs=0.2, runs=4))
    assert verdict("C1", four, wave_packet=few) == "out of budget"


def test_bootstrap_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(1)
    inside = 0
    for _ in range(60):
        low, high = claims.bootstrap_interval(generator.random((6, 100)) < 0.7, num_resamples=300)
        inside += low <= 0.7 <= high
    # Resampling both runs and problems is conservative for independent trials: at least 95 % minus chance.
    assert inside >= 52


def test_without_executed_pages_everything_is_planned(tmp_path):
    assert {v["verdict"] for v in claims.verdicts(tmp_path)} == {"planned"}
