"""A title and a label are typed once: where they change, all of the book follows."""

import json
import subprocess
import sys

from conftest import ROOT

# In a process of its own: modules that are loaded already have read the names.
CODE = """
import json
from jpo_book import names
names.EXPERIMENTS["wave_packet"] = names.EXPERIMENTS["wave_packet"]._replace(title="a new title")
names.METHODS["MultiStart"] = names.METHODS["MultiStart"]._replace(label="a new label")
import numpy as np, xarray as xr
import matplotlib; matplotlib.use("Agg")
import matplotlib.pyplot as plt
from jpo_book import figures, studies
from jpo_book.analysis import ablations, claims, generalization, resample, rules, validity
from jpo_book.pages import ledger, settings, tables

cells = studies.plan("wave_packet", "smoke")
shape = (1, 1, 1, 2, 8)
dims = ("data_seed", "group_size", "solver", "network_seed", "problem")
values = {"solved": np.ones(shape, bool), "loss": np.ones(shape), "num_evaluations": np.ones(shape, int)}
joint = xr.Dataset(
    {name: (dims, value) for name, value in values.items()},
    {"solver": ["JointRefined"], "group_size": [8]},
)
classical = joint.isel(group_size=0, network_seed=0, drop=True)
classical = xr.concat([classical.assign_coords(solver=[name]) for name in ("BFGS", "MultiStart")], "solver")
axis = plt.figure().add_subplot()
figures.plot_solved(axis, classical, joint)
found = resample.Estimate(1.0, 0.5, 1.0, 1.0)
judged = {"found": found, "enough_seeds": True, "networks": 5, "baseline": "", "words": None}
items = [item["title"] for item in ledger.load_items()]
print(json.dumps({
    "results": str(tables.results_rows(classical, joint)),
    "figure": str(axis.get_legend_handles_labels()[1]),
    "opponents": str(generalization.OPPONENTS),
    "settings": str(settings.experiments_rows()),
    "claims": str(claims.over_experiments("C1", ["wave_packet"], {"wave_packet": judged})),
    "rules": str(rules.RULES),
    "maps": str([one.title for one in validity.MAPS]),
    "ledger": str(items).lower(),
}))
"""
BY_METHOD = {"results", "figure", "opponents"}


def test_tables_figures_claims_and_the_ledger_follow_the_names():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    texts = json.loads(done.stdout.splitlines()[-1])
    for part, text in texts.items():
        new, old = (
            ("a new label", "multi-start BFGS") if part in BY_METHOD else ("a new title", "wave packet")
        )
        assert new in text and old not in text, part


def test_no_other_module_types_a_title():
    from jpo_book.names import EXPERIMENTS, METHODS

    typed = {f'"{one.title}"' for one in EXPERIMENTS.values()} - {'"billiards"'}  # which is a key, too
    typed |= {f'"{one.label}"' for one in METHODS.values() if " " in one.label} - {'"gradient descent"'}
    for folder in ("jpo_book", "book/_ext", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.name != "names.py":
                text = path.read_text(encoding="utf-8")
                assert not [one for one in typed if one in text], path
