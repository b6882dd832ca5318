"""The small extensions of the book: reading time, picture of the preview, citation."""

import re
import sys

import numpy as np
import pytest
import yaml
from conftest import ROOT
from docutils import nodes

sys.path.insert(0, str(ROOT / "book" / "_ext"))
import reading_time
import social_preview


def page(*content):
    return nodes.section("", nodes.title("", "A title of five words"), *content)


def prose(count):
    return nodes.paragraph("", " ".join(["word"] * count))


def test_reading_time_counts_prose_and_figures_and_leaves_out_code():
    assert reading_time.words_of(page(prose(400))) == 405
    assert reading_time.minutes_of(page(prose(395))) == 2
    code = nodes.literal_block("", " ".join(["code"] * 1000))
    assert reading_time.minutes_of(page(prose(395), code)) == 2
    assert reading_time.minutes_of(page(prose(395), *[nodes.figure() for _ in range(4)])) == 4
    folded = nodes.container("", prose(1000), classes=["provenance"])
    assert reading_time.minutes_of(page(prose(395), folded)) == 2


def test_formulas_in_a_line_are_read_and_displayed_ones_are_not():
    block = nodes.math_block("", "a + b + c + d")
    assert reading_time.words_of(page(block)) == reading_time.words_of(page())
    assert (
        reading_time.words_of(page(nodes.paragraph("", "", nodes.math("", "x"))))
        == reading_time.words_of(page()) + 1
    )


def valleys(losses):
    return int(np.sum((losses[1:-1] < losses[:-2]) & (losses[1:-1] < losses[2:])))


def test_the_preview_shows_that_the_mean_has_fewer_valleys():
    x, losses = social_preview.loss_curves()
    single = np.mean([valleys(one) for one in losses])
    # In the mean of n curves the ripples are smaller by the square root of n.
    ripples = losses - 0.5 * x**2
    assert ripples.mean(axis=0).std() < 2 * ripples.std() / np.sqrt(len(losses))
    assert valleys(losses.mean(axis=0)) <= 3 < single


def test_the_preview_is_the_same_file_each_time(tmp_path):
    for name in ("a.png", "b.png"):
        social_preview.draw(tmp_path / name, "Solving inverse problems together", "a line")
    data = (tmp_path / "a.png").read_bytes()
    assert data == (tmp_path / "b.png").read_bytes() and len(data) < 300_000
    assert tuple(int.from_bytes(data[k : k + 4], "big") for k in (16, 20)) == social_preview.SIZE


@pytest.mark.parametrize(
    "base, expected",
    [
        ("", "../_static/social-preview.png"),
        ("https://example.org/book", "https://example.org/book/_static/social-preview.png"),
    ],
)
def test_the_preview_has_a_full_address_once_there_is_one(base, expected):
    class App:
        class config:
            html_baseurl, html_title = base, 'A <em>book</em> & "more"'

    context = {"pathto": lambda place, resource: f"../{place}", "title": "Page"}
    # Of Sphinx, only these two settings are used.
    social_preview.name_picture(App, "page", "page.html", context, None)  # pyright: ignore[reportArgumentType]
    assert f'<meta property="og:image" content="{expected}" />' in context["metatags"]
    assert 'content="A book &amp; &quot;more&quot;"' in context["metatags"]


def test_the_citation_on_the_page_is_that_of_the_file():
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    text = (ROOT / "book" / "references.md").read_text(encoding="utf-8")
    software = re.search(r"@software\{.*?\n\}", text, re.DOTALL)
    assert software is not None
    entry = software[0]
    assert (
        cff["title"] in entry
        and cff["license"] in entry
        and all(author["name"] in entry for author in cff["authors"])
    )
    paper = (ROOT / "book" / "references.bib").read_text(encoding="utf-8").split("@")[1]
    assert cff["preferred-citation"]["title"] in paper and paper.startswith("misc{holl2024unreasonable")


def test_every_word_with_its_own_letter_is_in_the_notation():
    """Greek letters that pages use as symbols can be searched by name and by letter."""
    text = (ROOT / "book" / "notation.md").read_text(encoding="utf-8")
    used = set(re.findall(r"\\(alpha|beta|gamma|eta|theta|lambda|mu|nu|sigma|omega|nabla)\b", text))
    listed = set(re.findall(r"[α-ωΓ∇] (\w+)", text.split("## Searching")[1]))
    assert used <= listed, used - listed
