"""What makes the book comfortable: search for symbols, the way from page to page, copying
code, the preview picture.

These tests need a built book and Chromium, as those of test_book.py.
"""

import re
from urllib.parse import quote

import pytest
from test_book import book_folder, chapters, pages, site  # noqa: F401  (fixtures)


@pytest.mark.parametrize(
    "query, expected",
    [
        ("MultiStart", "api.html"),
        ("group_size", "api.html"),
        ("wilson_interval", "api.html"),
        ("γ", "notation.html"),
        ("gamma", "notation.html"),
        ("t_0", "notation.html"),
        ("crossing point", "glossary.html"),
    ],
)
def test_the_search_finds_names_letters_and_terms(browser, site, query, expected):  # noqa: F811
    page = browser.new_page()
    page.goto(f"{site}search.html?q={quote(query)}", wait_until="load")
    page.wait_for_selector("#search-results ul.search li a", timeout=20_000)
    page.wait_for_function(
        "() => !document.querySelector('#search-results .search-summary')?.textContent.includes('Searching')"
    )
    found = page.eval_on_selector_all(
        "#search-results ul.search li > a", "links => links.map(a => a.getAttribute('href'))"
    )
    page.close()
    assert any(link.split("#")[0].split("?")[0].endswith(expected) for link in found), found


def test_previous_and_next_lead_through_the_whole_book(pages, chapters, book_folder):  # noqa: F811
    """Following "next" from the first page visits each chapter once; "previous" leads back."""
    name, visited = "index.html", []
    while name is not None and name not in visited:
        visited.append(name)
        text = (book_folder / name).read_text(encoding="utf-8")
        folder = name.rpartition("/")[0]
        links = dict(re.findall(r'class="(left-prev|right-next)"\s+href="([^"]+)"', text))
        if len(visited) > 1:
            assert resolve(folder, links["left-prev"]) == visited[-2], (
                f"{name}: previous leads to {links['left-prev']}"
            )
        name = resolve(folder, links["right-next"]) if "right-next" in links else None
    assert sorted(visited) == sorted(chapters)


def resolve(folder, link):
    parts = f"{folder}/{link}".lstrip("/").split("/")
    while ".." in parts:
        k = parts.index("..")
        del parts[k - 1 : k + 1]
    return "/".join(parts)


def test_code_can_be_copied(browser, site):  # noqa: F811
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(f"{site}references.html", wait_until="load")
    block = page.locator("div.highlight:has(> button.copybtn)").first
    block.hover()
    block.locator("button.copybtn").click()
    copied = page.evaluate("() => navigator.clipboard.readText()")
    context.close()
    assert copied.strip().startswith("@misc{holl2024unreasonable") and copied.strip().endswith("}")


def test_each_page_names_the_preview_picture(pages, chapters, book_folder):  # noqa: F811
    picture = (book_folder / "_static" / "social-preview.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    for name in chapters:
        text = (book_folder / name).read_text(encoding="utf-8")
        named = re.search(r'<meta property="og:image" content="([^"]+)"', text)
        assert named is not None
        address = named[1]
        assert (
            address.startswith("http")
            or (book_folder / name).parent.joinpath(address).resolve()
            == (book_folder / "_static" / "social-preview.png").resolve()
        )


def test_terms_lead_to_the_glossary(book_folder, pages):  # noqa: F811
    text = (book_folder / "summary.html").read_text(encoding="utf-8")
    targets = set(re.findall(r'href="glossary\.html#([^"]+)"', text))
    assert targets and targets <= pages["glossary.html"].ids


def test_chapters_say_how_long_they_take(book_folder):  # noqa: F811
    """The page for readers in a hurry keeps its promise."""
    text = (book_folder / "summary.html").read_text(encoding="utf-8")
    minutes = re.search(r'class="reading-time">(\d+) minute', text)
    assert minutes is not None and int(minutes[1]) <= 3
    assert "reading-time" not in (book_folder / "api.html").read_text(encoding="utf-8")


def test_links_show_what_they_lead_to(browser, site):  # noqa: F811
    """A term of the glossary by keyboard, a figure of the same page by pointer;
    Escape and the pointer's leaving close."""
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.goto(f"{site}summary.html", wait_until="load")
    link = page.locator("a.reference.internal:has(> .std-term)").first
    page.keyboard.press("Tab")
    link.focus()
    box = page.locator(".preview[role=tooltip]")
    box.wait_for()
    assert "One network predicts the parameters" in box.inner_text() and link.get_attribute(
        "aria-describedby"
    ) == box.get_attribute("id")
    assert box.locator("mjx-container").count() >= 1, "a formula in it is not set"
    page.keyboard.press("Escape")
    assert box.count() == 0 and link.get_attribute("aria-describedby") is None
    page.goto(f"{site}_executed/03_wave_packet.html", wait_until="load")
    link = page.locator("a.reference.internal[href='#figure-3']").first
    link.hover()
    box.wait_for()
    assert box.locator("img").count() == 1 and "Figure 3" in box.inner_text()
    assert page.evaluate(
        "() => new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size"
        " === document.querySelectorAll('[id]').length"
    )
    box.hover()
    page.wait_for_timeout(600)
    assert box.count() == 1, "it closes under the pointer"
    page.mouse.move(2, 2)
    box.wait_for(state="detached")
    page.close()
