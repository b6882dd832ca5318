"""What a run of a simulation without a gradient costs: measured once, by benchmarks/forward_cost.py."""

import functools
import json
from pathlib import Path


@functools.cache
def _costs() -> dict[str, float]:
    return json.loads(Path(__file__).with_name("forward_costs.json").read_text(encoding="utf-8"))


def forward_cost(name: str) -> float:
    """The price in evaluations of loss and gradient, with the usual settings of a problem."""
    return _costs()[name]
