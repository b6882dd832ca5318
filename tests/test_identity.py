"""Identity of code: what cannot change numbers leaves it as it is;
what can makes the cells stale that it reaches, and only those."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("jpo_lib", "jpo_book")
PROBLEMS = ("wave_packet", "billiards", "kuramoto_sivashinsky", "navier_stokes", "lorenz96")
KINDS = {
    "classical": ("jpo_book.studies.run_solvers", "run_classical_cell"),
    "joint": ("jpo_book.studies.run_solvers", "run_joint_cell"),
    "alignment": ("jpo_book.studies.run_alignment", "run_alignment_cell"),
    "generalization": ("jpo_book.studies.run_generalization", "run_generalization_cell"),
    "tournament": ("jpo_book.studies.run_tournament", "run_tournament_cell"),
    "finer": ("jpo_book.studies.run_finer", "run_finer_cell"),
}
EVERYTHING = {(problem, kind) for problem in PROBLEMS for kind in KINDS}
SCRIPT = """
import json, sys
from jpo_book.studies.identity import hash_of_code
problems, kinds = json.loads(sys.argv[1])
pairs = [(p, k, root) for p in problems for k, root in kinds.items()]
print(json.dumps([[p, k, hash_of_code(tuple(root), (f"jpo_lib.problems.{p}", p))] for p, k, root in pairs]))
"""


def hashes(folder):
    """{(problem, kind): hash} of the packages in a folder. The hash reads code and imports none of it."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps([PROBLEMS, KINDS])],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )
    return {(problem, kind): code for problem, kind, code in json.loads(done.stdout)}


@pytest.fixture(scope="module")
def today():
    return hashes(ROOT)


def test_kinds_are_those_of_studies(today):
    from jpo_book import studies
    from jpo_book.studies.cell import RUNNERS
    from jpo_lib import problems

    assert RUNNERS == KINDS and set(problems.PROBLEMS) == set(PROBLEMS)
    assert {(p, k): studies.source_hash(p, k) for p in PROBLEMS for k in KINDS} == today
    assert len(set(today.values())) == len(today)


class Copy:
    """A copy of the packages, to edit."""

    def __init__(self, folder):
        self.folder = folder
        for package in PACKAGES:
            shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))

    def edit(self, module, old, new, count=0):
        path = self.folder / f"{module}.py"
        text, times = re.subn(old, new, path.read_text(), count=count, flags=re.MULTILINE)
        assert times, f"{old} is not in {module}"
        path.write_text(text)

    def rename_everywhere(self, old, new):
        for path in self.folder.rglob("*.py"):
            path.write_text(re.sub(rf"\b{re.escape(old)}\b", new, path.read_text()))


def rename_nested_function(copy):
    copy.edit("jpo_lib/solvers/evaluation", r"\bevaluate_one\b", "for_one_problem")


def rename_local_variable(copy):
    copy.edit("jpo_lib/solvers/bfgs", r"\bcurvature\b", "bending")


def rename_function(copy):
    copy.rename_everywhere("visiting_order", "order_of_visits")


def rename_constant(copy):
    copy.rename_everywhere("MAX_TRIALS", "MOST_TRIALS")


def move_module(copy):
    (copy.folder / "jpo_lib/networks/parts").mkdir()
    (copy.folder / "jpo_lib/networks/parts/__init__.py").touch()
    (copy.folder / "jpo_lib/networks/layers.py").rename(
        copy.folder / "jpo_lib/networks/parts/convolutions.py"
    )
    copy.rename_everywhere("jpo_lib.networks.layers", "jpo_lib.networks.parts.convolutions")


def merge_modules(copy):
    """The layers of networks move into the module of a network that uses them."""
    layers = copy.folder / "jpo_lib/networks/layers.py"
    target = copy.folder / "jpo_lib/networks/energy_centroid.py"
    body = layers.read_text().replace("from __future__ import annotations\n", "")
    target.write_text(
        re.sub(
            r"^from jpo_lib\.networks\.layers import .*$",
            lambda _: body,
            target.read_text(),
            flags=re.MULTILINE,
        )
    )
    layers.unlink()
    copy.rename_everywhere("jpo_lib.networks.layers", "jpo_lib.networks.energy_centroid")


def write_imports_otherwise(copy):
    copy.edit(
        "jpo_lib/problems/wave_packet",
        r"^from jpo_lib\.networks\.energy_centroid import EnergyCentroid1D$",
        "from ..networks import energy_centroid as one",
    )
    copy.edit("jpo_lib/problems/wave_packet", r"\bEnergyCentroid1D\(", "one.EnergyCentroid1D(")
    copy.edit("jpo_lib/problems/billiards", r"^import jax\.numpy as jnp$", "from jax import numpy as xnp")
    copy.edit("jpo_lib/problems/billiards", r"\bjnp\.", "xnp.")


