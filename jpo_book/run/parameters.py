"""Strict runs of the notebooks: every mistake is found before anything starts,
and no half-written page is left.

A notebook names its parameters in one code cell with the tag `parameters`, each with a type,
a default and a comment:

    seed: int = 0  # first data seed

A run puts the given values behind that cell, executes all cells in a fresh process, appends a block that says
how the page was made, and only then moves the result to its place.
"""

from __future__ import annotations

import ast
import difflib
import io
import json
import tokenize
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pydantic

from jpo_book.files import PACKAGE, InputError
from jpo_book.run.sources import all_notebooks


def _sizes(example: list[int]) -> tuple[Callable[[typing.Any], bool], str]:
    return lambda v: min(v, default=0) >= 1, f"a list of whole numbers of at least 1, such as {example}"


_POSITIVE = (lambda v: v >= 1, "a whole number of at least 1")
# What a parameter of this name must fulfil in every notebook: a test and what it expects.
RANGES: dict[str, tuple[Callable[[typing.Any], bool], str]] = {
    "seed": (lambda v: 0 <= v < 2**31, "a whole number from 0 to 2147483647"),
    **dict.fromkeys(("num_problems", "num_seeds", "num_steps", "width"), _POSITIVE),
    "group_sizes": _sizes([1, 16]),
    "widths": _sizes([128, 4096]),
}


class Parameter(typing.NamedTuple):
    """One line of the `parameters` cell: its name, its type as written and evaluated,
    its default and its comment."""

    name: str
    annotation: str
    type: typing.Any
    default: typing.Any
    help: str


def list_profiles() -> list[str]:
    """Names of the profiles, the least work first."""
    known = {path.stem: None for path in sorted((PACKAGE / "studies" / "profiles").glob("*.yaml"))}
    return list({name: None for name in ("smoke", "laptop", "paper") if name in known} | known)


def nearest(name: str, known: Sequence[str]) -> str:
    """A hint for a mistyped name: the nearest of the known ones, or all of them."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else f"use one of {', '.join(known) or '(there are none)'}."


def check_profile(name: str) -> str:
    """Return the name when it is a profile; raises InputError with the nearest one otherwise."""
    if name not in list_profiles():
        raise InputError(f"Expected a profile, got '{name}': {nearest(name, list_profiles())}")
    return name


def find_notebook(name: str) -> Path:
    """The notebook of this path or stem ('03_wave_packet');
    raises InputError with the nearest stem otherwise."""
    if name.endswith(".ipynb") and Path(name).is_file():
        return Path(name).resolve()
    stems = {path.stem: path for path in all_notebooks()}
    stem = Path(name).name.removesuffix(".ipynb")
    if stem in stems and name in (stem, f"{stem}.ipynb", f"notebooks/{stem}.ipynb"):
        return stems[stem]
    raise InputError(f"Expected a notebook (a path or a stem), got '{name}': {nearest(stem, list(stems))}")


def read_notebook(path: Path) -> typing.Any:
    """Parse a notebook file; raises InputError when it is none."""
    import nbformat

    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # nbformat raises many kinds
        sentence = f"Expected a notebook in {path.name}, got a file that cannot be read: restore it."
        raise InputError(sentence) from error
    return notebook


def read_parameters(path: Path) -> list[Parameter]:
    """The parameters of a notebook, read from its tagged cell without running it.

    Raises InputError when there is not exactly one such cell or
    when a line lacks its type, default or comment.
    """
    cells = [c for c in read_notebook(path).cells if "parameters" in c.metadata.get("tags", [])]
    if len(cells) != 1:
        raise InputError(
            f"Expected one cell with the tag 'parameters' in {path.name}, got {len(cells)}: add the tag."
        )
    try:
        tokens = tokenize.generate_tokens(io.StringIO(cells[0].source).readline)
        comments = {t.end[0]: t.string.lstrip("# ").strip() for t in tokens if t.type == tokenize.COMMENT}
        lines = ast.parse(cells[0].source).body
        return [_parameter(line, comments.get(line.end_lineno or 0)) for line in lines]
    except (SyntaxError, tokenize.TokenError, ValueError, NameError, TypeError) as error:
        expected = f"lines such as 'seed: int = 0  # first data seed' in the parameters cell of {path.name}"
        raise InputError(f"Expected {expected}, got '{error}': correct the cell.") from error


def _parameter(line: ast.stmt, comment: str | None) -> Parameter:
    if not isinstance(line, ast.AnnAssign) or line.value is None or not comment:
        raise SyntaxError(ast.unparse(line))
    annotation = ast.unparse(line.annotation)
    # The notebook's own code, as running it would be.
    evaluated = eval(annotation, {"Literal": typing.Literal})
    return Parameter(ast.unparse(line.target), annotation, evaluated, ast.literal_eval(line.value), comment)


def check_parameters(path: Path, given: Mapping[str, typing.Any]) -> dict[str, typing.Any]:
    """Check values for the parameters of a notebook; see `check_values`."""
    return check_values(read_parameters(path), given, path.stem)


def check_values(
    parameters: Sequence[Parameter], given: Mapping[str, typing.Any], owner: str
) -> dict[str, typing.Any]:
    """Check values, strictly: 1e3 is no whole number and 007 is not 7.

    parameters: those that there are.
    given: values by name; a text stands for the value it spells, as on the command line.
    owner: what the parameters belong to, for the messages.

    Returns the values, parsed. Raises InputError for an unknown name, a wrong type, a value out of range.
    """
    known = {parameter.name: parameter for parameter in parameters}
    values = {}
    for name, value in given.items():
        if name not in known:
            raise InputError(f"Expected a parameter of {owner}, got '{name}': {nearest(name, list(known))}")
        values[name] = _checked_value(known[name], value, owner)
    complete = {p.name: p.default for p in parameters} | values
    if isinstance(complete.get("profile"), str):
        check_profile(complete["profile"])
    count = complete.get("num_problems")
    for size in complete.get("group_sizes") or []:
        if count and count % size:
            expected = f"group_sizes that divide num_problems = {count}"
            raise InputError(f"Expected {expected}, got {size}: change one of the two.")
    return values


def _checked_value(parameter: Parameter, value: typing.Any, owner: str) -> typing.Any:
    config = pydantic.ConfigDict(strict=True, allow_inf_nan=False)
    adapter = pydantic.TypeAdapter(parameter.type, config=config)
    fits, expected = RANGES.get(parameter.name, (lambda v: True, parameter.annotation))
    try:
        checked = _spelled(adapter, value) if isinstance(value, str) else adapter.validate_python(value)
        if checked is None or fits(checked):
            return checked
    except (pydantic.ValidationError, TypeError):
        pass
    default = parameter.default
    advice = "leave it out" if default is None else f"give a value such as {json.dumps(default)}"
    what = f"the parameter {parameter.name} of {owner}"
    raise InputError(f"Expected {expected} for {what}, got '{value}': {advice}.")


def _spelled(adapter: pydantic.TypeAdapter, value: str) -> typing.Any:
    """The value that a text spells: JSON (Python's None, True and False too), or the text itself."""
    try:
        return adapter.validate_json({"None": "null", "True": "true", "False": "false"}.get(value, value))
    except pydantic.ValidationError:
        return adapter.validate_python(value)
