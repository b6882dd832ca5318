"""Imports point one way, and the library stays small."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "jpo_lib"
LAYERS = {
    "checks": -1, "result": -1, "storage": -1,
    "arithmetic": 0, "problem": 0, "processors": 0, "result_files": 0, "progress": 0, "compilation": 0, "source_identity": 0,
    "networks": 1, "metrics": 1, "alignment": 1,
    "problems": 2, "solvers": 2, "alignment_measured": 2,
    "combining": 3, "experiments": 3, "verification": 3, "costs": 3, "experiments_alignment": 3, "alignment_evidence": 3,
    "experiments_generalization": 4, "study": 4,
    "validity": 5, "study_helper": 5, "plotting": 5, "settings_tables": 5, "agreement": 5,
    "reporting": 6, "interactive": 6,
    "attempts": 7, "claims": 7, "ledger_pages": 7, "timings": 7, "reporting_costs": 7,
    "ledger": 8, "benchmark_files": 8, "ablations": 8, "generalization": 8,
    "notebooks": 9, "cost_estimate": 9,
    "cost_pages": 10, "workflow_plan": 10,
    "cli": 11,
}
PARTS = {"execution": "notebooks"}  # one subject in two files


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            if name.startswith("jpo_lib."):
                yield PARTS.get(name.split(".")[1], name.split(".")[1])


def test_imports_point_one_way():
    for path in PACKAGE.rglob("*.py"):
        here = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        here = PARTS.get(here, here)
        for target in imports(path):
            if here == "__init__" or target == here:
                continue
            assert LAYERS[target] < LAYERS[here], f"{path.relative_to(PACKAGE)} imports jpo_lib.{target}"


def test_problems_and_solvers_do_not_know_each_other():
    for one, other in (("problems", "solvers"), ("solvers", "problems")):
        assert all(other not in imports(path) for path in (PACKAGE / one).glob("*.py"))


def test_modules_are_short():
    lengths = {path.name: len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert max(lengths.values()) <= 320, {name: length for name, length in lengths.items() if length > 320}
