"""The ledger, and the built book as a reader's browser sees it.

The browser tests need a built book: the folder in $JPO_BOOK_HTML, else the one that the fixture
`built_book` makes, else `_build/html`. They need Chromium, too; without it they are skipped, and
they fail when JPO_REQUIRE_BROWSER=1.
"""

from __future__ import annotations

import functools
import html.parser
import http.server
import json
import os
import re
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urljoin, urlsplit

import nbformat
import pytest
import yaml
from page_checks import (
    AXE,
    CONTRAST,
    READY,
    SCREENSHOTS,
    SCROLLS_SIDEWAYS,
    SHOWN,
    TO_THEME,
    TOO_WIDE,
    axe_script,
    look,
)

from jpo_book.pages import ledger

ROOT = Path(__file__).resolve().parents[1]
SVG = "<svg xmlns='http://www.w3.org/2000/svg'/>"


# --- the ledger ---------------------------------------------------------------------------------------------


def figure_cell(label, image=True):
    output = {
        "output_type": "display_data",
        "data": {"image/svg+xml": [SVG]} if image else {"text/plain": "-"},
        "metadata": {},
    }
    return {
        "cell_type": "code",
        "source": "plot()",
        "outputs": [output],
        "metadata": {"mystnb": {"figure": {"caption": "c", "name": label}, "image": {"alt": "a wave"}}},
    }


def table_cell(label):
    text = f"```{{table}} Results\n:name: {label}\n\n| a |\n|---|\n| 1 |\n```"
    return {
        "cell_type": "code",
        "source": "",
        "metadata": {},
        "outputs": [
            {
                "output_type": "execute_result",
                "data": {"text/markdown": text},
                "metadata": {},
                "execution_count": 1,
            }
        ],
    }


def write_notebook(root, stem, cells, digest="0" * 64):
    path = root / "book" / "_executed" / f"{stem}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {
        "jpo": {
            "parameters": {"profile": "smoke", "seed": 0},
            "results": [{"path": "_build/studies/a.nc", "sha256": digest}],
        }
    }
    path.write_text(json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}))


def state(root, item_id, verdicts=lambda root: []):
    return next(i for i in ledger.build_ledger(root, verdicts)["items"] if i["id"] == item_id)


def test_the_registry_holds_every_item_of_the_paper_once():
    items = ledger.load_items()
    counts = {kind: sum(i["kind"] == kind for i in items) for kind in ("figure", "table", "theorem", "claim")}
    assert counts == {"figure": 25, "table": 5, "theorem": 5, "claim": 5}
    assert len({i["id"] for i in items}) == len({i["label"] for i in items}) == 40
    for item in items:
        number = item["id"].removeprefix("C") if item["kind"] == "claim" else item["id"].split()[1]
        assert item["label"] == f"{item['kind']}-{number}"


def test_an_empty_repository_has_only_planned_items(tmp_path):
    items = ledger.build_ledger(tmp_path, lambda root: [])["items"]
    assert {i["status"] for i in items} == {"planned"}
    assert {i["verdict"] for i in items if i["kind"] == "claim"} == {"planned"}


def test_status_follows_the_executed_notebook(tmp_path):
    write_notebook(
        tmp_path,
        "03_wave_packet",
        [figure_cell("figure-3"), figure_cell("figure-7", image=False), table_cell("table-4")],
    )
    built = state(tmp_path, "Figure 3")
    assert (
        built["status"] == "built"
        and built["page"] == "_executed/03_wave_packet.html"
        and built["anchor"] == "figure-3"
    )
    assert built["notebook"] == "notebooks/03_wave_packet.ipynb" and built["parameters"] == {
        "profile": "smoke",
        "seed": 0,
    }
    assert state(tmp_path, "Figure 7")["status"] == "planned", "a label without a picture is not a figure"
    assert state(tmp_path, "Table 4")["status"] == "built"
    assert state(tmp_path, "Figure 4")["status"] == "planned"


def test_a_page_outside_the_table_of_contents_does_not_count(tmp_path):
    write_notebook(tmp_path, "03_wave_packet", [figure_cell("figure-3")])
    (tmp_path / "book" / "_toc.yml").write_text("format: jb-book\nroot: index\nchapters:\n- file: claims\n")
    assert state(tmp_path, "Figure 3")["status"] == "planned"
    (tmp_path / "book" / "_toc.yml").write_text(
        "format: jb-book\nroot: index\nchapters:\n- file: _executed/03_wave_packet\n"
    )
    assert state(tmp_path, "Figure 3")["status"] == "built"


