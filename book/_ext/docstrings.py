"""Read the library's docstrings: an equation or sentence first, then text,
then sections such as "Arguments:"."""

from __future__ import annotations

import dataclasses
import inspect
import re

SECTION = re.compile(r"^(Arguments|Attributes|Returns|Raises|Source|Result extras)( \([^)]*\))?:(.*)$")
ENTRY = re.compile(r"^(\*{0,2}\w+(?:, \*{0,2}\w+)*): (.*)$")
EQUATION = re.compile(r" (?:=|<-|<=|<|>|~|->) |min_|argmin")


@dataclasses.dataclass(frozen=True)
class Docstring:
    """The parts of a docstring.

    Attributes:
        first: the first paragraph, an equation or a sentence.
        paragraphs: what follows; (True, text) for an indented block of code, (False, text) for prose.
        sections: {name: text} for Returns, Raises, Source and Result extras.
        arguments: {names as written: text} from Arguments or Attributes.
        note: what stands in brackets behind "Arguments", or an empty text.
    """

    first: str
    paragraphs: list[tuple[bool, str]]
    sections: dict[str, str]
    arguments: dict[str, str]
    note: str = ""

    @property
    def starts_with_equation(self) -> bool:
        return EQUATION.search(self.first) is not None

    @property
    def names(self) -> set[str]:
        """Names of all arguments; "a, b: text" describes two."""
        return {name.lstrip("*") for key in self.arguments for name in key.split(", ")}


def own_docstring(thing) -> str:
    """The docstring that was written for this object;
    what a dataclass or a base class makes up does not count."""
    text = inspect.getdoc(thing) if not inspect.isclass(thing) else inspect.cleandoc(thing.__doc__ or "")
    return "" if inspect.isclass(thing) and (text or "").startswith(f"{thing.__name__}(") else text or ""


def parse(text: str) -> Docstring:
    """Split a docstring into its parts.

    text: a docstring without common indentation. Raises ValueError if it is empty.
    """
    if not text.strip():
        raise ValueError("Expected a docstring, got an empty text; write one.")
    body, sections, note, current = [], {}, "", None
    for line in text.splitlines():
        match = SECTION.match(line)
        if match:
            current = match[1]
            note = match[2].strip(" ()") if match[2] else note
            sections[current] = [match[3].strip()]
        elif current is not None and (line.startswith(" ") or (current == "Source" and line.strip())):
            sections[current].append(line)
        elif line.strip() or current is None:
            current = None
            body.append(line)
    blocks = re.split(r"\n\s*\n", "\n".join(body).strip())
    paragraphs = [
        (
            block.startswith("    "),
            inspect.cleandoc(block) if block.startswith("    ") else " ".join(block.split()),
        )
        for block in blocks[1:]
    ]
    listed = sections.pop("Arguments", None) or sections.pop("Attributes", None) or []
    return Docstring(
        first=" ".join(line.strip() for line in blocks[0].splitlines()).replace(";  ", ";   "),
        paragraphs=paragraphs,
        sections={name: " ".join(" ".join(lines).split()) for name, lines in sections.items()},
        arguments=_entries(listed),
        note=note,
    )


def _entries(lines: list[str]) -> dict[str, str]:
    """{"name" or "a, b": text} from lines of four spaces, with continuation lines further in."""
    entries: dict[str, str] = {}
    name = None
    for line in lines:
        match = ENTRY.match(line[4:]) if line.startswith("    ") and not line.startswith("     ") else None
        if match:
            name = match[1]
            entries[name] = match[2]
        elif name is not None and line.strip():
            entries[name] += " " + line.strip()
    return entries


def signature_of(thing, name: str, width: int = 72) -> str:
    """The call as a reader writes it, without annotations, broken between arguments where it is long."""
    parts, seen_keyword = [], False
    for parameter in inspect.signature(thing).parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not seen_keyword:
            seen_keyword = True
            parts.append("*")
        empty = parameter.default is parameter.empty
        default = "{}" if "factory" in repr(parameter.default) else repr(parameter.default)
        parts.append(parameter.name if empty else f"{parameter.name}={default}")
    line = f"{name}({', '.join(parts)})"
    if len(line) <= width:
        return line
    lines = [""]
    for part in parts:
        if lines[-1] and len(lines[-1]) + len(part) + 6 > width:
            lines.append("")
        lines[-1] += f"{part}, "
    return f"{name}(\n" + "\n".join(f"    {one.rstrip()}" for one in lines) + "\n)"
