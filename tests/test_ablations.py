"""Ablations: what a variant changed is read from its settings, and the rule tells gains from chance."""

import equinox as eqx
import jax
import numpy as np
import pytest
import xarray as xr

import jpo_lib as jpo
from jpo_book import studies
from jpo_book.analysis import ablations
from jpo_book.studies.run_solvers import with_network

PLANNED = {
    (profile, name): cells
    for profile in studies.profiles()
    for name in studies.STUDIES
    if name.endswith("_ablations") and (cells := studies.plan(name, profile))
}


def results(rate: float, seed: int, problems: int = 120) -> xr.Dataset:
    generator = np.random.default_rng(seed)
    shape = (2, 1, 3, 3, problems)
    dims = ("data_seed", "group_size", "solver", "network_seed", "problem")
    solved = generator.random(shape) < rate
    return xr.Dataset(
        {
            "solved": (dims, solved),
            "loss": (dims, np.where(solved, 0.1, 10.0)),
            "num_evaluations": (dims, np.full(shape, 5)),
        },
        coords={"solver": ["Joint", "JointRefined", "NetworkStart"], "group_size": [problems]},
    )


@pytest.mark.parametrize("rate, verdict", [(0.9, "better"), (0.2, "worse"), (0.5, "not told apart")])
def test_the_rule_tells_gains_from_chance(rate, verdict):
    found, said = ablations.effect(results(rate, 1), results(0.5, 2))
    assert said == verdict and found.low < rate - 0.5 < found.high


def test_a_variant_that_is_the_default_has_no_effect_at_all():
    found, said = ablations.effect(results(0.5, 1), results(0.5, 1))
    assert (found.value, *found.interval, said) == (0, 0, 0, "not told apart")


@pytest.mark.parametrize("profile, name", PLANNED)
def test_every_variant_can_be_run_and_changes_one_thing(profile, name):
    """All networks of the profiles can be made, whatever the profile; nothing is trained here."""
    cells = PLANNED[profile, name]
    problem = jpo.PROBLEMS[cells[0].problem](**cells[0].settings)
    changed = ablations.changes(cells)
    assert changed["default"] == {}
    for cell in cells:
        if cell.kind == "joint" and cell.data_seed == cells[0].data_seed:
            options = {
                key: value for key, value in with_network(problem, cell.options).items() if key != "compact"
            }
            solver = jpo.JointOptimization(group_size=cell.group_size, **options)
            assert solver.batch_for(cell.group_size) <= cell.group_size
            if solver.network is not None:
                network = eqx.filter_eval_shape(solver.network, jax.random.key(0))
                assert len(jax.tree.leaves(network)) > 0
            # The rate belongs to the optimizer; everything else changes alone.
            assert len(set(changed[cell.variant]) - {"optimizer"}) <= 1
    labels = [ablations.label(change) for change in changed.values()]
    assert len(set(labels)) == len(labels)
    # Every variant is shown in one of the figures.
    shown = {variant for subject in ablations.SUBJECTS for variant in ablations.about(cells, subject)}
    assert shown == set(changed)


def test_the_lists_of_the_text_follow_the_results():
    cells = PLANNED["smoke", "wave_packet_ablations"]
    combined = {cell.variant: (xr.Dataset(), results(0.5, 2)) for cell in cells if cell.kind == "joint"}
    combined["dense"] = xr.Dataset(), results(0.1, 3)
    combined["adam-10"] = xr.Dataset(), results(0.95, 4)
    assert ablations.summary(cells, combined, "network") == {
        "better": "none",
        "worse": "dense",
        "not told apart": "a network per problem",
    }
    training = ablations.summaries({"waves": (cells, combined)}, "training", "Joint")
    assert training["better"] == "waves: rate 0.01" and training["worse"] == "none"
    rates = ablations.learning_rates(cells, combined, 1e-3)
    assert {optimizer: [rate for rate, _ in points] for optimizer, points in rates.items()} == {
        "adam": [1e-3, 1e-2],
        "sgd": [1e-3],
    }
    rows = ablations.comparison_rows("waves", cells, combined)
    assert len(rows) == len(combined) and all(len(row) == len(ablations.HEADER) for row in rows)


def test_the_smallest_batch_is_set_beside_the_default_with_its_cost():
    cells = PLANNED["paper", "kuramoto_sivashinsky_ablations"]
    combined = {cell.variant: (xr.Dataset(), results(0.5, 2)) for cell in cells if cell.kind == "joint"}
    cheap = results(1.0, 3)
    combined["batch-8"] = xr.Dataset(), cheap.assign(num_evaluations=cheap.num_evaluations - 3)
    text = ablations.smallest_batches({"waves": (cells, combined)})
    assert (
        text.startswith("waves, batch of 8: 100")
        and "with 2 evaluations per problem, the default " in text
        and text.endswith("with 5 evaluations per problem")
    )
    assert ablations.smallest_batches({}) == "none computed"
