"""From the results of single cells to one data set with axes for data seeds and group sizes.

The cells are those of `jpo_book.studies`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import xarray as xr

from jpo_book.studies.cell import Cell


def combine(cells: Sequence[Cell], loaded: dict[str, xr.Dataset]) -> tuple[xr.Dataset, xr.Dataset]:
    """A study without variants as two data sets: classical solvers (data_seed, solver, problem, ...), and
    joint optimization (data_seed, group_size, solver, network_seed, problem, ...)."""
    classical = [c for c in cells if c.kind == "classical"]
    return _joined(classical, loaded), _joined([c for c in cells if c.kind != "classical"], loaded)


def combine_variants(
    cells: Sequence[Cell], loaded: dict[str, xr.Dataset]
) -> dict[str, tuple[xr.Dataset | None, xr.Dataset]]:
    """`combine` for each variant, by name. Variants that leave the problem as it is share the classical
    results; kinds of studies that have none get None."""
    classical, others = {}, {}
    for cell in cells:
        (classical if cell.kind == "classical" else others).setdefault(cell.variant, []).append(cell)
    result = {}
    for name, part in others.items():
        opponents = classical.get(name) or classical.get("")
        result[name] = (_joined(opponents, loaded) if opponents else None, _joined(part, loaded))
    return result


def _joined(cells: Iterable[Cell], loaded: dict[str, xr.Dataset]) -> xr.Dataset:
    """Cells that differ in their data and in n as one data set, with the axes data_seed and,
    where they have one, n."""
    rows: dict[int, dict[int | None, xr.Dataset]] = {}
    for cell in cells:
        rows.setdefault(cell.data_seed, {})[cell.group_size] = loaded[cell.name]
    seeds = sorted(rows)
    by_seed = [
        next(iter(rows[seed].values())) if None in rows[seed] else _along("group_size", rows[seed])
        for seed in seeds
    ]
    return _along("data_seed", dict(zip(seeds, by_seed)))


def _along(name: str, parts: dict) -> xr.Dataset:
    """Parts by their coordinate on a new axis;
    between recorded numbers of evaluations the best loss stays."""
    axis = xr.DataArray(list(parts), dims=name, name=name)
    numbers = sorted(
        {n for part in parts.values() if "evaluation" in part.dims for n in part.evaluation.values}
    )
    filled: list[xr.Dataset] = [
        part.reindex(evaluation=numbers, method="ffill") if "evaluation" in part.dims else part
        for part in parts.values()
    ]
    return xr.concat(filled, axis, data_vars="all", coords="minimal", compat="override", join="outer")
