"""Identity of code: a hash that changes when the numbers may change, and not with comments or docstrings."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import json
from pathlib import Path

# The list of all problems, the progress bars, and which processor does what decide no number.
LEFT_OUT = ("jpo_lib.problems", "jpo_lib.progress", "jpo_lib.processors")


def canonical(node) -> str:
    """The syntax tree as text without comments, docstrings and positions, equal under all versions of Python."""
    if isinstance(node, list):
        return "[" + ",".join(canonical(item) for item in node) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    if isinstance(node, (ast.Module, ast.FunctionDef, ast.ClassDef)) and ast.get_docstring(node, clean=False) is not None:
        fields["body"] = fields["body"][1:]
    # Versions of Python differ in which empty fields a node has.
    kept = (f"{name}={canonical(value)}" for name, value in fields.items() if value not in (None, []) and name != "kind")
    return f"{type(node).__name__}({','.join(kept)})"


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


@functools.cache
def _module(name: str) -> tuple[str, tuple[str, ...]]:
    """Hash of a module's code, and the modules of this library that it imports."""
    tree = ast.parse(Path(importlib.util.find_spec(name).origin).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jpo_lib")]
    names = {node.module for node in imports} | {f"{node.module}.{alias.name}" for node in imports for alias in node.names}
    used = tuple(sorted(n for n in names if n.startswith("jpo_lib.") and _is_module(n)))
    return hashlib.sha256(canonical(tree).encode()).hexdigest(), used


@functools.cache
def hash_of_code(*modules: str) -> str:
    """Hash of these modules of the library and of all that they import from it.

    Arguments:
        modules: names such as "jpo_lib.experiments".
    Returns:
        64 hexadecimal digits.
    """
    seen: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in seen and name not in LEFT_OUT:
            seen[name], imported = _module(name)
            waiting += imported
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()
