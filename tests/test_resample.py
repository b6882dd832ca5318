"""Intervals: a slow bootstrap draws everything again; a known model tells how often they are right."""

import numpy as np
import pytest
import xarray as xr
from conftest import ROOT, reference

from jpo_book import studies
from jpo_book.analysis import ablations, alignment, claims, costs, generalization, resample, validity
from jpo_book.pages import tables
from jpo_lib.metrics import cost_to_solve, outcome

ORDER = ("data_seed", "network_seed", "problem")
RESULTS = ROOT / "results"


def crossed(statistic, *arrays, draws=400, seed=5):
    """95 % interval of a statistic of arrays (data, network, problem): networks are drawn once for all data
    sets, problems within each, data sets where there are four; without any of the code that is tested."""
    generator = np.random.default_rng(seed)
    num_data, num_networks = arrays[0].shape[0], max(array.shape[1] for array in arrays)
    values = []
    for _ in range(draws):
        data = generator.integers(num_data, size=num_data) if num_data >= 4 else np.arange(num_data)
        networks = generator.integers(num_networks, size=num_networks)
        problems = [generator.integers(arrays[0].shape[2], size=arrays[0].shape[2]) for _ in data]
        values.append(
            statistic(
                *(
                    np.stack(
                        [
                            array[d][networks if array.shape[1] > 1 else [0]][:, chosen]
                            for d, chosen in zip(data, problems, strict=True)
                        ]
                    )
                    for array in arrays
                )
            )
        )
    return np.percentile(values, [2.5, 97.5], method="closest_observation")


def assert_as_wide(found, low, high):
    assert high > low or found.value in (0, 1)  # else there would be nothing to compare with
    assert found.high - found.low >= 0.9 * (high - low), (found, low, high)


def array(values):
    missing = [name for name in ORDER if name not in values.dims]
    return values.expand_dims(missing).transpose(*ORDER).values.astype(float)


def model(generator, spread=(0.0, 1.0, 1.0, 0.5), shape=(2, 5, 64), mean=0.0):
    """Values: mean + data set + network seed + problem + rest, normal with these deviations."""
    data, network, problem, rest = (
        deviation * generator.standard_normal(size)
        for deviation, size in zip(
            spread, ((shape[0], 1, 1), (1, shape[1], 1), (shape[0], 1, shape[2]), shape), strict=True
        )
    )
    return xr.DataArray(mean + data + network + problem + rest, dims=ORDER)


@pytest.mark.parametrize(
    "spread, shape",
    [
        ((0, 1, 1, 1), (2, 5, 64)),  # ten runs, and the network decides
        ((0, 0.2, 2, 0.5), (2, 5, 64)),  # the problems decide
        ((0.3, 0.5, 1, 0.5), (4, 8, 32)),  # both, and data sets are drawn again
        ((0.5, 0.5, 1, 0.5), (8, 8, 32)),  # data sets differ by more than their problems
    ],
)
def test_an_interval_holds_the_truth_as_often_as_it_says(spread, shape):
    generator = np.random.default_rng(1)
    found = [resample.mean(model(generator, spread, shape, mean=3.0)) for _ in range(200)]
    assert 0.88 <= np.mean([one.low <= 3 <= one.high for one in found]) <= 0.99


def test_the_interval_of_a_rate_holds_the_truth_where_networks_fail_all_together():
    """A problem is solved where its ease, that of its network and luck add up to a positive number."""
    generator, inside = np.random.default_rng(2), []
    for _ in range(200):
        found = resample.rate(model(generator, (0, 1, 1, 1), (2, 6, 64), mean=np.sqrt(3)) > 0)
        inside.append(found.low <= 0.8413447 <= found.high)  # P(standard normal > -1)
    assert 0.88 <= np.mean(inside) <= 0.99


def test_what_always_happens_may_still_fail_and_equal_calls_give_equal_intervals():
    always = resample.rate(xr.DataArray(np.ones((2, 3, 50), bool), dims=ORDER))
    assert always.high == 1 and always.low == pytest.approx(1 - 3.7 / 100, abs=0.002)  # Wilson, 100 problems
    values = model(np.random.default_rng(0))
    assert resample.mean(values) == resample.mean(values.transpose("problem", ...).copy(deep=True))


def test_values_that_are_missing_do_not_count():
    values = model(np.random.default_rng(0)).where(lambda v: v > -1)
    found = resample.mean(values)
    assert found.value == pytest.approx(float(values.mean()))
    assert_as_wide(found, *crossed(np.nanmean, values.values))


