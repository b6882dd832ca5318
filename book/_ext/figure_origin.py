"""Under each figure and table of a notebook's page: the notebook, the parameters, the data, the command that
makes it anew.

The data of a figure are what was drawn (see jpo_book.figures.figure_data); those of a table are its cells, or
unrounded numbers where the notebook gives them. They are written to `_data` of the site, and the row stands
in HTML only.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import re
import shlex
from html import escape
from pathlib import Path

from docutils import nodes
from item_numbers import LABEL
from sphinx.application import Sphinx

FOLDER = "_data"
PLAIN = str.maketrans({"\u00a0": " ", "\u2060": None, "−": "-"})  # what jpo_book.words.unbroken puts in


@functools.cache
def executed(path: Path, changed: int) -> dict:
    del changed  # part of the key: a notebook that was run again is read again
    return json.loads(path.read_text(encoding="utf-8"))


def label_of(cell: dict) -> str | None:
    """The label of the figure or table that a cell makes."""
    name = (cell.get("metadata", {}).get("mystnb", {}).get("figure") or {}).get("name")
    texts = ("".join(output.get("data", {}).get("text/markdown", "")) for output in cell.get("outputs", []))
    found = (re.search(r"^:name: (\S+)$", text, re.MULTILINE) for text in texts)
    return name or next((match[1] for match in found if match), None)


def carried_data(notebook: dict) -> dict[str | None, str]:
    """The CSV that figures carry, and some tables, by label."""
    return {
        label_of(cell): cell["metadata"]["figure_data"]
        for cell in notebook["cells"]
        if "figure_data" in cell["metadata"]
    }


def data_of_table(table: nodes.table) -> str:
    """The cells of a table as CSV, with the signs that programs read."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [entry.astext().translate(PLAIN) for entry in row.findall(nodes.entry)]
        for row in table.findall(nodes.row)
    )
    return text.getvalue()


def command_of(record: dict) -> str:
    """What runs the notebook with the same parameters again."""
    given = {name: value for name, value in record.get("given", {}).items() if name != "profile"}
    parts = [
        "jpo",
        "run",
        Path(record["notebook"]).stem,
        "--profile",
        str(record["parameters"].get("profile", "laptop")),
    ]
    for name, value in given.items():
        parts += ["-p", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
    return shlex.join(parts)


def launch_links(app: Sphinx, notebook: str) -> list[str]:
    """Links that open the source notebook elsewhere; none while the address of the repository is unknown."""
    address, branch = (
        app.config.jpo_repository,
        app.config.html_theme_options.get("repository_branch") or "main",
    )
    if not address:
        return []
    links = [f'<a href="{escape(address)}/blob/{branch}/{notebook}">Source</a>']
    host, _, owner = address.partition("//")[2].partition("/")
    if host == "github.com":
        links += [
            f'<a href="https://colab.research.google.com/github/{owner}/blob/{branch}/{notebook}">Colab</a>',
            f'<a href="https://mybinder.org/v2/gh/{owner}/{branch}?labpath={notebook}">Binder</a>',
        ]
    return links


def row(app: Sphinx, record: dict, label: str, name: str, has_data: bool) -> nodes.raw:
    """The small row of links under one item."""
    up = app.builder.get_relative_uri(app.env.docname, "index").rpartition("/")[0]
    up = f"{up}/" if up else ""
    command, commit = command_of(record), record.get("commit") or "unknown"
    parts = [
        f"<span>{escape(Path(record['notebook']).name)}</span>",
        *launch_links(app, record["notebook"]),
        '<a href="#provenance">Parameters</a>',
    ]
    if has_data:
        parts.append(
            f'<a href="{up}{FOLDER}/{label}.csv" download>Data '
            f'<span class="visually-hidden">of {escape(name)}, </span>(CSV)</a>'
        )
    parts.append(
        f'<details><summary>Rerun<span class="visually-hidden"> {escape(name)}</span></summary>'
        f"<code>.venv/bin/{escape(command)}</code></details>"
    )
    if not commit.startswith("unknown"):
        parts.append(f'<span title="{escape(commit)}">commit {escape(commit[:8])}</span>')
    return nodes.raw("", f'<div class="origin">{" ".join(parts)}</div>', format="html")


def add_rows(app: Sphinx, doctree: nodes.document) -> None:
    path = Path(app.srcdir) / f"{app.env.docname}.ipynb"
    if not app.env.docname.startswith("_executed/") or not path.is_file():
        return
    notebook = executed(path, path.stat().st_mtime_ns)
    record = notebook["metadata"].get("jpo")
    if not record:
        return
    block = next(
        (
            n
            for n in doctree.findall(nodes.Element)
            if "provenance" in [*n.get("classes", []), *n.get("container_classes", [])]
        ),
        None,
    )
    if block is not None:
        block.parent.insert(
            block.parent.index(block), nodes.raw("", '<span id="provenance"></span>', format="html")
        )
    carried = carried_data(notebook)
    # Sphinx keeps what an extension sets on its environment.
    data = app.env.jpo_item_data = getattr(app.env, "jpo_item_data", {})  # pyright: ignore[reportAttributeAccessIssue]
    for node in [n for n in doctree.findall(nodes.Element) if isinstance(n, (nodes.figure, nodes.table))]:
        match = next(filter(None, map(LABEL.match, node.get("names", []))), None)
        if match is None:
            continue
        label = match[0]
        text = carried.get(label)
        if text is None and isinstance(node, nodes.table):
            text = data_of_table(node)
        if text is not None:
            data[label] = text
        kind, supplement, number = match.groups()
        position = node.parent.index(node) + 1
        node.parent.insert(
            position,
            row(app, record, label, f"{kind.capitalize()} {supplement.upper()}{number}", text is not None),
        )


def write_data(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        folder = Path(app.outdir) / FOLDER
        folder.mkdir(exist_ok=True)
        for label, text in getattr(app.env, "jpo_item_data", {}).items():
            (folder / f"{label}.csv").write_text(text, encoding="utf-8")


def lighten_notebooks(app: Sphinx, error: Exception | None) -> None:
    """Leave out of the notebooks that are offered for download what the site offers beside them: data, and
    thumbnails of SVG figures."""
    if error is not None or app.builder.format != "html":
        return
    for path in (Path(app.outdir) / "_sources").rglob("*.ipynb"):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            cell["metadata"].pop("figure_data", None)
            for data in (output.get("data", {}) for output in cell.get("outputs", [])):
                if "image/svg+xml" in data:
                    data.pop("image/png", None)
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def setup(app: Sphinx) -> dict:
    app.connect("doctree-read", add_rows)
    app.connect("build-finished", write_data)
    app.connect("build-finished", lighten_notebooks)
    return {"parallel_read_safe": False, "parallel_write_safe": True, "env_version": 1}
