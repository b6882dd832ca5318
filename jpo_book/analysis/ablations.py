"""Studies that change one thing at a time: what each variant changed,
and whether that counts for or against the default.

The rule, written before the studies were run: a variant is compared with the default on the same problems
with the same seeds. Its effect is its solved rate minus that of the default. The variant counts as better
when the 95 % interval of the effect lies above the margin, as worse when it lies below minus the margin, and
as not told apart otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import xarray as xr

from jpo_book.analysis.resample import Estimate, compared, mean, rate
from jpo_book.analysis.rules import TABLES, side_of_margin
from jpo_book.names import METHODS
from jpo_book.words import difference_with_interval, percent, shares, with_interval

DEFAULT = "default"
HEADER, SUBJECTS, INPUTS = (TABLES["ablations"][name] for name in ("header", "subjects", "inputs"))
OPTIMIZERS = {"adam": METHODS["Adam"].label, "rmsprop": "RMSprop", "sgd": METHODS["GradientDescent"].label}
VERDICTS = {1: "better", -1: "worse", 0: "not told apart"}
# Cells and results by experiment.
Runs = Mapping[str, tuple[Sequence, Mapping[str, tuple[xr.Dataset, xr.Dataset]]]]


def changes(cells: Iterable) -> dict[str, dict[str, Any]]:
    """What each variant of a study changed: options that differ from the default's, by name,
    and the group size."""
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
        parts = [value["architecture"]] if "architecture" in value else []
        parts += ["no symmetry"] if "equivariant" in value else []
        sizes = {key: size for key, size in value.items() if key not in ("architecture", "equivariant")}
        return " with ".join([*parts, *(f"{key} {size}" for key, size in sizes.items())])
    if name == "group_size":
        return "a network per problem" if value == 1 else f"n = {value}"
    if name == "learning_rate":
        return f"rate {value:g}"
    return f"batch of {value}" if name == "batch_size" else OPTIMIZERS[value]


def about(cells: Iterable, subject: str) -> dict[str, dict[str, Any]]:
    """The variants that changed a subject ("inputs", "network" or "training")
    and nothing else, the default first."""
    own = set(SUBJECTS[subject])
    return {variant: change for variant, change in changes(cells).items() if set(change) <= own}


def _results(combined: Mapping, variant: str) -> xr.Dataset:
    """Results of joint optimization with a variant, for its one n."""
    return combined[variant][1].isel(group_size=0, drop=True)


def variants_about(cells: Sequence, combined: Mapping, subject: str) -> list[tuple[str, xr.Dataset]]:
    """Label and results of the variants about a subject, for `figures.plot_variants`."""
    names = {DEFAULT: "targets only (default)"} if subject == "inputs" else {}
    return [
        (names.get(variant, label(change)), _results(combined, variant))
        for variant, change in about(cells, subject).items()
    ]


def learning_rates(
    cells: Sequence, combined: Mapping, default_rate: float
) -> dict[str, list[tuple[float, xr.Dataset]]]:
    """Learning rate and results by optimizer, for `figures.plot_rates`;
    variants that change the batch are left out."""
    points: dict[str, list] = {}
    for variant, change in about(cells, "training").items():
        if "batch_size" not in change:
            rate = change.get("learning_rate", default_rate)
            points.setdefault(change.get("optimizer", "adam"), []).append((rate, _results(combined, variant)))
    return {optimizer: sorted(values, key=lambda point: point[0]) for optimizer, values in points.items()}


def effect(variant: xr.Dataset, default: xr.Dataset, solver: str = "JointRefined") -> tuple[Estimate, str]:
    """Solved rate of a variant minus that of the default, and the verdict of the rule.

    Arguments:
        variant, default: solved (data_seed, group_size, solver, network_seed, problem),
            same problems and seeds.
        solver: whose answers are compared.
    Returns:
        the difference, and "better", "worse" or "not told apart".
    """
    own, usual = (
        study.solved.sel(solver=solver).isel(group_size=0, drop=True).astype(float)
        for study in (variant, default)
    )
    found = mean(own - usual)
    return found, VERDICTS[side_of_margin(*found.interval)]


def comparison_rows(title: str, cells: Sequence, combined: Mapping) -> list[list[str]]:
    """A row for each variant of a study, see `HEADER`."""
    default = combined[DEFAULT][1]
    rows = []
    for variant, change in changes(cells).items():
        own = combined[variant][1]
        refined, usual = (study.isel(group_size=0).sel(solver="JointRefined") for study in (own, default))
        effects = ["", ""]
        if variant != DEFAULT:
            found = [effect(own, default, solver) for solver in ("Joint", "JointRefined")]
            effects = [f"{difference_with_interval(one)}: {verdict}" for one, verdict in found]
        raw = percent(float(own.solved.sel(solver="Joint").mean()))
        solved = with_interval(rate(refined.solved))
        rows.append([title, label(change), raw, solved, shares(compared(refined, usual).values), *effects])
    return rows


def summary(cells: Sequence, combined: Mapping, subject: str, solver: str = "Joint") -> dict[str, str]:
    """The variants about a subject that are better, worse and not told apart from the default,
    as lists in words."""
    found: dict[str, list[str]] = {verdict: [] for verdict in VERDICTS.values()}
    for variant, change in about(cells, subject).items():
        if variant != DEFAULT:
            found[effect(combined[variant][1], combined[DEFAULT][1], solver)[1]].append(label(change))
    return {verdict: ", ".join(names) or "none" for verdict, names in found.items()}


def summaries(runs: Runs, subject: str, solver: str) -> dict[str, str]:
    """`summary` for several experiments, each named."""
    each = {name: summary(cells, combined, subject, solver) for name, (cells, combined) in runs.items()}
    told = {
        verdict: [f"{name}: {found[verdict]}" for name, found in each.items() if found[verdict] != "none"]
        for verdict in VERDICTS.values()
    }
    return {verdict: "; ".join(parts) or "none" for verdict, parts in told.items()}


def _batches(cells: Sequence) -> dict[str, int | None]:
    """Batch size of the default, None, and of each variant that changed nothing else."""
    return {
        variant: change.get("batch_size")
        for variant, change in about(cells, "training").items()
        if set(change) <= {"batch_size"}
    }


def batch_sizes(cells: Sequence, combined: Mapping) -> list[tuple[str, xr.Dataset]]:
    """Label, with the evaluations per problem, and results of the batch sizes, for
    `figures.plot_variants`."""
    rows = []
    for variant, size in _batches(cells).items():
        study, name = _results(combined, variant), DEFAULT if size is None else _words("batch_size", size)
        spent = float(study.num_evaluations.sel(solver="Joint").mean())
        rows.append((f"{name}: {spent:.0f} evaluations", study))
    return rows


def smallest_batches(runs: Runs) -> str:
    """What the smallest batch of each experiment solves after refinement,
    and at what cost, beside the default.

    The size was not chosen by results.
    """
    found = []
    for name, (cells, combined) in runs.items():
        sizes = {variant: size for variant, size in _batches(cells).items() if size is not None}
        if sizes:
            smallest = min(sizes, key=sizes.__getitem__)
            refined = [_results(combined, one).sel(solver="JointRefined") for one in (smallest, DEFAULT)]
            own, default = (
                f"{with_interval(rate(study.solved))} with {float(study.num_evaluations.mean()):.0f} "
                "evaluations per problem"
                for study in refined
            )
            found.append(f"{name}, {_words('batch_size', sizes[smallest])}: {own}, the default {default}")
    return "; ".join(found) or "none computed"


def sizes_rows(runs: Runs) -> tuple[list[str], list[list[str]]]:
    """Header and rows: how much was computed for each experiment."""
    rows = []
    for name, (cells, combined) in runs.items():
        cell = next(cell for cell in cells if cell.variant == DEFAULT)
        seeds = (combined[DEFAULT][1].sizes[f"{kind}_seed"] for kind in ("data", "network"))
        numbers = (cell.group_size, cell.options["num_steps"], *seeds, len(combined) - 1)
        rows.append([name, *map(str, numbers)])
    return TABLES["ablations"]["sizes"], rows