def test_theorems_are_found_by_their_label(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "proofs.md").write_text(
        "```{prf:theorem} Noise\n:label: theorem-1\ntext\n```\nSee theorem-2.\n"
    )
    assert state(tmp_path, "Theorem 1")["status"] == "built"
    assert state(tmp_path, "Theorem 2")["status"] == "planned"


def test_verdicts_reach_the_ledger_and_unknown_words_are_refused(tmp_path):
    verdict = {
        "id": "C1",
        "text": "t",
        "verdict": "partly",
        "effect": 0.5,
        "interval": [0.4, 0.6],
        "rule": "r",
        "fair_baseline": None,
        "results": [{"path": "a.nc", "sha256": "1" * 64}],
    }
    claim = state(tmp_path, "C1", lambda root: [verdict])
    assert (claim["status"], claim["verdict"], claim["interval"], claim["rule"]) == (
        "built",
        "partly",
        [0.4, 0.6],
        "r",
    )
    assert claim["results"] == verdict["results"]
    with pytest.raises(ValueError, match="Expected a verdict"):
        ledger.build_ledger(tmp_path, lambda root: [{**verdict, "verdict": "great"}])


def test_a_changed_result_moves_the_ledger_and_nothing_else_does(tmp_path):
    write_notebook(tmp_path, "03_wave_packet", [figure_cell("figure-3")])
    path = ledger.write_ledger(tmp_path, lambda root: [])
    first, stamp = path.read_bytes(), path.stat().st_mtime_ns
    ledger.write_ledger(tmp_path, lambda root: [])
    assert path.read_bytes() == first and path.stat().st_mtime_ns == stamp
    write_notebook(tmp_path, "03_wave_packet", [figure_cell("figure-3")], digest="1" * 64)
    ledger.write_ledger(tmp_path, lambda root: [])
    assert path.read_bytes() != first
    names = {p.name for p in (tmp_path / "book" / "_generated").iterdir()}
    assert {"ledger_table.md", "claims_table.md", "verdict_strip.md", "gallery.md"} <= names
    assert (tmp_path / "book" / "_generated" / "figures" / "figure-3.svg").read_text() == SVG


def test_lost_fragments_are_made_again_from_the_ledger(tmp_path):
    write_notebook(tmp_path, "03_wave_packet", [figure_cell("figure-3")])
    path, generated = ledger.write_ledger(tmp_path, lambda root: []), tmp_path / "book" / "_generated"
    before = {
        file.relative_to(generated): file.read_bytes() for file in generated.rglob("*") if file.is_file()
    }
    assert any(name.parts[0] == "figures" for name in before)
    shutil.rmtree(generated)
    ledger.write_fragments(tmp_path, json.loads(path.read_text(encoding="utf-8")))
    assert {
        file.relative_to(generated): file.read_bytes() for file in generated.rglob("*") if file.is_file()
    } == before


def test_a_damaged_notebook_is_refused_in_one_sentence(tmp_path):
    write_notebook(tmp_path, "03_wave_packet", [])
    (tmp_path / "book" / "_executed" / "03_wave_packet.ipynb").write_text("{")
    with pytest.raises(ValueError, match=r"Expected an executed notebook in 03_wave_packet\.ipynb"):
        ledger.build_ledger(tmp_path, lambda root: [])


# --- the built book -----------------------------------------------------------------------------------------


class PageParser(html.parser.HTMLParser):
    """Ids, links and images of one page."""

    def __init__(self):
        super().__init__()
        self.ids, self.links, self.files = set(), [], []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if values.get("id"):
            self.ids.add(values["id"])
        if tag == "a" and values.get("href") is not None:
            self.links.append(values["href"])
        if tag in ("img", "script") and values.get("src"):
            self.files.append(values["src"])
        if tag == "link" and values.get("href") and values.get("rel") != "canonical":
            self.files.append(values["href"])


@pytest.fixture(scope="session")
def book_folder(request):
    """The folder with the book's index.html."""
    candidates = [os.environ.get("JPO_BOOK_HTML")]
    if not candidates[0]:
        try:
            candidates = [request.getfixturevalue("built_pages")]
        except pytest.FixtureLookupError:
            candidates = [ROOT / "_build" / "html"]
    for folder in (Path(c) for c in candidates if c):
        for place in (folder, folder / "_build" / "html"):
            if (place / "index.html").is_file():
                return place
    if os.environ.get("JPO_BOOK_HTML") or os.environ.get("JPO_REQUIRE_BROWSER") == "1":
        pytest.fail(
            f"Expected a built book with an index.html in {candidates}, got none; run `make book` first."
        )
    pytest.skip("no built book: run `make book`, or set JPO_BOOK_HTML to the folder of its index.html")


