"""From the results of single cells to one data set with axes for data seeds and group sizes.

The cells are those of `jpo_book.studies`.
"""

from __future__ import annotations

from collections.abc import Sequence

import xarray as xr


def combine(cells: Sequence, loaded: dict[str, xr.Dataset]) -> tuple[xr.Dataset, xr.Dataset]:
    """A study without variants as two data sets: classical solvers (data_seed, solver, problem, ...), and joint
    optimization (data_seed, group_size, solver, network_seed, problem, ...)."""
    return _joined([c for c in cells if c.kind == "classical"], loaded), _joined(
        [c for c in cells if c.kind != "classical"], loaded
    )


def combine_variants(
    cells: Sequence, loaded: dict[str, xr.Dataset]
) -> dict[str, tuple[xr.Dataset | None, xr.Dataset]]:
    """`combine` for each variant, by name. Variants that leave the problem as it is share the classical results;
    kinds of studies that have none get None."""
    classical = {
        name: [c for c in cells if c.kind == "classical" and c.variant == name]
        for name in {c.variant for c in cells}
    }
    result = {}
    for name in dict.fromkeys(c.variant for c in cells if c.kind != "classical"):
        opponents = classical.get(name) or classical.get("")
        result[name] = (
            _joined(opponents, loaded) if opponents else None,
            _joined([c for c in cells if c.kind != "classical" and c.variant == name], loaded),
        )
    return result


def _joined(cells: Sequence, loaded: dict[str, xr.Dataset]) -> xr.Dataset:
    """Cells that differ in their data and in n as one data set with the axes data_seed and, where they have one, group_size."""

    def concatenated(parts: Sequence[xr.Dataset], axis: xr.DataArray) -> xr.Dataset:
        return xr.concat(
            [_filled(p, parts) for p in parts],
            axis,
            data_vars="all",
            coords="minimal",
            compat="override",
            join="outer",
        )

    data_seeds = sorted({c.data_seed for c in cells})
    rows = []
    for data_seed in data_seeds:
        row = [c for c in cells if c.data_seed == data_seed]
        parts = [loaded[c.name] for c in row]
        sizes = xr.DataArray([c.group_size for c in row], dims="group_size", name="group_size")
        rows.append(parts[0] if row[0].group_size is None else concatenated(parts, sizes))
    return concatenated(rows, xr.DataArray(data_seeds, dims="data_seed", name="data_seed"))


def _filled(part: xr.Dataset, parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """Put a part on the evaluation numbers of all parts; between recorded numbers the best loss stays."""
    if "evaluation" not in part.dims:
        return part
    evaluations = sorted(set().union(*(p.evaluation.values.tolist() for p in parts)))
    return part.reindex(evaluation=evaluations, method="ffill")
