"""Show each figure, table and theorem under the number that the ledger knows.

Sphinx counts captions in reading order. Here the label decides: `figure-7` is Figure 7, `figure-s1`
is Figure S1, wherever they stand, so that a number in the text, in a caption and in the ledger is
the same one. Captions and `{numref}` both read `env.toc_fignumbers`, so that is what we replace.
"""

from __future__ import annotations

import re

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)
LABEL = re.compile(r"^(figure|table|theorem)-(s?)(\d+)$")
Numbers = dict[str, dict[str, dict[str, tuple]]]


def number_of(label: str, kind: str) -> tuple[str] | None:
    """The number that a label stands for: ("figure-s1", "figure") gives ("S1",); None for others."""
    match = LABEL.match(label)
    return (match[2].upper() + match[3],) if match and match[1] == kind else None


def restore_counted(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Before Sphinx counts: give back its own numbers, so that it compares like with like."""
    env.toc_fignumbers = getattr(env, "jpo_counted_numbers", env.toc_fignumbers)
    return []


def use_labels(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """After Sphinx has counted: replace the numbers; return the pages whose numbers are new."""
    # Sphinx keeps what an extension sets on its environment.
    env.jpo_counted_numbers = env.toc_fignumbers  # pyright: ignore[reportAttributeAccessIssue]
    label_of = {
        (doc, node_id): label for label, (doc, node_id) in env.domaindata["std"]["anonlabels"].items()
    }
    shown: Numbers = {}
    for doc, kinds in env.toc_fignumbers.items():
        for kind, numbers in kinds.items():
            for node_id, counted in numbers.items():
                number = number_of(label_of.get((doc, node_id), node_id), kind)
                if number is None and kind in ("figure", "table"):
                    LOGGER.warning(
                        f"Expected a label such as {kind}-3 or {kind}-s1 on a {kind} with a caption, got "
                        f"{node_id!r}; label it, or drop the caption.",
                        location=doc,
                        type="jpo",
                    )
                shown.setdefault(doc, {}).setdefault(kind, {})[node_id] = number or counted
    before = getattr(env, "jpo_shown_numbers", {})
    env.jpo_shown_numbers = shown  # pyright: ignore[reportAttributeAccessIssue]  (as above)
    env.toc_fignumbers = shown
    return [doc for doc in shown if shown[doc] != before.get(doc)]


def setup(app: Sphinx) -> dict:
    app.connect("env-get-updated", restore_counted, priority=100)
    app.connect("env-get-updated", use_labels, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 1}