@pytest.fixture(scope="session")
def pages(book_folder):
    """{path: parsed page} of all HTML pages of the book that a reader can open."""
    found = {}
    for path in sorted(book_folder.rglob("*.html")):
        name = path.relative_to(book_folder).as_posix()
        if not name.startswith(("_static/", "_sources/", "reports/")):
            found[name] = PageParser()
            found[name].feed(path.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="session")
def chapters():
    """The pages of the table of contents."""
    toc = (ROOT / "book" / "_toc.yml").read_text(encoding="utf-8")
    return sorted(f"{page}.html" for page in ledger.TOC_ENTRY.findall(toc))


@pytest.fixture(scope="session")
def book_ledger(book_folder):
    return json.loads((book_folder.parent / "ledger.json").read_text(encoding="utf-8"))["items"]


@pytest.fixture(scope="session")
def site(book_folder):
    """The address of a server on this machine that shows the book."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(book_folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


# Read by axe at phone width, too, where columns become blocks and menus hide behind buttons, with the
# contrasts of all texts, and with pictures of all states. Of all other pages, axe reads the wide ones without
# contrasts, and pictures show the wide light and the narrow dark one. CONTRAST and TOO_WIDE look at all
# states of all pages, in a fifth of the time that axe needs for contrasts.
IN_ALL_STATES = {
    "index.html",
    "claims.html",
    "ledger.html",
    "_executed/01_method.html",
    "_executed/07_when_it_pays.html",
}
PICTURES = {(1440, "light"), (390, "dark")}
# Findings that are the theme's and cannot be corrected from here: {(rule, start of the selector): reason}.
NOT_OURS = {}


@pytest.fixture(scope="session")
def visits(browser, site, pages):
    """Each page opened once: wide in light and dark, narrow in dark and light;
    what was seen, with a picture of each."""
    seen, axe = {}, axe_script()
    shutil.rmtree(SCREENSHOTS, ignore_errors=True)
    SCREENSHOTS.mkdir(parents=True)
    context = browser.new_context(
        viewport={"width": 1440, "height": 900}, color_scheme="light", reduced_motion="reduce"
    )
    page, visit = context.new_page(), SimpleNamespace(requests=[], complaints=[])
    page.on("request", lambda request: visit.requests.append(request.url))
    page.on(
        "console", lambda message: visit.complaints.append(message.text) if message.type == "error" else None
    )
    page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    page.on(
        "response",
        lambda reply: visit.complaints.append(f"{reply.status} {reply.url}") if reply.status >= 400 else None,
    )
    for name in pages:
        visit = seen[name] = SimpleNamespace(
            requests=[], complaints=[], pictures={}, axe={}, poor={}, overflow={}, wide={}
        )
        page.set_viewport_size({"width": 1440, "height": 900})
        page.goto(site + name, wait_until="load")
        page.evaluate(READY)
        visit.shown = page.evaluate(SHOWN)
        page.evaluate(axe)
        for width, theme in (
            (1440, "light"),
            (1440, "dark"),
            (390, "dark"),
            (390, "light"),
        ):  # fewest changes on the way
            page.set_viewport_size({"width": width, "height": 844 if width == 390 else 900})
            page.evaluate(TO_THEME, theme)
            visit.poor[width, theme] = page.evaluate(CONTRAST)
            visit.overflow[width, theme] = page.evaluate(SCROLLS_SIDEWAYS)
            visit.wide[width, theme] = page.evaluate(TOO_WIDE)
            if width == 1440 or name in IN_ALL_STATES:
                visit.axe[width, theme] = page.evaluate(
                    AXE, {"onlyColours": theme == "dark", "contrasts": name in IN_ALL_STATES}
                )
            if (width, theme) in PICTURES or name in IN_ALL_STATES:
                look(page, visit, name, width, theme)
            if theme == "dark":
                visit.dark_background = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
                visit.dark_cards = page.evaluate(
                    "() => [...document.querySelectorAll('.bd-article figure img')]"
                    ".map(i => getComputedStyle(i).backgroundColor)"
                )
        page.set_viewport_size({"width": 320, "height": 640})  # small telephones, and text at 400 %
        visit.overflow[320, theme] = page.evaluate(SCROLLS_SIDEWAYS)
        visit.wide[320, theme] = page.evaluate(TOO_WIDE)
    context.close()
    return seen


def test_every_figure_and_table_tells_where_it_comes_from(book_ledger, book_folder):
    for item in book_ledger:
        if item["kind"] in ("figure", "table") and item["status"] == "built":
            assert item["data"] == f"_data/{item['anchor']}.csv"
            lines = [
                line
                for line in (book_folder / item["data"]).read_text().splitlines()
                if not line.startswith("#")
            ]
            assert len(lines) > 2, item["id"]
            page = (book_folder / item["page"]).read_text()
            assert (
                f'../{item["data"]}" download' in page
                and f"jpo run {Path(item['notebook']).stem} --profile" in page
            ), item["id"]


def test_all_chapters_are_there(pages, chapters):
    assert set(chapters) <= set(pages)


def test_links_anchors_and_files_of_the_site_resolve(pages, book_folder):
    broken = []
    for name, page in pages.items():
        for link in page.links + page.files:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or not link or link == "#":
                continue
            target = unquote(urlsplit(urljoin(f"http://book/{name}", link)).path).lstrip("/") or "index.html"
            target += "index.html" if target.endswith("/") else ""
            known = target in pages
            if not known and not (book_folder / target).is_file():
                broken.append(f"{name}: {link}")
            elif known and parts.fragment and unquote(parts.fragment) not in pages[target].ids:
                broken.append(f"{name}: {link} (no such anchor)")
    assert not broken, "\n".join(broken)


def test_pages_and_site_stay_small(pages, book_folder):
    """A page has at most 2 MB with all its pictures, without scripts and fonts; the site 40 MB."""
    for name, page in pages.items():
        pictures = {
            (book_folder / name).parent / unquote(file)
            for file in page.files
            if urlsplit(file).path.endswith((".svg", ".png", ".jpg", ".webp"))
        }
        size = sum(path.stat().st_size for path in [book_folder / name, *pictures] if path.is_file())
        assert size <= 2_000_000, f"{name}: {size / 1e6:.1f} MB"
    assert sum(path.stat().st_size for path in book_folder.rglob("*") if path.is_file()) <= 40_000_000


def test_notebooks_for_download_keep_their_figures_and_leave_out_what_lies_beside_them(book_folder):
    paths = sorted((book_folder / "_sources" / "_executed").glob("*.ipynb"))
    assert {path.stem for path in paths} == {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    figures = 0
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        assert not any("figure_data" in cell.metadata for cell in notebook.cells)
        shown = [
            output.data
            for cell in notebook.cells
            for output in cell.get("outputs", [])
            if "image/svg+xml" in output.get("data", {})
        ]
        assert not any("image/png" in data for data in shown)
        figures += len(shown)
    assert figures >= 25


def test_no_page_asks_another_host(visits, site):
    foreign = [
        f"{name}: {url}"
        for name, v in visits.items()
        for url in v.requests
        if not url.startswith((site, "data:", "blob:"))
    ]
    assert not foreign, "\n".join(foreign)


def test_no_page_loads_anything_from_elsewhere_in_its_markup(pages):
    foreign = [
        f"{name}: {url}"
        for name, page in pages.items()
        for url in page.files
        if urlsplit(url).netloc and not url.startswith("https://creativecommons.org/licenses/")
    ]
    assert not foreign, "\n".join(foreign)


def test_the_browser_has_no_complaint(visits):
    complaints = [f"{name}: {text}" for name, v in visits.items() for text in v.complaints]
    assert not complaints, "\n".join(complaints)


def test_formulas_are_rendered(visits):
    assert sum(v.shown["formulas"] for v in visits.values()) > 10
    for name, visit in visits.items():
        shown = visit.shown
        assert shown["rendered"] == shown["formulas"], (
            f"{name}: {shown['formulas'] - shown['rendered']} formulas are not rendered"
        )
        assert not shown["raw"], f"{name}: TeX is shown as text"
        assert not shown["dollars"], f"{name}: TeX is shown as text, {shown['dollars']}"
        assert not shown["broken"], f"{name}: MathJax reports an error in a formula"


def test_the_numbers_shown_are_those_of_the_ledger(visits, book_ledger):
    for item in book_ledger:
        if item["status"] == "built" and item["kind"] != "claim":
            shown = visits[item["page"]].shown["numbers"].get(item["anchor"])
            assert shown is not None, f"{item['id']} is not on {item['page']}"
            assert shown.split("(")[0].strip() == item["id"], (
                f"{item['page']} shows {shown!r} for {item['id']}"
            )
    for name, visit in visits.items():
        for anchor, text in visit.shown["references"]:
            kind, number = anchor.lstrip("#").split("-")
            assert text == f"{kind.capitalize()} {number.upper()}", (
                f"{name}: a reference to {anchor} reads {text!r}"
            )


def test_claims_have_their_anchor(pages, book_ledger):
    for item in book_ledger:
        if item["kind"] == "claim":
            assert item["anchor"] in pages[item["page"]].ids


def test_every_figure_has_a_text_that_says_what_it_shows(visits):
    missing = [f"{name}: {src}" for name, v in visits.items() for src in v.shown["noAlt"]]
    assert not missing, "\n".join(missing)


def test_images_load_and_controls_have_names(visits):
    assert not [(name, v.shown["emptyImages"]) for name, v in visits.items() if v.shown["emptyImages"]]
    assert not [(name, v.shown["nameless"]) for name, v in visits.items() if v.shown["nameless"]]


def test_nothing_is_wider_than_the_screen(visits):
    wide = [
        f"{name} at {state}: {v.overflow[state]} px too wide, for example {v.wide[state]}"
        for name, v in visits.items()
        for state in v.overflow
        if v.overflow[state] > 0 or v.wide[state]
    ]
    assert not wide, "\n".join(wide)


def test_text_is_readable_in_light_and_dark(visits):
    for name, visit in visits.items():
        for state, poor in visit.poor.items():
            assert not poor, f"{name} at {state}: {poor}"
        red, green, blue = map(int, re.findall(r"\d+", visit.dark_background)[:3])
        assert max(red, green, blue) < 60, f"{name}: the page stays light in dark mode"
        assert set(visit.dark_cards) <= {"rgb(255, 255, 255)"}, f"{name}: a figure without its light card"


def test_axe_finds_nothing_serious_that_is_ours(visits):
    """axe-core's rules, in light and dark; see IN_ALL_STATES and NOT_OURS."""
    found, excused = {}, set()
    for name, visit in visits.items():
        for state, nodes in visit.axe.items():
            for node in nodes:
                excuse = next(
                    (key for key in NOT_OURS if key[0] == node["rule"] and node["target"].startswith(key[1])),
                    None,
                )
                excused.add(excuse)
                if excuse is None:
                    found.setdefault(f"{node['rule']} ({node['help']})", []).append(
                        f"{name} at {state}: {node['target']} {node['html']} {node['why']}"
                    )
    assert not found, "\n".join(
        f"{rule}: {len(places)}\n  " + "\n  ".join(places[:12]) for rule, places in found.items()
    )
    assert set(NOT_OURS) <= excused, "an exception that is no longer needed"


