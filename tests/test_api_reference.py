"""Each public name says what it computes, names all its arguments,
and the page of the library shows all of them."""

import inspect
import re
import sys

import pytest
from conftest import ROOT

import jpo_lib
from jpo_book import studies

sys.path.insert(0, str(ROOT / "book" / "_ext"))
from docstrings import own_docstring, parse, signature_of

PUBLIC = {**dict.fromkeys(jpo_lib.__all__, jpo_lib), "load_or_run": studies, "plan": studies}
OBJECTS = {
    name: getattr(home, name) for name, home in PUBLIC.items() if not isinstance(getattr(home, name), dict)
}
CALLED = sorted(set(OBJECTS) - {"Status"})
# What implements a published method or experiment must say which; the rest is bookkeeping of our own.
FROM_ELSEWHERE = (
    "Adam",
    "BFGS",
    "EnsembleSmoother",
    "GaussNewton",
    "GrowingWindows",
    "InverseProblem",
    "JointOptimization",
    "LBFGS",
    "billiards",
    "kuramoto_sivashinsky",
    "lorenz96",
    "navier_stokes",
    "simulate_shot",
    "wave_packet",
    "wilson_interval",
)
COMPUTES = sorted({*FROM_ELSEWHERE, "Dataset", "GradientDescent", "Result", "compare", "solve"})


@pytest.mark.parametrize("name", sorted(OBJECTS))
def test_begins_with_a_sentence_or_an_equation(name):
    doc = parse(own_docstring(OBJECTS[name]))
    assert len(doc.first) > 20 and doc.first[-1] in ".:)", doc.first
    if name in COMPUTES:
        assert doc.starts_with_equation, f"{name}: the first line states no equation: {doc.first}"


@pytest.mark.parametrize("name", CALLED)
def test_names_all_arguments_and_no_others(name):
    documented = parse(own_docstring(OBJECTS[name])).names
    assert documented == set(inspect.signature(OBJECTS[name]).parameters)


@pytest.mark.parametrize("name", FROM_ELSEWHERE)
def test_names_its_source(name):
    source = parse(own_docstring(OBJECTS[name])).sections["Source"]
    assert re.search(r"\(\d{4}\).*(doi:10\.|arXiv \d{4}\.\d{4,5})|see `jpo_lib\.", source), source


@pytest.mark.parametrize("name", CALLED)
def test_says_what_it_refuses(name):
    """A function or class that checks its input lists the error."""
    thing = inspect.unwrap(OBJECTS[name])
    if "raise ValueError" in inspect.getsource(thing) or "check_" in inspect.getsource(thing):
        members = (
            [own_docstring(value) for value in vars(thing).values() if inspect.isfunction(value)]
            if inspect.isclass(thing)
            else []
        )
        assert any("Raises:" in text for text in [own_docstring(thing), *members])


@pytest.mark.parametrize("owner", ["InverseProblem", "Result"])
def test_public_methods_are_described(owner):
    for name, method in vars(OBJECTS[owner]).items():
        if inspect.isfunction(method) and not name.startswith("_"):
            doc = parse(own_docstring(method))
            assert doc.names == set(inspect.signature(method).parameters) - {"self"}, f"{owner}.{name}"


def test_the_page_lists_each_public_name_once():
    text = (ROOT / "book" / "api.md").read_text(encoding="utf-8")
    listed = [
        name.strip() for block in re.findall(r"```\{jpo-api\} ([^`]+)", text) for name in block.split(",")
    ]
    assert sorted(listed) == sorted(PUBLIC)


def test_the_reader_of_docstrings_keeps_everything():
    doc = parse(
        "a = b.\n\nText\nmore.\n\n    code()\n\n"
        "Arguments (all open):\n    x, y: first\n        and second.\n    z: third.\n"
        "Returns:\n    a number.\n\nSource: Someone (2000),\ndoi:10.1/x."
    )
    assert doc.first == "a = b." and doc.starts_with_equation and doc.note == "all open"
    assert doc.paragraphs == [(False, "Text more."), (True, "code()")]
    assert doc.arguments == {"x, y": "first and second.", "z": "third."} and doc.names == {"x", "y", "z"}
    assert doc.sections == {"Returns": "a number.", "Source": "Someone (2000), doi:10.1/x."}
    with pytest.raises(ValueError, match="Expected a docstring"):
        parse("  ")


def test_long_signatures_are_broken_between_arguments():
    def long(
        first_argument,
        second_argument=1,
        *,
        third_argument="a long default value",
        fourth_argument=(1.0, 2.0),
    ):
        pass

    text = signature_of(long, "long", width=60)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 60 and len(lines) > 3
    assert [
        part
        for line in lines[1:-1]
        for part in line.strip().rstrip(",").split(", ")
        if "1.0" not in part and "2.0" not in part
    ] == ["first_argument", "second_argument=1", "*", "third_argument='a long default value'"]
