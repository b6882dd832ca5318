"""The PDF of the whole book: every figure, table and chapter, with the numbers of the site."""

import json
import re
import shutil
import subprocess

import pytest
import yaml
from conftest import make


@pytest.fixture(scope="session")
def pdf(built_book, browser):
    """(clone, pages of the PDF as text); made once, as `make pdf` does."""
    if shutil.which("pdftotext") is None:
        pytest.skip("no pdftotext: install it (on Debian: apt install poppler-utils) to check the PDF")
    done = make(built_book, "pdf", "PROFILE=smoke")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    path = built_book / "_build" / "html" / "book.pdf"
    assert done.stdout.splitlines()[-1] == str(path)
    text = subprocess.run(["pdftotext", "-layout", str(path), "-"], check=True, capture_output=True, text=True).stdout
    return built_book, text.split("\f")[:-1]


def test_every_built_item_is_in_it_under_its_number(pdf):
    clone, pages = pdf
    text = " ".join(" ".join(pages).split())
    items = json.loads((clone / "_build" / "ledger.json").read_text())["items"]
    missing = [item["id"] for item in items if item["status"] == "built" and not re.search(rf"{item['id']}\b", text)]
    assert not missing
    captions = {f"Figure {number}" for number in re.findall(r"^\s*Figure (\d+) ", "\n".join(pages), flags=re.M)}
    figures = {item["id"] for item in items if item["kind"] == "figure" and item["status"] == "built"}
    assert figures <= captions


def test_it_has_pages_for_all_chapters_and_numbers_them(pdf):
    clone, pages = pdf
    chapters = sum(len(part["chapters"]) for part in yaml.safe_load((clone / "book" / "_toc.yml").read_text())["parts"])
    assert chapters < len(pages) < 12 * chapters
    assert f"{len(pages)} / {len(pages)}" in pages[-1]
    assert sum(not page.strip() for page in pages) == 0


def test_the_landing_page_offers_it_and_the_next_build_keeps_it(pdf):
    clone, _ = pdf
    assert 'href="book.pdf" download' in (clone / "_build" / "html" / "index.html").read_text()
    assert "nothing has changed" in make(clone, "book", "PROFILE=smoke").stdout
