"""pyproject.toml, the locks and environment.yml say the same, and none holds an address."""

import importlib.util
import re
import sys
import tomllib
from importlib.metadata import version

import pytest
import yaml
from conftest import ROOT
from packaging.markers import Marker
from packaging.requirements import Requirement

REQUIREMENTS = ROOT / "requirements"
LOCKS = {
    "cpu.lock": ("notebooks", "book", "test", "cluster"),
    "cuda13.lock": ("notebooks", "book", "test", "cluster", "cuda13"),
    "bench.lock": ("notebooks", "bench"),
}
FILES = [
    "pyproject.toml",
    "environment.yml",
    *(f"requirements/{path.name}" for path in REQUIREMENTS.iterdir()),
]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

spec = importlib.util.spec_from_file_location("environment_yml", ROOT / "workflow" / "environment_yml.py")
assert spec is not None and spec.loader is not None
environment_yml = importlib.util.module_from_spec(spec)
spec.loader.exec_module(environment_yml)


def direct(extras):
    lines = [
        *PROJECT["dependencies"],
        *(line for extra in extras for line in PROJECT["optional-dependencies"][extra]),
    ]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("lock", LOCKS)
def test_lock_satisfies_pyproject(lock, python):
    versions = environment_yml.locked_versions(lock, python)
    for wanted in [*direct(LOCKS[lock]), Requirement("hatchling>=1.27"), Requirement("editables>=0.5")]:
        assert wanted.name.lower() in versions, f"{wanted} is not in {lock}: run make lock"
        assert wanted.specifier.contains(versions[wanted.name.lower()], prereleases=True), (
            f"{wanted}: run make lock"
        )


def test_benchmarks_measure_the_versions_that_the_book_uses():
    book, bench = (environment_yml.locked_versions(lock) for lock in ("cpu.lock", "bench.lock"))
    shared = book.keys() & bench.keys()
    assert {"jax", "jaxlib", "numpy"} <= shared
    assert {name: book[name] for name in shared} == {name: bench[name] for name in shared}


def test_the_book_needs_no_software_that_it_is_compared_with():
    assert not {"exponax", "phiflow", "jax-cfd"} & environment_yml.locked_versions("cpu.lock").keys()


def test_every_extra_is_in_a_lock():
    assert set(PROJECT["optional-dependencies"]) == set().union(*LOCKS.values())


@pytest.mark.parametrize("lock", [*LOCKS, "bootstrap.lock", "oldest.lock"])
def test_every_entry_has_hashes(lock):
    text = (REQUIREMENTS / lock).read_text()
    entries = re.split(r"\n(?=\S)", text.strip())
    assert len(entries) > 0
    for entry in entries:
        head, *hashes = entry.split("\\\n")
        assert re.fullmatch(r"[\w.-]+==\S+( ; .+)? ", head), head
        assert hashes and all(re.fullmatch(r"\s+--hash=sha256:[0-9a-f]{64}\s*", line) for line in hashes), (
            head
        )
        if " ; " in head:
            Marker(head.partition(" ; ")[2].strip())


def test_environment_yml_is_made_from_them():
    text = (ROOT / "environment.yml").read_text()
    assert text == environment_yml.environment_yml(), "environment.yml is out of date: run make lock"
    pinned = next(entry["pip"] for entry in yaml.safe_load(text)["dependencies"] if isinstance(entry, dict))
    assert "-e ." in pinned
    assert {line.partition("==")[0] for line in pinned} >= {
        wanted.name.lower() for wanted in direct(("notebooks", "book", "test"))
    }


@pytest.mark.parametrize("name", FILES)
def test_no_address(name):
    text = (ROOT / name).read_text()
    assert not re.search(r"https?://|index-url|find-links|trusted-host|file:", text)


def test_installed_versions_are_the_locked_ones():
    versions = environment_yml.locked_versions(python=f"{sys.version_info.major}.{sys.version_info.minor}")
    for wanted in direct(("notebooks", "book", "test")):
        assert version(wanted.name) == versions[wanted.name.lower()], f"{wanted.name}: run make env"