def study(name):
    """Reference results of the paper profile, (classical, joint)."""
    cells = studies.plan(name, "paper")
    assert all(studies.check(cell, RESULTS) == "valid" for cell in cells), name
    return studies.combine(cells, reference(cells))


EXPERIMENTS = ("wave_packet", "billiards", "kuramoto_sivashinsky", "navier_stokes")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_rates_and_the_effects_of_claims_are_as_wide_as_a_slow_bootstrap_of_real_results(name):
    classical, joint = study(name)
    bfgs, small, large = (
        classical.sel(solver="BFGS", drop=True),
        joint.isel(group_size=0, drop=True),
        joint.isel(group_size=-1, drop=True).sel(solver="JointRefined", drop=True),
    )
    start = small.sel(solver="NetworkStart", drop=True)
    signs = xr.broadcast(large.loss, large.solved, bfgs.loss, bfgs.solved)
    signs = signs[0].copy(data=outcome(*signs))
    for study_of_one in (start, large, bfgs):
        found = tables.comparison(study_of_one, bfgs)
        for one, values in ((found.solved, study_of_one.solved), (found.solved_reference, bfgs.solved)):
            assert_as_wide(one, *crossed(np.mean, array(values)))
    found = tables.comparison(large, bfgs)
    assert_as_wide(found.better, *crossed(np.mean, array(signs > 0)))
    assert_as_wide(claims.judge_advantage(classical, joint)["found"], *crossed(np.mean, array(signs)))
    growth = large.solved.astype(float) - small.solved.sel(solver="JointRefined", drop=True)
    assert_as_wide(claims.judge_growth(classical, joint)["found"], *crossed(np.mean, array(growth)))


def mean_cost(at, total, training, fraction):
    found = [cost_to_solve(at[run], total[run], training[run], fraction) for run in np.ndindex(at.shape[:2])]
    return np.inf if np.isnan(found).any() else np.mean(found)


def test_costs_their_ratio_and_the_crossing_point_are_as_wide_as_a_slow_bootstrap_of_real_results():
    classical, joint = study("billiards_cost")
    joint = joint.sel(group_size=[1024, 4096, 16384])  # around the crossing point
    restarts = classical.sel(solver="MultiStart", drop=True)
    theirs = [array(restarts.solved_at), array(restarts.num_evaluations)]
    own = []
    for one, training in costs.of_each_size(joint):
        own += [array(one.solved_at), array(one.num_evaluations), array(training + 0 * one.num_evaluations)]

    def curve(*arrays):
        parts = (arrays[k : k + 3] for k in range(0, len(arrays), 3))
        return np.array([mean_cost(at, total, training, 0.9) for at, total, training in parts])

    def rival(at, total):
        return mean_cost(at, total, 0 * at, 0.9)

    def crossing_point(at, total, *arrays):
        found, limit = curve(*arrays), rival(at, total)
        last = np.flatnonzero(found > limit)[-1]
        share = np.log(found[last] / limit) / np.log(found[last] / found[last + 1])
        return 1024 * 4.0 ** (last + share)

    assert_as_wide(costs.crossing(joint, restarts, 0.9), *crossed(crossing_point, *theirs, *own, draws=150))
    one, training = costs.of_each_size(joint)[-1]
    last = slice(6, 9)
    assert_as_wide(costs.cost(one, 0.9, training), *crossed(lambda *a: curve(*a)[0], *own[last], draws=150))
    assert_as_wide(costs.cost(restarts, 0.9), *crossed(rival, *theirs, draws=150))
    ratio = crossed(lambda at, total, *a: rival(at, total) / curve(*a)[0], *theirs, *own[last], draws=150)
    assert_as_wide(claims.judge_cost(classical, joint)["found"], *ratio)


