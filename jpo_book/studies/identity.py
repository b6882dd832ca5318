"""Identity of code: a hash of all definitions that decide some numbers. It changes when the numbers may
change, and only then.

From the functions that compute a result, names are followed through imports to the definitions that they
mean, and from there on. Modules and their names, import statements, names of functions and of what is local
to them, docstrings, comments, annotations of arguments and texts of errors leave no trace, so that moving,
renaming and merging change nothing. A changed constant or function does, and so does a name that is bound to
something else. What no path reaches does not count. Where it is unclear what a name reaches (a module passed
on as a value, a star, `globals()`), the whole module counts: too much is safe, too little is not.
"""

from __future__ import annotations

import ast
import builtins
import functools
import hashlib
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGES = ("jpo_lib", "jpo_book")
# Progress bars, and which processor does what, decide no number.
UNCOUNTED = ("jpo_lib._progress", "jpo_lib._processors")
ROUNDS = 64  # longer than any chain of definitions of which each uses the next
EVERYTHING, EFFECT = "*", "!"
SPECIAL = {"ClassVar", "InitVar", "KW_ONLY"}  # annotations of a class that say more than a type
REFLECTION = ("globals", "vars", "eval", "exec", "__import__")
BUILTINS = frozenset(dir(builtins))
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DEFINITIONS = (*FUNCTIONS, ast.ClassDef)
IMPORTS = (ast.Import, ast.ImportFrom)


class Unit(NamedTuple):
    """What a name of a module means: (module, name). Name "*" is the whole module, "!3" its statement number
    3, run by every import."""

    module: str
    name: str


class Module:
    """The statements of a module by the names that they bind."""

    def __init__(self, name: str):
        path = file_of(name)
        assert path is not None, name
        self.name, self.package = name, name if path.name == "__init__.py" else name.rpartition(".")[0]
        self.body = ast.parse(path.read_text(encoding="utf-8")).body
        self.bound: dict[str, list[ast.stmt]] = {}
        self.imports: dict[str, tuple[str, ...]] = {}
        self.stars: list[str] = []
        self.effects: list[ast.stmt] = []
        for statement in self.body:
            self._sort_in(statement)

    def _sort_in(self, statement: ast.stmt) -> None:
        test = ast.unparse(statement.test) if isinstance(statement, ast.If) else ""
        if isinstance(statement, IMPORTS):
            self.imports |= imported(statement, self.package)
            if isinstance(statement, ast.ImportFrom) and statement.names[0].name == "*":
                self.stars.append(source_of(statement, self.package))
        elif test.endswith("TYPE_CHECKING"):
            for other in statement.orelse if isinstance(statement, ast.If) else ():
                self._sort_in(other)
        elif not is_text(statement) and "__main__" not in test:
            assigns = isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign))
            targets = getattr(statement, "targets", None) or [getattr(statement, "target", statement)]
            parts = [part for target in targets for part in ast.walk(target)]
            plain = assigns and not any(isinstance(part, (ast.Attribute, ast.Subscript)) for part in parts)
            if isinstance(statement, DEFINITIONS):
                plain = not any(map(self._is_ours, statement.decorator_list))
                parts = [statement]
            if not plain:  # a decorator of ours may enter a definition into a list
                self.effects.append(statement)
            for part in parts:
                if isinstance(part, IMPORTS):
                    self.imports |= imported(part, self.package)
                elif name := bound_by(part):
                    self.bound.setdefault(name, []).append(statement)

    def _is_ours(self, decorator: ast.expr) -> bool:
        name = next(node.id for node in ast.walk(decorator) if isinstance(node, ast.Name))
        return name in self.bound or is_ours(self.imports.get(name, ("",))[0])

    def statements(self, name: str) -> list[ast.stmt]:
        """What a unit of this module consists of."""
        if name == EVERYTHING:
            return [s for s in self.body if not isinstance(s, IMPORTS) and not is_text(s)]
        return [self.effects[int(name[1:])]] if name.startswith(EFFECT) else self.bound[name]


@functools.cache
def module(name: str) -> Module:
    return Module(name)


def is_ours(name: str) -> bool:
    return name.partition(".")[0] in PACKAGES


@functools.cache
def file_of(name: str) -> Path | None:
    """The file of a module of ours, which is not imported for that; None where there is none."""
    package, *parts = name.split(".")
    if package not in PACKAGES or not all(part.isidentifier() for part in parts):
        return None
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None
    place = Path(spec.origin).parent.joinpath(*parts)
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


