"""Make the generated fragments before the pages are read, and refresh what depends on notebooks."""

from __future__ import annotations

import json
import os
from pathlib import Path

from docutils import nodes
from myst_nb.ext.glue.utils import PendingGlueReference
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


def write_fragments(app: Sphinx) -> None:
    """Ledger, claims, verdicts and gallery, from what lies in the repository now.

    In `make book`, `jpo claims` has just judged the claims: its ledger holds.
    """
    from jpo_book.pages import ledger

    book = Path(app.srcdir)
    judged = book.parent / "_build" / "ledger.json"
    if "JPO_BUILD" in os.environ and judged.is_file():
        ledger.write_fragments(book.parent, json.loads(judged.read_text(encoding="utf-8")))
    else:
        ledger.write_ledger(book.parent)


def remember_read(app: Sphinx, env: BuildEnvironment, docnames: list[str]) -> None:
    # Sphinx keeps what an extension sets on its environment.
    env.jpo_read_now = set(docnames)  # pyright: ignore[reportAttributeAccessIssue]


def note_glue(app: Sphinx, doctree: nodes.document) -> None:
    """Record from which notebooks a page takes numbers."""
    # Sphinx keeps what an extension sets on its environment.
    glued = app.env.jpo_glued_from = getattr(app.env, "jpo_glued_from", {})  # pyright: ignore[reportAttributeAccessIssue]
    glued[app.env.docname] = {ref.refdoc for ref in doctree.findall(PendingGlueReference)}


def load_gallery_late(app: Sphinx, doctree: nodes.document) -> None:
    """Pictures of the gallery are fetched when the reader scrolls to them; there will be 25."""
    for image in doctree.findall(nodes.image):
        if image["uri"].startswith("_generated/figures/"):
            image["loading"] = "lazy"


def rewrite_glued(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Pages whose numbers come from a notebook that was read again; Sphinx would leave them stale."""
    changed = getattr(env, "jpo_read_now", set())
    glued = getattr(env, "jpo_glued_from", {})
    return [doc for doc, sources in glued.items() if sources & changed and doc in env.all_docs]


def setup(app: Sphinx) -> dict:
    app.connect("builder-inited", write_fragments)
    app.connect("env-before-read-docs", remember_read)
    app.connect("doctree-read", note_glue)
    app.connect("doctree-read", load_gallery_late)
    app.connect("env-get-updated", rewrite_glued)
    return {"parallel_read_safe": False, "parallel_write_safe": True, "env_version": 1}
