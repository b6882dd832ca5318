"""The page of the public interface, made from the docstrings of the library.

    ```{jpo-api} solve, JointOptimization
    ```

makes a section for each of these names of `jpo_lib` and `jpo_book.studies`, with its signature, its equation,
its arguments and its source. The docstrings are plain text, so that `help(jpo.solve)` reads well too;
Sphinx's own extensions would expect markup.
"""

from __future__ import annotations

import functools
import inspect
import re

from docstrings import Docstring, own_docstring, parse, signature_of
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import jpo_lib
from jpo_book import studies

PUBLIC = {**dict.fromkeys(jpo_lib.__all__, jpo_lib), "load_or_run": studies, "plan": studies}
INLINE = re.compile(r"`([^`]+)`|doi:(10\.\d{4,}/[^\s,;]+[^\s,;.])|arXiv (\d{4}\.\d{4,5})")
TITLES = {
    "Returns": "Returns",
    "Raises": "Raises",
    "Result extras": "In the result's extras",
    "Source": "Source",
}


def inline(text: str) -> list[nodes.Node]:
    """Text with `names` as code, linked where they are public, and with links to sources."""
    found, last = [], 0
    for match in INLINE.finditer(text):
        found.append(nodes.Text(text[last : match.start()]))
        last = match.end()
        if match[1]:
            name = re.match(r"(?:jpo_lib\.|jpo_book\.studies\.)?(\w+)", match[1])
            literal = nodes.literal(match[1], match[1])
            found.append(
                nodes.reference("", "", literal, refid=anchor(name[1]), internal=True)
                if name is not None and name[1] in PUBLIC
                else literal
            )
        else:
            address = f"https://doi.org/{match[2]}" if match[2] else f"https://arxiv.org/abs/{match[3]}"
            found.append(nodes.reference("", match[0], refuri=address))
    return [*found, nodes.Text(text[last:])]


def paragraph(text: str, *classes: str) -> nodes.paragraph:
    return nodes.paragraph("", "", *inline(text), classes=list(classes))


def anchor(name: str) -> str:
    return f"api-{name.lower().replace('_', '-').replace('.', '-')}"


def definitions(entries: dict[str, list[nodes.Node]], *classes: str) -> nodes.definition_list:
    """A list of names, as code, and what they mean."""
    result = nodes.definition_list(classes=["api-list", *classes])
    for name, content in entries.items():
        terms = [node for part in name.split(", ") for node in (nodes.Text(", "), nodes.literal(part, part))][
            1:
        ]
        result += nodes.definition_list_item("", nodes.term("", "", *terms), nodes.definition("", *content))
    return result


def described(doc: Docstring) -> list[nodes.Node]:
    """Everything but the signature."""
    result: list[nodes.Node] = []
    if doc.starts_with_equation:
        result.append(nodes.paragraph("", "", nodes.literal(doc.first, doc.first), classes=["api-equation"]))
    else:
        result.append(paragraph(doc.first))
    for is_code, text in doc.paragraphs:
        result.append(nodes.literal_block(text, text, language="python") if is_code else paragraph(text))
    if doc.arguments:
        if doc.note:
            result.append(paragraph(f"Of the arguments, {doc.note}."))
        result.append(definitions({name: [paragraph(text)] for name, text in doc.arguments.items()}))
    rest = {TITLES[name]: [paragraph(text)] for name, text in doc.sections.items()}
    for title, content in rest.items():
        content[0].insert(0, nodes.strong("", f"{title}: "))
        result += content
    return result


def table_of_names(values: dict) -> nodes.definition_list:
    """A public dictionary: each key with the sentence it stands for,
    or with the first line of what it names."""
    entries = {}
    for key, value in values.items():
        text = value if isinstance(value, str) else f"`{value.__name__}`"
        entries[getattr(key, "name", str(key))] = [paragraph(text)]
    return definitions(entries, "api-values")


def members(cls: type) -> list[tuple[str, object]]:
    """Documented public methods and properties that this class defines itself."""
    found = []
    for name, value in vars(cls).items():
        is_member = inspect.isfunction(value) or isinstance(value, (property, functools.cached_property))
        target = value.fget if isinstance(value, property) else value
        if is_member and not name.startswith("_") and own_docstring(target):
            found.append((name, value))
    return found


class PublicNames(SphinxDirective):
    """A section for each public name in the argument."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(__file__)
        return [self.section(name.strip()) for name in self.arguments[0].replace("\n", " ").split(",")]

    def section(self, name: str) -> nodes.section:
        if name not in PUBLIC:
            raise self.error(f"Expected a public name, got {name!r}; use one of {', '.join(PUBLIC)}.")
        thing = getattr(PUBLIC[name], name)
        section = nodes.section(ids=[anchor(name)], names=[anchor(name)], classes=["api"])
        section += nodes.title("", "", nodes.literal(name, name))
        self.state.document.note_explicit_target(section)
        if isinstance(thing, dict):
            section += table_of_names(thing)
            return section
        self.env.note_dependency(inspect.getfile(inspect.unwrap(thing)))
        doc = parse(own_docstring(thing))
        if not issubclass(type(thing), type) or not issubclass(thing, int):  # an enumeration is not called
            section += self.code(signature_of(thing, name))
        section += described(doc)
        if isinstance(thing, type) and name.startswith(("Dataset", "InverseProblem", "Result")):
            for member, value in members(thing):
                section += self.member(name, member, value)
        return section

    def member(self, owner: str, name: str, value) -> nodes.definition_list:
        is_property = not inspect.isfunction(value)
        doc = parse(own_docstring(value.fget if is_property else value))
        term = f".{name}" if is_property else signature_of(value, f".{name}")
        target = nodes.term("", "", nodes.literal(term, term), ids=[anchor(f"{owner}.{name}")])
        item = nodes.definition_list_item("", target, nodes.definition("", *described(doc)))
        return nodes.definition_list("", item, classes=["api-member"])

    @staticmethod
    def code(text: str) -> nodes.literal_block:
        return nodes.literal_block(text, text, language="python", classes=["api-signature"])


def setup(app: Sphinx) -> dict:
    app.add_directive("jpo-api", PublicNames)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 1}