def is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def names_in(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def bound_by(node: ast.AST) -> str | None:
    """The name that a definition, or a name in an assignment, binds."""
    if isinstance(node, DEFINITIONS):
        return node.name
    return node.id if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else None


def source_of(statement: ast.ImportFrom, package: str) -> str:
    """The module that names are imported from, also where it is given relative to a package."""
    if not statement.level:
        return statement.module or ""
    parts = package.split(".")[: len(package.split(".")) - statement.level + 1]
    return ".".join([*parts, *([statement.module] if statement.module else [])])


def imported(statement: ast.Import | ast.ImportFrom, package: str) -> dict[str, tuple[str, ...]]:
    """{name: the module that it stands for, or the module and the name there}"""
    found: dict[str, tuple[str, ...]] = {}
    for alias in statement.names:
        if isinstance(statement, ast.ImportFrom):
            found[alias.asname or alias.name] = source_of(statement, package), alias.name
        else:
            name = alias.name if alias.asname else alias.name.partition(".")[0]
            found[alias.asname or name] = (name,)
    return {name: path for name, path in found.items() if name != "*"}


def meaning(path: tuple[str, ...], seen: frozenset = frozenset()) -> tuple[list[Unit], str]:
    """What a dotted path that begins with a module means: units of our packages, and the rest of the path as
    text."""
    where, *rest = path
    if not is_ours(where):
        return [], f"<{'.'.join(path)}>"
    if where in UNCOUNTED:
        return [], f"<{'.'.join(rest)}>"
    if not rest or path in seen:
        return [Unit(where, EVERYTHING)], ""
    here, name = module(where), rest[0]
    if name in here.imports and name not in here.bound:
        return meaning((*here.imports[name], *rest[1:]), seen | {path})
    if name in here.bound:
        units = [Unit(where, name)]
        units += meaning((*here.imports[name], *rest[1:]), seen | {path})[0] if name in here.imports else []
        return units, "".join(f".{part}" for part in rest[1:])
    if file_of(f"{where}.{name}"):
        return meaning((f"{where}.{name}", *rest[1:]), seen | {path})
    units = [Unit(place, EVERYTHING) for place in (where, *filter(is_ours, here.stars))]
    return units, "".join(f".{part}" for part in rest)


class Description:
    """A unit as text, in which each name of our packages is left open, and the units that belong there, in
    their order."""

    def __init__(self, unit: Unit):
        self.unit, self.module = unit, module(unit.module)
        self.used: list[Unit] = []
        statements = self.module.statements(unit.name)
        self.local_imports: dict[str, tuple[str, ...]] = {}
        self.local_names: dict[str, str] = {}
        for statement in statements:
            self._look_around(statement)
        self.text = "\n".join(self.of(statement) for statement in statements)
        if unit.name == EVERYTHING:
            self.used += [u for path in self.module.imports.values() for u in meaning(path)[0]]

    def _look_around(self, statement: ast.stmt) -> None:
        """Find what is imported and named inside: names of nested functions and variables are as good as any
        others."""
        kept = {*self.module.bound, *self.module.imports, *BUILTINS}
        found: list[str | None] = []
        for node in ast.walk(statement):
            if isinstance(node, IMPORTS):
                self.local_imports |= imported(node, self.module.package)
            elif isinstance(node, ast.arg):
                kept.add(node.arg)  # arguments may be given by name
            elif isinstance(node, ast.ClassDef):  # and members of a class are
                members = [bound_by(part) for part in node.body if isinstance(part, DEFINITIONS)]
                fields = [
                    names_in(part) for part in node.body if isinstance(part, (ast.Assign, ast.AnnAssign))
                ]
                kept.update(filter(None, [node.name, *members]), *fields)
            elif node is not statement and isinstance(statement, DEFINITIONS):
                found.append(bound_by(node))
        for name in found:
            if name and name not in kept and name not in self.local_imports:
                self.local_names.setdefault(name, f"local{len(self.local_names)}")

    def of(self, node, in_class: bool = False) -> str:
        """Text of a part of the syntax tree, equal under all versions of Python."""
        if isinstance(node, list):
            return f"[{','.join(self.of(item, in_class) for item in node if not isinstance(item, IMPORTS))}]"
        if isinstance(node, str) and file_of(node):
            self.used.append(Unit(node, EVERYTHING))  # a module that is imported by its name
            return "<module>"
        if not isinstance(node, ast.AST):
            return repr(node)
        if isinstance(node, (ast.Name, ast.Attribute)):
            return self._name(node)
        fields = dict(ast.iter_fields(node))
        if isinstance(node, DEFINITIONS) and ast.get_docstring(node, clean=False) is not None:
            fields["body"] = fields["body"][1:]
        if isinstance(node, FUNCTIONS):
            del fields["returns"]
            own = not in_class and Unit(self.module.name, node.name) == self.unit
            fields["name"] = "" if own else self.local_names.get(node.name, node.name)
        elif isinstance(node, ast.arg):
            fields.pop("annotation", None)
        elif isinstance(node, ast.AnnAssign) and not (in_class and SPECIAL & names_in(node.annotation)):
            del fields["annotation"]
        elif isinstance(node, ast.Raise):
            fields = {"exc": node.exc.func if isinstance(node.exc, ast.Call) else node.exc}
        elif isinstance(node, ast.Assert):
            del fields["msg"]
        # Versions of Python differ in which empty fields a node has.
        kept = (
            f"{name}={self.of(value, isinstance(node, ast.ClassDef) and name == 'body')}"
            for name, value in fields.items()
            if value not in (None, []) and name not in ("kind", "ctx", "type_comment", "type_params")
        )
        return f"{type(node).__name__}({','.join(kept)})"

    def _name(self, node: ast.Name | ast.Attribute) -> str:
        """A name with the attributes behind it."""
        path: list[str] = []
        root: ast.expr = node
        while isinstance(root, ast.Attribute):
            path.insert(0, root.attr)
            root = root.value
        behind = "".join(f".{part}" for part in path)
        if not isinstance(root, ast.Name):
            return self.of(root) + behind
        name, here = root.id, self.module
        if isinstance(root.ctx, ast.Store) and not path and name == self.unit.name:
            return "<self>"  # a constant may be renamed
        units: list[Unit] = []
        text = self.local_names.get(name, name) + behind
        if name in self.local_imports:
            units, text = meaning((*self.local_imports[name], *path))
        if name in here.imports or name in here.bound:
            more, text = meaning((here.name, name, *path))
            units = units + more
        elif here.stars and name not in BUILTINS and name not in self.local_names:
            units = units + [Unit(star, EVERYTHING) for star in here.stars if is_ours(star)]
        if name in REFLECTION:
            units = [*units, Unit(here.name, EVERYTHING)]
        self.used += units
        return f"<{len(units)}>{text}"


@functools.cache
def description(unit: Unit) -> Description:
    return Description(unit)


def effects(name: str) -> Iterator[Unit]:
    """The statements that run when a module is imported, those of the packages around it included."""
    parts = name.split(".")
    for last in range(1, len(parts) + 1):
        where = ".".join(parts[:last])
        yield from (Unit(where, f"{EFFECT}{number}") for number in range(len(module(where).effects)))


@functools.cache
def reached(*roots: Unit) -> frozenset[Unit]:
    """All units that some units use, directly or by way of others, with what runs when their modules are
    imported."""
    found: set[Unit] = set()
    waiting = list(roots)
    while waiting:
        unit = waiting.pop()
        if unit not in found:
            found.add(unit)
            waiting += description(unit).used
            waiting += effects(unit.module)
    return frozenset(found)


def _hash(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@functools.cache
def hash_of_code(*roots: tuple[str, str]) -> str:
    """Hash of some definitions and of all that they use.

    Each unit's hash is made from its text and from the hashes of the units that it uses, again and again:
    after k rounds it covers what lies k steps away. Units that use each other need no special care that way.

    Arguments:
        roots: (module, name), such as ("jpo_book.studies.run_solvers", "run_joint_cell").
    Returns:
        64 hexadecimal digits.
    """
    starts = [unit for root in roots for unit in meaning(root)[0]]
    units = reached(*starts)
    alone = {unit: _hash(description(unit).text) for unit in units}
    hashes = alone
    for _ in range(ROUNDS):
        hashes = {
            unit: _hash(alone[unit], *(hashes[used] for used in description(unit).used)) for unit in units
        }
    return _hash(
        *(hashes[unit] for unit in starts),
        *sorted({hashes[unit] for unit in units if unit.name.startswith(EFFECT)}),
    )
