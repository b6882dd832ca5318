"""Maps of where joint optimization pays: what a cell says, what a row is, and what was not computed."""

import numpy as np
import pytest
import xarray as xr

import jpo_lib as jpo
from jpo_book import figures, studies
from jpo_book.analysis import validity
from jpo_book.pages import tables
from jpo_book.studies.run_solvers import run_classical, untrained_answers

N = 40


def results(solved, at, total, training=0, networks=None, solver="MultiStart"):
    """A made-up study: the first problems of every run are solved after `at` evaluations,
    the others use `total`."""
    shape = (2, N) if networks is None else (2, networks, N)
    dims = ("data_seed", "problem") if networks is None else ("data_seed", "network_seed", "problem")
    good = np.broadcast_to(np.arange(N) < solved, shape)
    names = ["BFGS", solver] if networks is None else ["Joint", "JointRefined"]
    both = {
        "loss": np.where(good, 1e-9, 1.0),
        "solved": good,
        "solved_at": np.where(good, training + at, 0),
        "num_evaluations": np.where(good, training + at, training + total),
    }
    arrays = {name: (("solver", *dims), np.stack([values, values])) for name, values in both.items()}
    made = xr.Dataset(arrays, coords={"solver": names})
    if networks is not None:
        made["num_evaluations"][dict(solver=0)] = training
    return made


def test_a_cell_worked_out_by_hand():
    opponent = results(solved=20, at=10, total=30)  # spends (20 * 10 + 20 * 30) / 40 = 20
    cell = validity.compare_cell(
        opponent, results(solved=30, at=3, total=7, training=2, networks=3), num_resamples=200
    )
    # Ten problems more are solved, and those that both or neither solve tie;
    # (30 * 5 + 10 * 9) / 40 = 6 evaluations.
    assert cell["advantage"] == pytest.approx(0.25) and cell["difference"] == pytest.approx(0.25)
    assert cell["cost_ratio"] == pytest.approx(6 / 20)
    # With six evaluations for each problem, the opponent has solved none yet.
    assert cell["equal_cost"] == pytest.approx(0.75)
    assert cell["pays"] == 1 and cell["certainty"] > 0.99
    assert cell["num_problems"] == 2 * N and cell["num_networks"] == 3
    for name in validity.VALUES:
        assert cell[f"{name}_low"] < cell[name] < cell[f"{name}_high"]


@pytest.mark.parametrize(
    "joint, pays",
    [
        (dict(solved=20, at=10, total=30), 0),  # the same at the same cost
        (dict(solved=20, at=8, total=30, training=4), 0),  # the same, dearer
        (dict(solved=22, at=8, total=24), 1),  # more, cheaper
        (
            dict(solved=20, at=8, total=24),
            0,
        ),  # the same, cheaper: but at this cost the opponent has solved them, too
        (dict(solved=18, at=1, total=2), 1),  # fewer, but more than the opponent at this cost
        (dict(solved=18, at=12, total=22), 0),  # fewer, and not more than the opponent at this cost
        (dict(solved=40, at=60, total=60), 0),  # more, but dearer: the opponent could have gone on
    ],
)
def test_joint_optimization_pays_only_where_it_solves_more_at_equal_cost(joint, pays):
    cell = validity.compare_cell(
        results(solved=20, at=10, total=30), results(networks=2, **joint), num_resamples=50
    )
    assert cell["pays"] == pays


@pytest.mark.parametrize("profile", studies.profiles())
def test_every_cell_of_a_validity_study_has_a_place_in_a_map(profile):
    for name in (n for n in studies.STUDIES if n.endswith("_validity")):
        own = [m for m in validity.MAPS if name in m.studies]
        labels = {}
        for cell in studies.plan(name, profile):
            places = [place for m in own if (place := m.place(cell))]
            assert places, f"{cell.name} is on no map"
            labels.setdefault(places[0], set()).add(cell.variant)
            assert cell.kind == "classical" or all(
                cell.group_size in m.sizes for m in own if m.place(cell)
            ), cell.name
        assert all(len(variants) == 1 for variants in labels.values()), (
            f"{name}: two variants share a row, {labels}"
        )


def test_the_usual_setting_is_a_row_of_both_maps_of_the_wave_packet_and_others_of_one():
    first, second = validity.MAPS[:2]
    usual = studies.plan("wave_packet", "smoke")[0]
    assert first.place(usual) == (pytest.approx(32 / (2 * np.pi)), "5.1") and second.place(usual) == (
        0.1,
        "0.1",
    )
    for cell in studies.plan("wave_packet_validity", "paper"):
        assert (first.place(cell) is None) != (second.place(cell) is None)


