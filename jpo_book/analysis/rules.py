"""The rules by which the claims are judged, and what the tables show:
their words are in `rules.yaml`, `tables.yaml`."""

from __future__ import annotations

from pathlib import Path

import yaml

from jpo_book.names import EXPERIMENTS

_read, TABLES = (
    yaml.safe_load(Path(__file__).with_name(f"{name}.yaml").read_text(encoding="utf-8"))
    for name in ("rules", "tables")
)
RULES_VERSION, COST_LEVEL, MARGIN = (_read[name] for name in ("version", "cost_level", "margin"))
LEAST_DATA_SEEDS, LEAST_NETWORK_SEEDS = _read["least_data_seeds"], _read["least_network_seeds"]
THRESHOLDS = {claim: said.get("threshold") for claim, said in _read["claims"].items()}


def _filled(part: str) -> dict[str, str]:
    titles = {name: experiment.title for name, experiment in EXPERIMENTS.items()}
    numbers = {**_read, "cost_percent": 100 * COST_LEVEL}
    numbers["alternatives"] = _read["alternatives"].format(**numbers)
    return {claim: said.get(part, "").format(**numbers, **titles) for claim, said in _read["claims"].items()}


RULES, EFFECTS = _filled("rule"), _filled("effect")


def side_of_margin(low: float, high: float) -> int:
    """+1 or -1 where an interval lies above the margin or below minus the margin,
    0 where nothing can be told."""
    return int(low > MARGIN) - int(high < -MARGIN)
