"""List the addresses outside the site to which the built book links, and try each: `make links` needs a network.

Prints a line for each address: what came back, the address, and the first page that links to it. Ends with 1 if one fails.
"""

import concurrent.futures
import re
import sys
import urllib.error
import urllib.request
from html import unescape
from pathlib import Path

PAGES = Path(__file__).resolve().parent.parent / "_build" / "html"
LINK = re.compile(r"""<a\s[^>]*?href=["'](https?://[^"'#]+)""")


def external_links(folder):
    """{address: name of the first page that links to it}, sorted."""
    found = {}
    for path in sorted(folder.rglob("*.html")):
        if "_static" not in path.relative_to(folder).parts:
            for address in LINK.findall(path.read_text(encoding="utf-8")):
                found.setdefault(unescape(address), path.relative_to(folder).as_posix())
    return dict(sorted(found.items()))


def answer(address):
    """The status of an address, or what went wrong."""
    request = urllib.request.Request(address, headers={"User-Agent": "Mozilla/5.0 (link check of a book)"})
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError as error:
        return str(getattr(error, "reason", error))


def main():
    links = external_links(PAGES)
    if not links:
        sys.exit(f"make links: expected a built book in {PAGES}, got none: run make book.")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = dict(zip(links, pool.map(answer, links)))
    for address, page in links.items():
        print(f"{answers[address]}  {address}  ({page})")
    # Some publishers refuse programs; that says nothing about the link.
    sys.exit(any(status not in (200, 401, 403, 418, 429) for status in answers.values()))


if __name__ == "__main__":
    main()
