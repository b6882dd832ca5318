"""`make pdf`: the whole book as one PDF, printed by Chromium from a single page
that Sphinx makes of all chapters.

    .venv/bin/python workflow/pdf.py

The pages, their numbers and their formulas are those of the site, because the same programs make both. The
book must be built before (`make book`). The PDF goes to _build/html/book.pdf, and the landing page gets a
link to it.
"""

import functools
import http.server
import json
import shutil
import subprocess
import sys
import threading
import time

from build import BUILD, PAGES, ROOT, STAMP, Failure, digests, environment, only_build, read_stamp

from jpo_book import hermetic
from jpo_book.files import write_atomically

TARGET = PAGES / "book.pdf"
MARK = '<div class="pdf-download"></div>'
LINK = '<div class="pdf-download"><a href="book.pdf" download>The whole book as PDF</a> ({size} MB)</div>'
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FOOTER = (
    '<div style="width: 100%; font: 8px sans-serif; color: #555; text-align: center">'
    '<span class="pageNumber"></span> / <span class="totalPages"></span></div>'
)
# Links between chapters become links within the document, the gallery would repeat the figures, and pictures
# that wait for the reader are fetched now.
PREPARE = """async () => {
  for (const a of document.querySelectorAll('a[href^="index.html#"]'))
    a.setAttribute("href", a.getAttribute("href").slice(10));
  for (const gallery of document.querySelectorAll(".gallery")) {
    if (gallery.previousElementSibling?.matches("h2")) gallery.previousElementSibling.remove();
    gallery.remove();
  }
  document.querySelectorAll("img[loading=lazy]").forEach(i => i.loading = "eager");
  await Promise.all([...document.images].map(i => i.decode().catch(() => null)));
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  await document.fonts.ready;
}"""


def single_page(scratch):
    """All chapters as one HTML page; returns its folder."""
    shutil.rmtree(scratch, ignore_errors=True)
    start = "from jupyter_book.cli.main import main; main()"
    given = ["--config", "_config.yml", "--builder", "singlehtml", "--quiet"]
    target = ["--path-output", str(scratch.relative_to(ROOT))]
    command = [sys.executable, "-c", start, "build", "book", *given, *target]
    kept = {"env": environment(), "cwd": ROOT, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run(command, stdout=subprocess.PIPE, **kept)
    folder = scratch / "_build" / "singlehtml"
    if done.returncode or not (folder / "index.html").is_file():
        raise Failure(f"the chapters could not be put on one page:\n{done.stdout[-3000:]}")
    return folder


def print_page(folder, target):
    """Print the page with Chromium. It is served from this machine, since scripts do not load from files."""
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        raise Failure(
            "expected Chromium, got none: install it (on Debian: apt install chromium) and try again."
        )
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise Failure("expected the package playwright, got none: run make env.") from None

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(
            color_scheme="light", reduced_motion="reduce", viewport={"width": 1000, "height": 1400}
        )
        page.set_default_timeout(300_000)
        page.goto(f"http://127.0.0.1:{server.server_port}/index.html", wait_until="load")
        page.emulate_media(media="print")
        page.evaluate(
            "() => Object.assign(document.documentElement.dataset, {theme: 'light', mode: 'light'})"
        )
        page.evaluate(PREPARE)
        page.pdf(
            path=str(target),
            format="A4",
            print_background=True,
            display_header_footer=True,
            header_template="<span></span>",
            footer_template=FOOTER,
            margin={"top": "18mm", "bottom": "18mm", "left": "16mm", "right": "16mm"},
            tagged=True,
            outline=True,
            scale=0.8,
        )
        browser.close()
    server.shutdown()


def offer(target):
    """Put a link to the PDF on the landing page, and keep the stamp by which `make book` knows
    that nothing has changed."""
    index = PAGES / "index.html"
    text = index.read_text(encoding="utf-8")
    if MARK in text:
        link = LINK.format(size=f"{target.stat().st_size / 1e6:.0f}")
        write_atomically(index, text.replace(MARK, link))
    write_atomically(STAMP, json.dumps({**read_stamp(), "pages": digests(PAGES)}))


def main():
    started = time.monotonic()
    with only_build():
        if not read_stamp() or not (PAGES / "index.html").is_file():
            raise Failure("expected a complete book, got none: run make book first.")
        scratch = BUILD / "render-pdf"
        try:
            page = single_page(scratch)
            write_atomically(TARGET, lambda new: print_page(page, new))
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        offer(TARGET)
    print(f"{'pdf':<64} {time.monotonic() - started:7.1f} s\n{TARGET}")


if __name__ == "__main__":
    try:
        hermetic.seal("make pdf")
        main()
    except Failure as failure:
        sys.exit(f"make pdf: {failure}")
    except OSError as error:
        sys.exit(
            f"make pdf: {error.strerror or error}: {error.filename or ROOT}; correct this and try again."
        )
