"""A built tree is damaged at random, again and again: the next `make book` ends with the same site, and makes
no more than what the damage needs.

JPO_DAMAGES says how many (4), JPO_DAMAGES_SEED which ones (0), JPO_DAMAGED a built clone to take as it is
instead of a copy of the one of the tests.
"""

import os
import random
import re
import shutil
import sys
from pathlib import Path

import pytest
from conftest import ROOT, book

from jpo_book.studies import STUDIES

sys.path.insert(0, str(ROOT / "workflow"))
import inputs

NUMBER, SEED = int(os.environ.get("JPO_DAMAGES", "4")), int(os.environ.get("JPO_DAMAGES_SEED", "0"))
AFTER = {"ledger", "book"}
# What a build makes: folder -> which of its files are drawn.
PLACES = {
    "_build": "*.*",
    "_build/html": "**/*",
    "_build/studies": "**/*",
    "book/_executed": "*",
    "book/_generated": "**/*",
    ".snakemake": "**/*",
    ".cache": "**/*",
}
KINDS = ("remove", "cut", "change", "future", "past", "remove folder")
# What differs from run to run: how long something took, and hashes over files that say so.
VOLATILE = (
    r"(Run time</p></td>\s*<td><p>)[^<]*",
    r"(Run time \| )[^|]*",
    r'("(?:seconds|seal)": )[^,\n]*',
    r"()\b[0-9a-f]{40}\b(?: with uncommitted changes)?",  # where a clone was built at several commits
    r"(>commit )[0-9a-f]{8}",
)
MEASURED = ("11_runtime", "figure-25", "table-5", "searchindex")  # times are what they show or list


def below(root, pattern="**/*"):
    return sorted(p for p in root.glob(pattern) if p.is_file() and "/.venv/" not in str(p))


def site(clone):
    """{path: what a reader gets} without what is volatile."""
    folder, found = clone / "_build" / "html", {}
    measured = (folder / "_executed" / "11_runtime.html").read_text()
    for path in below(folder):
        data = path.read_bytes()
        if path.suffix in (".html", ".ipynb"):
            for pattern in VOLATILE:
                data = re.sub(pattern.encode(), rb"\1-", data)
        if any(name in path.name for name in MEASURED):
            data = b"measured" if data else b"nothing"
        if path.suffix != ".svg" or path.name not in measured:
            found[path.relative_to(folder).as_posix()] = data
    return found


def draw(clone, rng):
    """A damage: (kind, path)."""
    kind = rng.choice(KINDS)
    place = rng.choice([place for place in PLACES if (clone / place).is_dir()])
    files = below(clone / place, PLACES[place])
    path = rng.choice(files) if files else clone / place
    return ("remove folder", rng.choice([path.parent, clone / place])) if kind == KINDS[-1] else (kind, path)


def damage(kind, path, rng):
    if kind == "remove folder":
        shutil.rmtree(path)
    elif kind == "remove":
        path.unlink()
    elif kind in ("future", "past"):
        shift = 5 * 3600 if kind == "future" else -5 * 365 * 86400
        when = path.stat().st_mtime + shift
        os.utime(path, (when, when))
    else:
        data = bytearray(path.read_bytes())
        middle = rng.randrange(len(data) + 1)
        path.write_bytes(data[: len(data) // 2] if kind == "cut" else data[:middle] + b"%" + data[middle:])


def needed(clone, kind, lost):
    """What has to be made after some files were damaged: studies, stems of notebooks, "ledger", "book"."""
    if kind in ("future", "past"):
        return set()
    need = set()
    for path in (file.relative_to(clone).as_posix() for file in lost):
        if path.startswith("_build/studies/"):
            cell = path.removeprefix("_build/studies/").rpartition(".")[0]
            shown = [
                n
                for n in inputs.list_notebooks()
                if cell.split("/")[0] in inputs.studies_of(n, sorted(STUDIES))
            ]
            need |= {cell, *(notebook.stem for notebook in shown)} | AFTER
        elif path.startswith("book/_executed/"):
            need |= {file.stem for file in lost if file.parent.name == "_executed"} | AFTER
        elif path.startswith(("book/_generated/", "_build/ledger.json", "_build/book.json")):
            need |= AFTER
        elif path.startswith("_build/html/"):
            need |= {"book"}
    return need


def made(out):
    """What a build has made, from its lines."""
    found = set(re.findall(r"^(?:notebook|study) +(\S+) .* s$", out, re.MULTILINE))
    found |= {"ledger"} if re.search(r"^ledger .* s$", out, re.MULTILINE) else set()
    return found | ({"book"} if re.search(r"^book +pages .* s$", out, re.MULTILINE) else set())


@pytest.fixture(scope="module")
def tree(request, tmp_path_factory):
    if "JPO_DAMAGED" in os.environ:
        clone = Path(os.environ["JPO_DAMAGED"])
    else:
        clone = tmp_path_factory.mktemp("damaged") / "a clone"
        shutil.copytree(request.getfixturevalue("built_book"), clone, symlinks=True)
    book(clone)
    return clone, site(clone)


@pytest.mark.damages
@pytest.mark.parametrize("number", range(NUMBER))
def test_a_damage_is_mended_and_costs_no_more_than_it_needs(tree, number):
    clone, before = tree
    rng = random.Random(f"{SEED} {number}")
    kind, path = draw(clone, rng)
    if path == clone / "_build" and kind == "remove folder":
        need, lost = None, []
    else:
        lost = below(path) if path.is_dir() else [path]
        need = needed(clone, kind, lost)
    damage(kind, path, rng)
    out, seconds = book(clone)
    done, after = made(out), site(clone)
    print(f"\n{number}: {kind} {path.relative_to(clone)}: made {sorted(done)} in {seconds:.0f} s")
    different = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    assert not different, f"{kind} {path}: {different}\n{out}"
    assert need is None or done <= need, f"{kind} {path}: {sorted(done - need)} were made\n{out}"
    assert "nothing has changed" in book(clone)[0]
