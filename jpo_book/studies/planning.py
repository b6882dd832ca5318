"""Plans of studies: which cells the profiles ask for."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from typing import Any

import yaml

from jpo_book.files import PACKAGE, reference_folder
from jpo_book.studies.cell import Cell
from jpo_book.studies.store import check
from jpo_book.studies.tournament import tournament_cells
from jpo_lib._checks import check_choice, check_integer
from jpo_lib.problems import PROBLEMS

PARTS = ("settings", "joint", "classical")  # sections of a study and its variants
VARIED = (*PARTS, "group_sizes")  # what a variant of a study may change
PROFILES = PACKAGE / "studies" / "profiles"
_parsed = functools.cache(yaml.safe_load)  # one plan reads the same profiles a hundred times


def profiles() -> list[str]:
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def _read_profile(profile: str) -> dict[str, Any]:
    check_choice("profile", profile, profiles())
    return copy.deepcopy(_parsed((PROFILES / f"{profile}.yaml").read_text(encoding="utf-8")))


def load_profile(profile: str) -> dict[str, Any]:
    """The settings of a profile: the amount of work for each study.

    A mixed profile has those of the profile that it takes for each.
    """
    settings = _read_profile(profile)
    if "first_of" not in settings:
        return settings
    names = dict.fromkeys(name for part in settings["first_of"] for name in _read_profile(part))
    taken = {name: _read_profile(source_profile(name, profile)).get(name) for name in names}
    return {name: work for name, work in taken.items() if work is not None}


def source_profile(study: str, profile: str, *, seed: int = 0) -> str:
    """The profile that a profile takes a study from:
    itself, or for a mixed one the first with all reference results.

    Arguments:
        study: name of a study.
        profile: name of a profile.
        seed: first data seed.
    """
    *preferred, last = _read_profile(profile).get("first_of", [profile])
    for part in preferred:
        cells = plan(study, part, seed=seed)
        if cells and all(check(cell, reference_folder()) == "valid" for cell in cells):
            return part
    return last


STUDIES = sorted(
    {
        name
        for profile in profiles()
        for name, work in _read_profile(profile).items()
        if isinstance(work, dict) and work.get("problem", name) in PROBLEMS
    }
)


def plan(
    study: str,
    profile: str = "laptop",
    *,
    seed: int = 0,
    num_problems: int | None = None,
    group_sizes: Sequence[int] | None = None,
) -> list[Cell]:
    """The cells of a study; none if the profile leaves this study out, because it would take too long.

    Arguments:
        study: a section of the profiles: a name in `jpo_lib.PROBLEMS`, or a further study of such a problem.
        profile: "smoke", "laptop", "paper" or "published".
        seed: first data seed; further data sets take the next ones.
        num_problems: N, instead of the profile's.
        group_sizes: the values of n, instead of the profile's; each must divide N. A profile may also name
            multiples of N: such a group takes further problems in, which are not reported.
    Raises:
        ValueError: if a name is unknown or a size does not fit.
    """
    check_choice("study", study, STUDIES)
    if num_problems is None and group_sizes is None:
        profile = source_profile(study, profile, seed=seed)
    work = load_profile(profile).get(study)
    if work is None:
        return []
    check_integer("seed", seed, 0)
    if work.get("kind") in ("tournament", "finer"):
        return tournament_cells(study, work, seed)
    count = check_integer("num_problems", work["num_problems"] if num_problems is None else num_problems, 1)
    if group_sizes is None:
        sizes = [n for n in work["group_sizes"] if n <= count or num_problems is None]
    else:
        sizes = [check_integer("group_sizes", n, 1) for n in group_sizes]
    for size in sizes:
        if count % size and (group_sizes is not None or size % count):
            nearest = min((n for n in range(1, count + 1) if count % n == 0), key=lambda n: abs(n - size))
            expected = f"divisors of the {count} problems"
            raise ValueError(f"group_sizes: expected {expected}, got {size}; the nearest is {nearest}.")
    variants = work.get("variants", {"": {}})
    for name, change in variants.items():
        if not set(change) <= set(VARIED):
            got = f"{sorted(change)} for {name!r}"
            expected = f"a variant that changes {', '.join(VARIED)}"
            raise ValueError(f"{study}: expected {expected}, got {got}; correct the profile.")
    kind, seeds = work.get("kind", "joint"), tuple(range(work["num_network_seeds"]))
    cells = []
    for data_seed in range(seed, seed + work["num_data_seeds"]):
        for name, change in variants.items():
            options = {part: {**work.get(part, {}), **change.get(part, {})} for part in PARTS}
            # Variants that leave the problem as it is are compared with the same classical results.
            shared = not ({"settings", "classical"} & set(change))
            classical = Cell(
                kind="classical",
                study=study,
                problem=work.get("problem", study),
                settings=options["settings"],
                variant="" if shared else name,
                num_problems=count,
                data_seed=data_seed,
                options=options["classical"],
            )
            if kind == "joint" and classical not in cells:
                cells.append(classical)
            own = {"kind": kind, "variant": name, "network_seeds": seeds, "options": options["joint"]}
            for size in sorted(set(sizes if group_sizes is not None else change.get("group_sizes", sizes))):
                cells.append(classical.model_copy(update={**own, "group_size": size}))
    return cells
