"""A cell: one piece of work of a study, what computes it, and the identity of that code."""

from __future__ import annotations

import importlib
import inspect
import json
from typing import Any, Literal

import pydantic
import xarray as xr

from jpo_book.files import sha256
from jpo_book.studies.identity import hash_of_code
from jpo_lib.problems import PROBLEMS

FORMAT = "jpo-study-1"

# What computes the cells of each kind: a module and a function in it, (problem, cell) -> (results, seconds of
# each part). What it reaches decides the numbers.
RUNNERS = {
    "classical": ("jpo_book.studies.run_solvers", "run_classical_cell"),
    "joint": ("jpo_book.studies.run_solvers", "run_joint_cell"),
    "alignment": ("jpo_book.studies.run_alignment", "run_alignment_cell"),
    "generalization": ("jpo_book.studies.run_generalization", "run_generalization_cell"),
    "tournament": ("jpo_book.studies.run_tournament", "run_tournament_cell"),
    "finer": ("jpo_book.studies.run_finer", "run_finer_cell"),
}


class Cell(pydantic.BaseModel, frozen=True, extra="forbid"):
    """One piece of work of a study, and so one result file."""

    study: str
    problem: str
    settings: dict[str, Any] = {}
    variant: str = ""
    kind: Literal["classical", "joint", "alignment", "generalization", "tournament", "finer"]
    num_problems: int
    data_seed: int
    group_size: int | None = None
    network_seeds: tuple[int, ...] = ()
    options: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """File name below the folder of studies, without its ending; unique by the settings."""
        digest = sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True))[:10]
        size = "" if self.group_size is None else f"-n{self.group_size:05d}"
        variant = f"{self.variant}-" if self.variant else ""
        return f"{self.study}/{variant}{self.kind}{size}-seed{self.data_seed}-{digest}"

    def family(self, **changes):
        """The family of problems, with some settings changed."""
        return PROBLEMS[self.problem](**{**self.settings, **changes})

    def run(self) -> tuple[xr.Dataset, dict[str, float]]:
        """Compute the results and the seconds that each method took."""
        module, function = RUNNERS[self.kind]
        run = getattr(importlib.import_module(module), function)
        return run(self.family(), self)


def source_hash(problem: str, kind: str = "joint") -> str:
    """Hash of all code of ours that decides the numbers of a problem's cells of a kind, see `identity`."""
    family = inspect.unwrap(PROBLEMS[problem])
    return hash_of_code(RUNNERS[kind], (family.__module__, family.__qualname__))
