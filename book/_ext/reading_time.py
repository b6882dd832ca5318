"""Say under the title how long a page takes to read:
its words at 200 a minute, and half a minute for each figure."""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.application import Sphinx

WORDS_PER_MINUTE = 200
MINUTES_PER_FIGURE = 0.5
WORD = re.compile(r"\w[\w'’.-]*")
# Pages to look things up in; nobody reads them from top to bottom.
LOOKED_UP = ("api", "claims", "glossary", "ledger", "notation", "references", "_executed/12_settings")
SKIPPED = (nodes.literal_block, nodes.math_block, nodes.comment, nodes.raw, nodes.substitution_definition)


def words_of(node: nodes.Node) -> int:
    """Words that a reader reads: not code, not its output, not what is folded away."""
    if isinstance(node, nodes.Text):
        return len(WORD.findall(node.astext()))
    folded = isinstance(node, nodes.Element) and (
        "provenance" in node.get("classes", [])
        or "hide_mode" in node
        or "dropdown" in node.get("classes", [])
    )
    if isinstance(node, SKIPPED) or folded:
        return sum(words_of(caption) for caption in node.findall(nodes.caption)) if folded else 0
    return sum(words_of(child) for child in node.children)


def minutes_of(doctree: nodes.Node) -> int:
    """Minutes that a page takes, at least 1."""
    figures = sum(1 for _ in doctree.findall(nodes.figure))
    return max(1, round(words_of(doctree) / WORDS_PER_MINUTE + MINUTES_PER_FIGURE * figures))


def add_reading_time(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put one line behind the title. At this point all references and numbers are in their place."""
    if app.builder.format != "html" or docname in LOOKED_UP or docname == app.config.root_doc:
        return
    title = next(iter(doctree.findall(nodes.title)), None)
    if title is None:
        return
    minutes = minutes_of(doctree)
    line = nodes.paragraph(
        "", f"{minutes} minute{'s' if minutes > 1 else ''} to read", classes=["reading-time"]
    )
    title.parent.insert(title.parent.index(title) + 1, line)


def setup(app: Sphinx) -> dict:
    app.connect("doctree-resolved", add_reading_time, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