def test_differences_of_variants_and_of_unseen_problems_are_as_wide_as_a_slow_bootstrap_of_real_results():
    cells = studies.plan("billiards_ablations", "paper")
    cells = [c for c in cells if c.kind == "classical" or c.variant in ("default", "dense", "sgd-1")]
    combined = studies.combine_variants(cells, reference(cells))
    for variant in ("dense", "sgd-1"):
        for solver in ("Joint", "JointRefined"):
            pair = [
                array(combined[name][1].solved.sel(solver=solver).isel(group_size=0, drop=True))
                for name in (variant, "default")
            ]
            low, high = crossed(np.mean, pair[0] - pair[1])
            assert_as_wide(
                ablations.effect(combined[variant][1], combined["default"][1], solver)[0], low, high
            )
    cells = studies.plan("kuramoto_sivashinsky_generalization", "paper")
    results = studies.combine_variants(cells, reference(cells))
    for n in (16, 1024):
        one = results[""][1].sel(group_size=n, drop=True)
        known, unseen, opponent = (
            array(one.solved.sel(solver=name))
            for name in ("JointRefined", "JointUnseenRefined", "BFGSUnseen")
        )
        # The two sets of problems one after the other, as data sets of their own: each is drawn by itself.
        both = np.concatenate([2 * known, -2 * unseen])
        gap = generalization.difference(one, "JointRefined", "JointUnseenRefined")[0]
        assert_as_wide(gap, *crossed_of_fixed_data(both))
        same = generalization.difference(one, "JointUnseenRefined", "BFGSUnseen")[0]
        assert_as_wide(same, *crossed(np.mean, unseen - opponent))


def crossed_of_fixed_data(values):
    """`crossed` for a mean of four data sets that are not drawn again."""
    halves = values[:2], values[2:]
    generator = np.random.default_rng(3)
    draws = []
    for _ in range(400):
        networks = generator.integers(values.shape[1], size=values.shape[1])
        draws.append(
            np.mean(
                [
                    half[d][networks][:, generator.integers(values.shape[2], size=values.shape[2])]
                    for half in halves
                    for d in range(2)
                ]
            )
        )
    return np.percentile(draws, [2.5, 97.5])


def test_maps_are_as_wide_as_a_slow_bootstrap_of_real_results():
    classical, joint = study("billiards_blocked")
    one = joint.sel(group_size=64, drop=True)
    cell = validity.compare_cell(classical, one)
    refined, restarts = one.sel(solver="JointRefined"), classical.sel(solver="MultiStart")
    best, training = costs.refined_and_training(one)
    own = array(best.solved), array(best.solved_at), array(best.num_evaluations), array(training)
    theirs = array(restarts.solved_at), array(restarts.num_evaluations)

    def used(at, total, training=0):
        return np.where(at > 0, np.maximum(at, training), total)

    def at_equal_cost(solved, at, total, training, when, most):
        price = used(at, total, training).mean()
        spent = used(when, most)
        budget = next((b for b in range(1, 2000) if np.minimum(spent, b).mean() >= price), np.inf)
        return solved.mean() - ((when > 0) & (when <= budget)).mean()

    statistics = {
        "difference": lambda s, a, t, r, when, most: s.mean() - (when > 0).mean(),
        "cost_ratio": lambda s, a, t, r, when, most: used(a, t, r).mean() / used(when, most).mean(),
        "equal_cost": at_equal_cost,
    }
    assert refined.solved.dims == best.solved.dims
    for name, statistic in statistics.items():
        low, high = crossed(statistic, *own, *theirs, draws=150)
        assert cell[f"{name}_high"] - cell[f"{name}_low"] >= 0.9 * (high - low) > 0, name


def test_evidence_from_alignment_is_as_wide_as_a_slow_bootstrap_of_real_results():
    from scipy.stats import rankdata

    cells = studies.plan("alignment_billiards", "paper")
    runs = studies.combine_variants(cells, reference(cells))[""][1]
    early = alignment.early(runs)
    found = alignment.estimate_of_mean(early.isel(group_size=-1))
    assert_as_wide(found, *crossed(np.mean, array(early.isel(group_size=-1, drop=True))))
    sizes = range(runs.sizes["group_size"])
    solved = runs.solved.sel(solver="JointRefined", drop=True)
    arrays = [array(v.isel(group_size=k, drop=True)) for v in (early, solved) for k in sizes]

    def correlation(*drawn):
        points = np.array([one.mean(axis=2).ravel() for one in drawn]).reshape(2, -1).round(9)
        return np.corrcoef(rankdata(points, axis=1))[0, 1]

    low, high = crossed(correlation, *arrays, draws=200)
    assert_as_wide(alignment.predicts_solved_rate({"billiards": runs}, within=False), low, high)

    def order(*drawn):
        won = total = 0.0
        for values, good in zip(drawn[: len(sizes)], drawn[len(sizes) :], strict=True):
            for run in np.ndindex(values.shape[:2]):
                yes, no = values[run][good[run] > 0], values[run][good[run] == 0]
                won += np.sign(yes[:, None] - no).sum()
                total += yes.size * no.size
        return won / total

    assert_as_wide(alignment.predicts_solved_problems(runs), *crossed(order, *arrays, draws=200))
