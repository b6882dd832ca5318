"""Imports point one way, and files stay short."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# A room is a module or a folder of a package. It knows itself and rooms of a lower rank; `__init__`
# and `__main__` know all.
RANKS = {
    "jpo_lib": [
        {"_checks", "_progress", "_processors", "result", "dataset"},
        {"problem", "metrics"},
        {"networks", "theory"},
        {"problems", "solvers"},
    ],
    "jpo_book": [
        {"names", "words", "files"},
        {"hermetic", "verification"},
        {"studies", "run", "measure"},
        {"analysis"},
        {"figures"},
        {"pages", "interactive"},
        {"cli"},
    ],
}
MOST_LINES = 400
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in RANKS
    for path in sorted((ROOT / package).rglob("*.py"))
}


def imports(name):
    """The modules of both packages that a module imports, at its top or in a function."""
    path = MODULES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            found |= {
                f"{module}.{alias.name}" if f"{module}.{alias.name}" in MODULES else module
                for alias in node.names
            }
    return {module for module in found if module.split(".")[0] in RANKS}


def room(module):
    """("jpo_lib", "solvers") of "jpo_lib.solvers.bfgs"; the package itself has the room ""."""
    package, _, rest = module.partition(".")
    return package, rest.partition(".")[0]


def rank(module):
    package, name = room(module)
    found = [number for number, rooms in enumerate(RANKS[package]) if name in rooms]
    assert found, f"{module}: {name!r} is no room of {package}; give it a rank"
    return found[0]


def test_the_library_knows_nothing_of_the_book():
    for name in MODULES:
        if room(name)[0] == "jpo_lib":
            assert not [module for module in imports(name) if room(module)[0] == "jpo_book"], name


@pytest.mark.parametrize("package", RANKS)
def test_rooms_know_only_rooms_of_a_lower_rank(package):
    wrong = []
    for name in MODULES:
        if room(name)[0] == package and room(name)[1] not in ("", "__main__"):
            others = {
                module
                for module in imports(name)
                if room(module)[0] == package and room(module)[1] and room(module) != room(name)
            }
            wrong += [f"{name} imports {module}" for module in sorted(others) if rank(module) >= rank(name)]
            rank(name)
    assert not wrong, wrong


def test_no_module_imports_itself_in_a_circle_and_no_file_is_long():
    try:
        tuple(TopologicalSorter({name: imports(name) for name in MODULES}).static_order())
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}
    assert max(lengths.values()) <= MOST_LINES, {
        name: length for name, length in lengths.items() if length > MOST_LINES
    }
