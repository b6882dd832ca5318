"""The cells of the tournament and of the studies that choose its settings."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

import yaml

from jpo_book.files import PACKAGE
from jpo_book.studies.cell import Cell

TUNING_SEED = 900  # of data and of networks
CHOICE = PACKAGE / "studies" / "tournament_choice.json"


@functools.cache
def methods() -> dict[str, dict[str, Any]]:
    """The methods, see tournament.yaml."""
    text = (PACKAGE / "studies" / "tournament.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)["methods"]


@functools.cache
def choice() -> dict[str, dict[str, Any]]:
    """What the tuning studies have selected, by experiment: "settings", {method or "method n": its number},
    and "opponents", {role: (method, n)}."""
    return json.loads(CHOICE.read_text(encoding="utf-8"))


def label(method: str, size: int | None) -> str:
    """A method and n as `choice` names them."""
    return method if size is None else f"{method} {size}"


def tournament_cells(study: str, work: Mapping[str, Any], seed: int) -> list[Cell]:
    """A cell for each method and n. A study "tuning_..." has all settings, another one those that its
    methods name by number, or else the chosen ones.

    Arguments:
        study: its name; what follows the first "_" names the experiment.
        work: its section of a profile.
        seed: first data seed of a tournament.
    """
    kind, _, experiment = study.partition("_")
    first = TUNING_SEED if kind == "tuning" else seed
    cells = []
    for name, method in methods().items():
        problem = work["problem"]
        if problem in method.get("without", ()) or name not in work.get("methods", methods()):
            continue
        seeds = range(work["num_network_seeds"]) if method.get("seeds") else ()
        for size in work["group_sizes"] if method.get("sizes") else [None]:
            grid = method["grid"]
            if isinstance(listed := work.get("methods"), Mapping):
                grid = [grid[listed[name]]]
            elif kind != "tuning":
                chosen = choice().get(experiment, {}).get("settings", {})
                grid = [grid[chosen.get(label(name, size), min(1, len(grid) - 1))]]
            options = {**method["options"], "grid": grid, "num_data_seeds": work["num_data_seeds"]}
            options |= {"targets": work["targets"]} if "targets" in work else {}
            cells.append(
                Cell(
                    kind=work.get("kind", "tournament"),
                    study=study,
                    problem=problem,
                    settings=work.get("settings", {}),
                    variant=name,
                    num_problems=work["num_problems"],
                    data_seed=first,
                    group_size=size,
                    network_seeds=tuple(first + k if kind == "tuning" else k for k in seeds),
                    options=options,
                )
            )
    return cells
