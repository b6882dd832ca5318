"""Studies that change one thing at a time: what each variant changed, and whether that counts for or against the default.

The rule, written before the studies were run: a variant is compared with the default on the same problems with the same seeds.
Its effect is its solved rate minus that of the default. The variant counts as better when the 95 % interval of the effect lies above
the margin, as worse when it lies below minus the margin, and as not told apart otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from jpo_book.analysis.resample import bootstrap_interval
from jpo_book.analysis.rules import MARGIN
from jpo_book.words import percent, with_interval
from jpo_lib.metrics import Rate, outcome

DEFAULT = "default"
RESAMPLES = 500
SUBJECTS = {
    "inputs": ("inputs",),
    "network": ("network", "group_size"),
    "training": ("learning_rate", "optimizer", "batch_size"),
}
INPUTS = {"targets": "targets only", "targets+identifiers": "targets and γ", "identifiers": "γ only"}
OPTIMIZERS = {"adam": "Adam", "rmsprop": "RMSprop", "sgd": "gradient descent"}
HEADER = [
    "experiment",
    "change",
    "JPO solved",
    "JPO refined, solved (95 % interval)",
    "refined, better / tie / worse than the default",
    "effect on the raw answers",
    "effect on the refined ones",
]


def changes(cells: Iterable) -> dict[str, dict[str, Any]]:
    """What each variant of a study changed: options that differ from those of the default, by name, and the group size."""
    options = {
        cell.variant: {**cell.options, "group_size": cell.group_size}
        for cell in cells
        if cell.kind == "joint"
    }
    default = options[DEFAULT]
    return {
        variant: {name: value for name, value in own.items() if default.get(name) != value}
        for variant, own in options.items()
    }


def label(change: Mapping[str, Any]) -> str:
    """A change as text."""
    ordered = sorted(change.items(), key=lambda item: item[0] != "optimizer")
    return " at ".join(_words(name, value) for name, value in ordered) or DEFAULT


def _words(name: str, value) -> str:
    if name == "inputs":
        return INPUTS[value]
    if name == "network":
        rest = [
            f"{key} {number}" for key, number in value.items() if key not in ("architecture", "equivariant")
        ]
        return " with ".join(
            [
                *([value["architecture"]] if "architecture" in value else []),
                *(["no symmetry"] if "equivariant" in value else []),
                *rest,
            ]
        )
    if name == "group_size":
        return "a network per problem" if value == 1 else f"n = {value}"
    if name == "learning_rate":
        return f"rate {value:g}"
    return f"batch of {value}" if name == "batch_size" else OPTIMIZERS[value]


def about(cells: Iterable, subject: str) -> dict[str, dict[str, Any]]:
    """The variants that changed a subject ("inputs", "network" or "training") and nothing else, the default first."""
    return {
        variant: change for variant, change in changes(cells).items() if set(change) <= set(SUBJECTS[subject])
    }


def rows_of(
    cells: Sequence, combined: Mapping[str, tuple[xr.Dataset, xr.Dataset]], subject: str
) -> list[tuple[str, xr.Dataset]]:
    """Label and results of the variants about a subject, for `figures.plot_variants`."""
    names = {DEFAULT: "targets only (default)"} if subject == "inputs" else {}
    return [
        (names.get(variant, label(change)), combined[variant][1].isel(group_size=0, drop=True))
        for variant, change in about(cells, subject).items()
    ]


def rates_of(
    cells: Sequence, combined: Mapping, default_rate: float
) -> dict[str, list[tuple[float, xr.Dataset]]]:
    """Learning rate and results by optimizer, for `figures.plot_rates`; variants that change the batch are left out."""
    points: dict[str, list] = {}
    for variant, change in about(cells, "training").items():
        if "batch_size" not in change:
            rate = change.get("learning_rate", default_rate)
            points.setdefault(change.get("optimizer", "adam"), []).append(
                (rate, combined[variant][1].isel(group_size=0, drop=True))
            )
    return {optimizer: sorted(values, key=lambda point: point[0]) for optimizer, values in points.items()}


def effect(variant: xr.Dataset, default: xr.Dataset, solver: str = "JointRefined") -> dict[str, Any]:
    """Solved rate of a variant minus that of the default, with its 95 % interval and the verdict of the rule.

    Arguments:
        variant, default: solved (data_seed, group_size, solver, network_seed, problem) on the same problems with the same seeds.
        solver: whose answers are compared.
    Returns:
        {"value", "low", "high", "verdict"}; the verdict is "better", "worse" or "not told apart".
    """
    runs = [
        study.solved.sel(solver=solver)
        .isel(group_size=0)
        .transpose("data_seed", "network_seed", "problem")
        .values
        for study in (variant, default)
    ]
    difference = (runs[0].astype(float) - runs[1]).reshape(-1, runs[0].shape[-1])
    low, high = bootstrap_interval(difference, num_resamples=RESAMPLES)
    verdict = "better" if low > MARGIN else "worse" if high < -MARGIN else "not told apart"
    return {"value": float(difference.mean()), "low": low, "high": high, "verdict": verdict}


def table_rows(
    title: str, cells: Sequence, combined: Mapping[str, tuple[xr.Dataset, xr.Dataset]]
) -> list[list[str]]:
    """A row for each variant of a study, see `HEADER`."""
    default = combined[DEFAULT][1]
    rows = []
    for variant, change in changes(cells).items():
        own = combined[variant][1]
        raw = own.solved.sel(solver="Joint")
        signs = outcome(
            *(
                study.isel(group_size=0).sel(solver="JointRefined")[kind].values
                for study in (own, default)
                for kind in ("loss", "solved")
            )
        )
        effects = (
            [""] * 2
            if variant == DEFAULT
            else [_text(effect(own, default, solver)) for solver in ("Joint", "JointRefined")]
        )
        rows.append(
            [
                title,
                label(change),
                percent(float(raw.mean())),
                _solved(own.sel(solver="JointRefined")),
                " / ".join(percent(float(np.mean(signs == sign))) for sign in (1, 0, -1)),
                *effects,
            ]
        )
    return rows


def _solved(study: xr.Dataset) -> str:
    return with_interval(Rate(int(study.solved.sum()), study.solved.size))


def _text(found: Mapping[str, Any]) -> str:
    return f"{found['value']:+.2f} ({found['low']:+.2f} to {found['high']:+.2f}): {found['verdict']}"


def summary(cells: Sequence, combined: Mapping, subject: str, solver: str = "Joint") -> dict[str, str]:
    """Which variants about a subject are better and worse than the default, and not told apart from it, as lists in words."""
    found: dict[str, list[str]] = {"better": [], "worse": [], "not told apart": []}
    for variant, change in about(cells, subject).items():
        if variant != DEFAULT:
            found[effect(combined[variant][1], combined[DEFAULT][1], solver)["verdict"]].append(label(change))
    return {verdict: ", ".join(names) or "none" for verdict, names in found.items()}


def summaries(runs: Mapping[str, tuple[Sequence, Mapping]], subject: str, solver: str) -> dict[str, str]:
    """`summary` for several experiments, each named."""
    each = {name: summary(cells, combined, subject, solver) for name, (cells, combined) in runs.items()}
    return {
        verdict: "; ".join(
            f"{name}: {found[verdict]}" for name, found in each.items() if found[verdict] != "none"
        )
        or "none"
        for verdict in ("better", "worse", "not told apart")
    }


def _batches(cells: Sequence) -> dict[str, int | None]:
    """Batch size of the default, None, and of each variant that changed nothing else."""
    return {
        variant: change.get("batch_size")
        for variant, change in about(cells, "training").items()
        if set(change) <= {"batch_size"}
    }


def batches_of(cells: Sequence, combined: Mapping) -> list[tuple[str, xr.Dataset]]:
    """Label, with the evaluations per problem, and results of the batch sizes, for `figures.plot_variants`."""
    rows = []
    for variant, size in _batches(cells).items():
        study = combined[variant][1].isel(group_size=0, drop=True)
        spent = float(study.num_evaluations.sel(solver="Joint").mean())
        rows.append(
            (f"{DEFAULT if size is None else _words('batch_size', size)}: {spent:.0f} evaluations", study)
        )
    return rows


def smallest_batches(runs: Mapping[str, tuple[Sequence, Mapping]]) -> str:
    """What the smallest batch of each experiment solves after refinement, and at what cost, beside the default. The size was not chosen by results."""
    found = []
    for name, (cells, combined) in runs.items():
        sizes = {variant: size for variant, size in _batches(cells).items() if size is not None}
        if sizes:
            smallest = min(sizes, key=sizes.__getitem__)
            refined = [combined[variant][1].sel(solver="JointRefined") for variant in (smallest, DEFAULT)]
            own, default = (
                f"{_solved(study)} with {float(study.num_evaluations.mean()):.0f} evaluations per problem"
                for study in refined
            )
            found.append(f"{name}, {_words('batch_size', sizes[smallest])}: {own}, the default {default}")
    return "; ".join(found) or "none computed"


def sizes_rows(runs: Mapping[str, tuple[Sequence, Mapping]]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: how much was computed for each experiment."""
    rows = []
    for name, (cells, combined) in runs.items():
        default = combined[DEFAULT][1]
        cell = next(cell for cell in cells if cell.variant == DEFAULT)
        rows.append(
            [
                name,
                str(cell.group_size),
                str(cell.options["num_steps"]),
                str(default.sizes["data_seed"]),
                str(default.sizes["network_seed"]),
                str(len(combined) - 1),
            ]
        )
    return ["experiment", "problems n = N", "training steps", "data seeds", "network seeds", "variants"], rows
