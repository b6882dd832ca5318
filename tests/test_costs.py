"""One accounting of costs for all methods."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from jpo_book.analysis.costs import cost, crossing, falls_below, of_each_size
from jpo_book.pages.tables import crossing_words
from jpo_book.studies.run_solvers import solved_at
from jpo_lib.metrics import cost_to_solve


def test_costs_of_a_case_worked_out_by_hand():
    at, total = np.array([3, 10, 0, 5]), np.array([3, 10, 40, 5])
    # Half of four problems are solved with the budget 5: spent are 3, 5, 5, 5.
    assert cost_to_solve(at, total, 0, 0.5) == 4.5
    # Three quarters need the budget 10: 3, 10, 10, 5.
    assert cost_to_solve(at, total, 0, 0.75) == 7.0
    assert np.isnan(cost_to_solve(at, total, 0, 1.0))
    # Training of 8 goes on whatever is solved, but not beyond the budget.
    assert cost_to_solve(at, total, 8, 0.75) == (8 + 10 + 10 + 8) / 4
    assert cost_to_solve(at, total, 8, 0.5) == 5.0
    # An unsolved problem that gave up spends no more than it used.
    assert cost_to_solve(at, np.array([3, 10, 6, 5]), 0, 0.75) == (3 + 10 + 6 + 5) / 4


@settings(max_examples=50, deadline=None)
@given(
    at=st.lists(st.integers(0, 50), min_size=1, max_size=30),
    training=st.integers(0, 30),
    seed=st.integers(0, 99),
)
def test_costs_rise_with_the_fraction_and_with_training_and_stay_below_what_was_used(at, training, seed):
    at = np.array(at)
    total = np.maximum(at, training) + np.random.default_rng(seed).integers(0, 20, at.size) * (at == 0)
    costs = np.array([cost_to_solve(at, total, training, p) for p in (0.1, 0.5, 0.9, 1.0)])
    found = costs[~np.isnan(costs)]
    assert (np.diff(found) >= 0).all() and (found <= np.maximum(total, 1).max()).all()
    assert np.isnan(costs[-1]) == (at == 0).any()
    assert not (costs < np.array([cost_to_solve(at, total, 0, p) for p in (0.1, 0.5, 0.9, 1.0)])).any()


def test_the_first_evaluation_below_the_threshold_counts():
    history = np.array([[3.0, 2.0, 0.5, 0.1], [3.0, 3.0, 3.0, 3.0], [0.2, 0.2, 0.1, 0.0]])
    assert solved_at(history, np.array([1.0, 1.0, 1.0])).tolist() == [3, 0, 1]
    assert solved_at(np.stack([history, history]), np.array([1.0, 5.0, 0.05])).tolist() == [[3, 1, 4]] * 2


def made_up(at_by_size, training):
    """A study of 40 problems in which all are solved after the given number of evaluations of refinement."""
    sizes, shape = list(at_by_size), (1, len(at_by_size), 2, 2, 40)
    at = np.zeros(shape, int)
    for k, n in enumerate(sizes):
        at[0, k, 1] = training[n] + at_by_size[n]
        at[0, k, 0] = 0
    evaluations = at.copy()
    evaluations[:, :, 0] = np.array([training[n] for n in sizes])[None, :, None, None]
    dims = ("data_seed", "group_size", "solver", "network_seed", "problem")
    return xr.Dataset(
        {"solved_at": (dims, at), "num_evaluations": (dims, evaluations)},
        coords={"group_size": sizes, "solver": ["Joint", "JointRefined"], "data_seed": [0]},
    )


def made_up_opponent(solved_at, total):
    values = {"solved_at": solved_at, "num_evaluations": total}
    return xr.Dataset({name: (("data_seed", "problem"), np.full((1, 40), v)) for name, v in values.items()})


def test_the_crossing_is_where_joint_optimization_gets_cheaper():
    joint = made_up({1: 5, 16: 5, 256: 5}, {1: 100, 16: 40, 256: 2})
    assert [cost(one, 0.9, training).value for one, training in of_each_size(joint)] == pytest.approx(
        [105, 45, 7]
    )
    # From 45 evaluations at n = 16 to 7 at n = 256, both logarithmic: 20 are reached at this n.
    point = crossing(joint, made_up_opponent(20, 20), 0.9)
    expected = 16 * 16 ** (np.log(45 / 20) / np.log(45 / 7))
    assert [point.value, point.upper, *point.interval] == pytest.approx([expected] * 4)
    assert crossing_words(point, [1, 16, 256]) == f"{expected:.0f}"  # an interval of one number is none
    always = crossing(joint, made_up_opponent(5, 5), 0.9)
    assert (always.value, always.upper) == (256, np.inf)
    assert crossing_words(always, [1, 16, 256]) == "more than 256"
    never = crossing(joint, made_up_opponent(200, 200), 0.9)
    assert (never.value, never.upper) == (0, 1) and crossing_words(never, [1, 16, 256]) == "at most 1"


def test_an_opponent_that_was_cut_costs_more_than_what_it_spent_and_not_infinitely_much():
    joint, sizes = made_up({1: 5, 16: 5, 256: 5}, {1: 100, 16: 40, 256: 2}), [1, 16, 256]
    cut = crossing(joint, made_up_opponent(0, 20), 0.9)  # JPO costs 20 at this n, and the opponent more
    exact = crossing(joint, made_up_opponent(20, 20), 0.9)
    assert cut.value == 0 and cut.upper == pytest.approx(exact.value)
    assert crossing_words(cut, sizes) == f"at most {exact.value:.0f}"
    early = crossing(joint, made_up_opponent(0, 6), 0.9)  # cut before it had spent as much as JPO ever does
    assert (early.value, early.upper) == (0, np.inf) and crossing_words(early, sizes) == "not known"
    joint["solved_at"] = joint.solved_at.where(joint.group_size > 1, 0)  # one network alone fails
    assert crossing(joint, made_up_opponent(0, 20), 0.9).value == 1
    joint["solved_at"] = joint.solved_at.where(joint.group_size > 16, 0)
    assert crossing_words(crossing(joint, made_up_opponent(20, 20), 0.9), sizes) == "between 16 and 256"
    joint["solved_at"] = 0 * joint.solved_at
    assert crossing_words(crossing(joint, made_up_opponent(20, 20), 0.9), sizes) == "more than 256"
    assert crossing_words(crossing(joint, made_up_opponent(0, 20), 0.9), sizes) == "undefined"
    assert crossing_words(None, sizes) == "(not computed)"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(1, 1e4) | st.just(np.inf), min_size=2, max_size=6), st.floats(1, 1e4))
def test_the_curve_is_dearer_before_the_crossing_and_not_after_it(costs, limit):
    sizes, costs = 4.0 ** np.arange(len(costs)), np.array(costs)
    low, high = falls_below(sizes, costs, limit)
    assert low <= high and (costs[sizes > high] <= limit).all()
    dear = sizes[costs > limit]
    assert dear.size == 0 or dear[-1] <= high
    assert low == high or not dear.size or np.isinf(high) or np.isinf(costs[sizes == low]).all()


def test_restarts_count_where_the_problem_recommends_them():
    joint = made_up({1: 5}, {1: 10})
    restarted = joint.sel(solver=["JointRefined"]).assign_coords(solver=["JointRestarted"]) - 2
    both = xr.concat([joint, restarted], "solver")
    found = [cost(one, 0.9, t).value for m in (None, "JointRefined") for one, t in of_each_size(both, m)]
    assert found == pytest.approx([13, 15])


@pytest.mark.parametrize("fraction", [0.0, 1.1, -1])
def test_bad_input_is_refused_in_one_sentence(fraction):
    with pytest.raises(ValueError, match="fraction: expected a number above 0 and at most 1"):
        cost_to_solve([1], [1], 0, fraction)