def test_pictures_of_all_pages_show_them(visits, pages):
    """In _build/screenshots, for a person to look at:
    complete, nowhere blank, light pages light and dark ones dark."""
    states = {(width, theme) for width in (390, 1440) for theme in ("light", "dark")}
    for name, visit in visits.items():
        assert set(visit.pictures) == (states if name in IN_ALL_STATES else PICTURES)
        for (width, theme), picture in visit.pictures.items():
            assert picture.size == (width, picture.height), (
                f"{name}: {picture.size} is not the whole page of {picture.height} px"
            )
            assert picture.median < 60 if theme == "dark" else picture.median > 220, (
                f"{name} in {theme}: the typical grey is {picture.median}"
            )
            assert min(picture.contrasts[:-1] or picture.contrasts) > 60, (
                f"{name} at {width} px in {theme}: a screen is blank"
            )
    assert (
        len(list(SCREENSHOTS.glob("*.jpg")))
        == sum(len(visit.pictures) for visit in visits.values())
        >= 2 * len(pages)
    )


def test_links_to_the_repository_follow_one_setting(book_folder, pages):
    url = (yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8")).get("repository") or {}).get(
        "url"
    ) or ""
    text = "".join((book_folder / name).read_text(encoding="utf-8") for name in pages)
    if url:
        assert f"{url.rstrip('/')}/blob/" in text
    else:
        assert (
            "/blob/" not in text and "launch-buttons" not in text and "source-repository-button" not in text
        )
