"""Numbers of results are computed, never typed: digits in sentences about results must come from glue.

Numbers that are chosen (a threshold, a setting, a definition) are listed in
chosen_numbers.json, sentence by sentence.
"""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# A sentence speaks of results when it holds one of these words.
RESULT = re.compile(
    r"\b(solv\w*|better|worse|cheap\w*|cost\w*|evaluations?|faster|slower|rate|rates|error|errors|agree\w*|aligned|alignment|seconds|minutes)\b|%",
    re.I,
)
# Not a measured number: what is defined, referred to, or written as code or as a formula.
EXPLAINED = [
    r"\{glue(:\w+)?\}`[^`]*`",
    r"\{(numref|doc|cite|cite:\w+|prf:ref|eq|ref|source|term)\}`[^`]*`",
    r"`[^`]*`",
    r"\$\$.*?\$\$",
    r"\$[^$]*\$",
    r"\]\([^)]*\)",
    r"<[^>]*>",
    r"(Figures?|Tables?|Theorems?|Eqs?\.|Chapters?|Sections?|Python|CUDA|Jupyter Book|MIT|CC BY|C[1-5]|arXiv)"
    r"[\s(]*[\d.]+[a-d]?( (and|to) [\d.]+)?",
    r"\b95 %",
    r"\b2-?[dD]\b",
    r"\b(19|20)\d\d\b",
    r"\b\d+-bit\b",
    r"\bfloat(32|64)\b",
    r"\bSHA-256\b",
]


def texts():
    """(place, text) of everything that a reader sees as prose:
    pages, Markdown cells, captions and alternative texts."""
    for path in sorted((ROOT / "book").glob("*.md")):
        yield path.name, path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "markdown":
                yield path.name, "".join(cell["source"])
            shown = cell["metadata"].get("mystnb", {})
            for text in (shown.get("figure", {}).get("caption", ""), shown.get("image", {}).get("alt", "")):
                yield path.name, text


def typed_numbers(text):
    """Sentences about results with digits that nothing explains."""
    text = re.sub(r"(`{3,})\{math\}.*?\1", " ", text, flags=re.S)
    text = re.sub(r"^(`{3,})(?!\{).*?^\1", " ", text, flags=re.S | re.M)
    text = re.sub(r"^---\n.*?\n---\n", " ", text, flags=re.S)
    text = re.sub(r"^\s*(\d+\.|[-*#>]+|%.*|:[a-z-]+:.*)\s*", " ", text, flags=re.M)
    for pattern in EXPLAINED:
        text = re.sub(pattern, " # ", text, flags=re.S)
    for sentence in re.split(r"(?<=[.!?:])\s+|\n\n+|\n\s*[|]", text):
        sentence = " ".join(sentence.split())
        if re.search(r"\d", sentence) and RESULT.search(sentence):
            yield sentence


CHOSEN = json.loads((Path(__file__).with_name("chosen_numbers.json")).read_text(encoding="utf-8"))


def test_no_result_is_typed_by_hand():
    found = {}
    for place, text in texts():
        for sentence in typed_numbers(text):
            if not any(known in sentence for known in CHOSEN.get(place, [])):
                found.setdefault(place, []).append(sentence)
    assert not found, json.dumps(found, indent=1, ensure_ascii=False)


def test_every_exception_is_still_needed():
    sentences = {}
    for place, text in texts():
        sentences.setdefault(place, []).extend(typed_numbers(text))
    unused = {
        place: known
        for place, all_known in CHOSEN.items()
        for known in all_known
        if not any(known in sentence for sentence in sentences.get(place, []))
    }
    assert not unused


@pytest.mark.parametrize(
    "text, typed",
    [
        ("JPO solves 97 % of the problems.", True),
        ("JPO solves {glue:text}`refined-solved` of the problems.", False),
        ("It needs 14 evaluations with $n = 4096$.", True),
        ("The grid has 128 points.", False),
        ("A 95 % interval of the solved rate.", False),
        ("{numref}`figure-7` shows which are solved.", False),
    ],
)
def test_the_test_itself(text, typed):
    assert bool(list(typed_numbers(text))) == typed
