"""Under the title of a chapter, folded: the symbols that it uses, which are the tables of the page "Notation" for this subject."""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx

NOTATION = "notation"
GENERAL = ("Inverse problems", "Joint optimization")
# Sections of the page "Notation" by page; the special ones first, because they overrule the general ones.
SECTIONS = {
    "_executed/01_method": GENERAL,
    "_executed/02_gradient_alignment": ("Theory", *GENERAL),
    "proofs": ("Theory",),
    "_executed/03_wave_packet": ("Wave packet", *GENERAL),
    "_executed/04_billiards": ("Billiards", *GENERAL),
    "_executed/05_kuramoto_sivashinsky": ("Kuramoto–Sivashinsky equation", *GENERAL),
    "_executed/06_navier_stokes": ("Navier–Stokes flow", *GENERAL),
    "_executed/07_when_it_pays": ("Joint optimization",),
    "_executed/08_ablations": GENERAL,
    "_executed/09_generalization": GENERAL,
    "_executed/11_runtime": ("Joint optimization",),
    "_executed/13_your_own_problem": GENERAL,
    "comparison": GENERAL,
}


def tables_of(notation: nodes.document, sections: tuple[str, ...]) -> list[nodes.Node]:
    """For each section its title and its table, without anything that can be linked to."""
    found = {section.next_node(nodes.title).astext(): section for section in notation.findall(nodes.section)}
    result: list[nodes.Node] = []
    for name in sections:
        table = found[name].next_node(nodes.table).deepcopy()
        for node in table.findall(nodes.Element):
            node["ids"], node["names"] = [], []
        result += [nodes.paragraph("", "", nodes.strong("", name)), table]
    return result


def add_symbols(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    title = next(iter(doctree.findall(nodes.title)), None)
    if app.builder.format != "html" or docname not in SECTIONS or title is None:
        return
    place = title.parent.index(title) + 1
    if "reading-time" in title.parent[place].get("classes", []):
        place += 1
    tables = tables_of(app.env.get_doctree(NOTATION), SECTIONS[docname])
    start = nodes.raw("", '<details class="symbols"><summary>Symbols on this page</summary>', format="html")
    title.parent[place:place] = [start, *tables, nodes.raw("", "</details>", format="html")]


def setup(app: Sphinx) -> dict:
    app.connect(
        "doctree-resolved", add_symbols, priority=950
    )  # after the reading time, which does not count them
    return {"parallel_read_safe": True, "parallel_write_safe": True}
