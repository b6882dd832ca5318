"""Say what is in a folded code cell: "Show the code of Figure 3", or the comment in its first line."""

from __future__ import annotations

import re
from html import escape

from docutils import nodes
from item_numbers import LABEL
from myst_nb.sphinx_ import HideCodeCellNode
from sphinx.application import Sphinx


def item_in(cell: nodes.container) -> str | None:
    """The figure or table that a code cell makes, for example "Figure 3"; None where there is none."""
    for node in cell.findall(nodes.Element):
        for label in node.get("names", []) if isinstance(node, (nodes.figure, nodes.table)) else ():
            match = LABEL.match(label)
            if match:
                return f"{match[1].capitalize()} {match[2].upper()}{match[3]}"
    return None


def summary_of(cell: nodes.container, prompt: str, default: str) -> str:
    """The summary of a folded cell: its own prompt, made specific, or what its content suggests."""
    if prompt == default and cell.get("hide_mode") == "output":
        return "Show the output"
    item = item_in(cell)
    if prompt != default:
        return re.sub(r"\bthe (figure|table)$", item, prompt) if item else prompt
    if item:
        return f"{default} of {item}"
    block = next(iter(cell.findall(nodes.literal_block)), None)
    first = block.astext().lstrip().splitlines()[0] if block is not None and block.astext().strip() else ""
    return f"{default}: {first.lstrip('# ').rstrip('.:')}" if first.startswith("# ") else default


def name_cells(app: Sphinx, doctree: nodes.document) -> None:
    for cell in doctree.findall(nodes.container):
        if cell.get("nb_element") == "cell_code" and "prompt_show" in cell:
            cell["prompt_show"] = summary_of(cell, cell["prompt_show"], app.config.nb_code_prompt_show)


def open_fold(writer, node: HideCodeCellNode) -> None:
    # Our own markup: the default one gives every fold the same name to a screen reader.
    writer.body.append(
        f'<details class="code-fold {" ".join(node["classes"])}">\n'
        f"<summary>{escape(node['prompt_show'])}</summary>\n"
    )


def close_fold(writer, node: HideCodeCellNode) -> None:
    writer.body.append("</details>\n")


def setup(app: Sphinx) -> dict:
    app.connect("doctree-read", name_cells)
    app.add_node(HideCodeCellNode, override=True, html=(open_fold, close_fold))
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 1}