def change_comments_docstrings_and_errors(copy):
    copy.edit("jpo_lib/solvers/bfgs", r'^"""BFGS with', '"""Quasi-Newton with')
    copy.edit(
        "jpo_lib/solvers/bfgs",
        r"^ARMIJO, CURVATURE = 1e-4, 0\.9.*$",
        "ARMIJO, CURVATURE = 1e-4, 0.9  # another comment",
    )
    copy.edit("jpo_lib/_checks", r"pass one", "give one")
    copy.edit(
        "jpo_lib/problem",
        r"def objective\(self, x, context, y\):",
        "def objective(self, x: jax.Array, context: Any, y: jax.Array) -> jax.Array:",
    )


def add_what_nothing_reaches(copy):
    path = copy.folder / "jpo_lib/solvers/bfgs.py"
    path.write_text(path.read_text() + "\n\ndef unused(x):\n    return 2 * ARMIJO * x\n")


@pytest.mark.parametrize(
    "change",
    [
        rename_nested_function,
        rename_local_variable,
        rename_function,
        rename_constant,
        move_module,
        merge_modules,
        write_imports_otherwise,
        change_comments_docstrings_and_errors,
        add_what_nothing_reaches,
    ],
    ids=lambda change: change.__name__,
)
def test_what_cannot_change_numbers_makes_nothing_stale(today, tmp_path, change):
    copy = Copy(tmp_path)
    change(copy)
    assert hashes(tmp_path) == today


def those_of(*problems):
    return {(problem, kind) for problem in problems for kind in KINDS}


def relative_import_of_a_changed_constant(copy):
    """What a relative import, or one of a whole module, brings counts as any other."""
    copy.edit(
        "jpo_lib/problems/wave_packet",
        r"^from jpo_lib\.networks\.energy_centroid import EnergyCentroid1D$",
        "from ..networks.energy_centroid import EnergyCentroid1D",
    )
    copy.edit("jpo_lib/networks/energy_centroid", r"\bkernel_size: int = \d+", "kernel_size: int = 5")


def import_of_a_whole_package(copy):
    copy.edit(
        "jpo_lib/problems/wave_packet",
        r"^from jpo_lib\.networks\.energy_centroid import EnergyCentroid1D$",
        "import jpo_lib.networks.energy_centroid",
    )
    copy.edit(
        "jpo_lib/problems/wave_packet",
        r"\bEnergyCentroid1D\(",
        "jpo_lib.networks.energy_centroid.EnergyCentroid1D(",
    )
    copy.edit("jpo_lib/networks/energy_centroid", r"\bkernel_size: int = \d+", "kernel_size: int = 5")


CHANGES = {
    "constant of all solvers": (("jpo_lib/solvers/bfgs", r"\b1e-4, 0\.9\b", "1e-3, 0.9"), EVERYTHING),
    "default of all solvers": (
        ("jpo_lib/solvers/bfgs", r"max_evaluations: int = 500", "max_evaluations: int = 400"),
        EVERYTHING,
    ),
    "default of a problem": (
        ("jpo_lib/problems/wave_packet", r"noise: float = 0\.1", "noise: float = 0.2"),
        those_of("wave_packet"),
    ),
    "another name under the same": (
        (
            "jpo_lib/problems/wave_packet",
            r"energy_centroid import EnergyCentroid1D",
            "dense import Dense as EnergyCentroid1D",
        ),
        those_of("wave_packet"),
    ),
    "another library under the same name": (
        ("jpo_lib/problems/wave_packet", r"import jax\.numpy as jnp", "import numpy as jnp"),
        those_of("wave_packet"),
    ),
    "a function that two problems share": (
        ("jpo_lib/problems/_spectral", r"\n    return ", "\n    return 1 * "),
        those_of("kuramoto_sivashinsky", "navier_stokes"),
    ),
    "relative import": (relative_import_of_a_changed_constant, those_of("wave_packet")),
    "import of a package": (import_of_a_whole_package, those_of("wave_packet")),
    "a decorator": (
        (
            "jpo_lib/problems/wave_packet",
            r"^@functools\.lru_cache\(maxsize=32\)",
            "@functools.lru_cache(maxsize=31)",
        ),
        those_of("wave_packet"),
    ),
    "what runs when a module is imported": (
        (
            "jpo_lib/problems/wave_packet",
            r"^import jax$",
            "import jax\njax.config.update('jax_enable_x64', True)",
        ),
        those_of("wave_packet"),
    ),
    "one kind of study": (
        ("jpo_book/studies/run_alignment", r"NUM_RECORDED = 9", "NUM_RECORDED = 8"),
        {(problem, "alignment") for problem in PROBLEMS},
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_can_change_numbers_makes_stale_what_it_reaches_and_only_that(today, tmp_path, name):
    change, reached = CHANGES[name]
    copy = Copy(tmp_path)
    if callable(change):
        change(copy)
    else:
        copy.edit(*change)
    now = hashes(tmp_path)
    assert {cell for cell in today if now[cell] != today[cell]} == reached
