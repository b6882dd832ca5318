"""Fragments of the book that are made from the ledger (MyST text):
what they say is in `ledger_pages.jinja`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

Item = dict[str, Any]
TEMPLATE = Path(__file__).with_name("ledger_pages.jinja")
# The fragments, each a macro of the template.
FRAGMENTS = ("ledger_summary", "ledger_table", "ledger_sources", "claims_table", "verdict_strip")
FRAGMENTS += ("findings", "held", "not_held", "gallery")


def fragments(ledger: dict[str, list[Item]], images: dict[str, dict[str, str]]) -> dict[str, str]:
    """The generated files by name, as MyST Markdown.

    ledger: what `build_ledger` returns. images: {label: {"file", "alt"}} of the figures with a picture.
    """
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {one.__name__: one for one in (sentence, our_number, effect, result_files)}
    items = ledger["items"]
    built = [item for item in items if item["status"] == "built"]
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    macros = template.make_module({"items": items, "built": built, "images": images})
    return {f"{name}.md": str(getattr(macros, name)()) for name in FRAGMENTS}


def number(value: Any) -> str:
    """A number in at most three significant digits, with a true minus; text passes unchanged."""
    return f"{value:.3g}".replace("-", "−") if isinstance(value, float) else str(value)


def with_interval(effect: Any, interval: Any) -> str:
    """An effect and its interval in one phrase, for example "0.75 (0.69 to 0.80)"."""
    if interval is None:
        return number(effect)
    low, high = map(number, interval)
    return f"{number(effect)} (95 % interval {f'above {low}' if high == 'infinite' else f'{low} to {high}'})"


def sentence(text: str | None) -> str:
    text = (text or "").strip()
    return (text[:1].upper() + text[1:]).rstrip(".") + "." if text else ""


def effect(found: Item) -> str:
    """An effect with its interval, and what is to be said of it."""
    interval = None if found["effect"] == "not known" else found["interval"]
    parts = [] if found["effect"] is None else [with_interval(found["effect"], interval)]
    return ": ".join([*parts, *filter(None, [found.get("words")])])


def our_number(claim: Item) -> str:
    """What was found for a claim, with the note on it."""
    return f"Effect {effect(claim)}. {sentence(claim['note'])}".rstrip()


def result_files(items: list[Item]) -> list[tuple[str, str]]:
    """(path, SHA-256) of all files that these items rest on."""
    return sorted({file["path"]: file["sha256"] for item in items for file in item["results"]}.items())