def test_the_rows_of_the_billiards_map_count_the_balls_in_the_way():
    cells = studies.plan("billiards_validity", "paper") + studies.plan("billiards", "paper")
    places = [validity.MAPS[2].place(cell) for cell in cells]
    rows = {place[1] for place in places if place is not None}
    assert None not in places
    assert rows == {"0 in the way", "1 in the way", "2 in the way", "3 in the way", "cushions", "rack of 15"}


@pytest.fixture
def some_map(monkeypatch):
    """A map with one computed cell, of two rows and several n."""
    what = validity.MAPS[1]
    cells = studies.plan("wave_packet_validity", "smoke", group_sizes=[1])
    opponent, joint = results(20, 10, 30).isel(data_seed=0), results(30, 3, 7, networks=2).isel(data_seed=0)
    made = {c.name: opponent if c.kind == "classical" else joint for c in cells}
    monkeypatch.setattr(studies, "load_or_run", lambda wanted, quiet: made)
    return validity.build_map(what, {"wave_packet_validity": cells}, studies.plan("wave_packet", "smoke"))


def test_cells_that_were_not_computed_are_there_and_say_so(some_map):
    import matplotlib.pyplot as plt

    assert some_map.difficulty.values.tolist() == ["0.1", "0.3"]
    computed = some_map.advantage.notnull()
    assert int(computed.sum()) == 1 and bool(computed.sel(difficulty="0.3", group_size=1))
    assert validity.count_cells([some_map]) == {
        "cells": 8,
        "computed": 1,
        "ahead": 1,
        "behind": 0,
        "pays": 1,
        "perhaps": 0,
    }
    fig = figures.plot_validity([some_map])
    left, right = fig.axes[:2]
    for axis in (left, right):
        texts = [text.get_text() for text in axis.texts]
        assert texts.count("not\ncomputed") == 7
        assert [text.splitlines()[-1] for text in texts if text != "not\ncomputed"] == [f"{N} × 2"]
    assert len(left.patches) == 0 and len(right.patches) == 1
    plt.close(fig)
    rows = validity.cell_rows([some_map])
    assert (
        len(rows) == 8
        and sum(row[5] != "" for row in rows) == 1
        and all(len(row) == len(validity.HEADER) for row in rows)
    )


def test_a_map_without_any_cell_is_refused():
    with pytest.raises(ValueError, match="plans: expected at least one cell of"):
        validity.build_map(validity.MAPS[0], {})


def test_the_table_of_all_results_has_every_method_and_n_with_its_seeds():
    joint = xr.concat(
        [results(30, 3, 7, networks=3), results(36, 3, 7, networks=3)], "group_size"
    ).assign_coords(group_size=[1, 16])
    records = tables.ledger_records("shots", results(20, 10, 30), joint)
    assert [(r["solver"], r["n"], r["data_sets"], r["networks"]) for r in records] == [
        ("BFGS", "", 2, ""),
        ("multi-start BFGS", "", 2, ""),
        ("JPO", 1, 2, 3),
        ("JPO", 16, 2, 3),
        ("JPO, refined", 1, 2, 3),
        ("JPO, refined", 16, 2, 3),
    ]
    for record in records:
        assert record["better"] + record["tie"] + record["worse"] == pytest.approx(1)
        assert all(record[f"{rate}_low"] <= record[rate] <= record[f"{rate}_high"] for rate in tables.RATES)
    assert records[-1]["solved"] == pytest.approx(0.9) and records[-1]["better"] == pytest.approx(0.4)
    row = tables.ledger_rows(records)[-1]
    assert len(row) == len(tables.LEDGER_HEADER) and row[3] == "2 × 3" and row[4].startswith("90 (8")


def test_restarts_from_untrained_networks_begin_at_their_answers():
    problem = jpo.wave_packet()
    data = problem.sample_dataset(16, 901)
    answers = untrained_answers(problem, data, 24, 901)
    assert answers.shape == (16, 24, 1) and np.unique(np.asarray(answers[0])).size == 24
    found, _ = run_classical(problem, 16, 901, methods=["MultiStart", "NetworkMultiStart"])
    first = found.sel(solver="NetworkMultiStart").loss_history.isel(evaluation=0)
    expected = [float(problem.objective(answers[i, 0], None, data.y[i])) for i in range(16)]
    np.testing.assert_allclose(first, expected, rtol=1e-5)
    assert not np.allclose(found.sel(solver="MultiStart").loss_history.isel(evaluation=0), expected)
