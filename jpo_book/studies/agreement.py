"""Do two computations of the same cell agree?

Where the arithmetic is the same bit for bit; else within bounds, each with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

# Entries of a manifest that decide how numbers are rounded. The name of a machine is none of them: two CPUs
# of one name may compute other bits. A manifest without a fingerprint was written before there was one, and
# says nothing about bits.
ARITHMETIC = ("arithmetic", "compiler_flags", "versions")

# Variables that need no iteration differ by round-off alone, since another CPU adds in another order:
# relative to the largest value of the variable, or of the threshold, for without noise the loss at the truth
# is itself round-off around zero. Iterations may fall into another valley,
# so that of them only rates are compared.
ROUND_OFF = {"x_true": 1e-5, "x0": 1e-5, "threshold": 1e-3, "loss_at_truth": 1e-3}


def equal_bits(old: xr.Dataset, new: xr.Dataset) -> list[str]:
    """What differs, in words: the arrays are compared bit for bit, NaN equal to NaN.

    Empty when nothing does.
    """
    if set(old.variables) != set(new.variables):
        return ["different variables"]
    parts = []
    for name in sorted(map(str, old.variables)):
        a, b = old[name].values, new[name].values
        if a.dtype != b.dtype or a.shape != b.shape:
            parts.append(f"{name} has another shape or type")
        elif a.dtype.kind not in "fiub":
            parts += [] if (a == b).all() else [f"{name} differs"]
        elif a.tobytes() != b.tobytes():
            gap = np.nanmax(np.abs(a.astype(float) - b.astype(float)))
            parts.append(f"{name} differs by up to {gap:.2g}")
    return parts


def within_bounds(old: xr.Dataset, new: xr.Dataset) -> list[str]:
    """What lies outside the bounds for another arithmetic, in words. Empty when all is inside.

    - Data and thresholds: relative difference at most `ROUND_OFF`; a loss at the truth relative to the
      threshold where that is larger.
    - Solved rate of each solver, p over m problems and seeds: |p - p'| <= 4 sqrt(p (1 - p) / m) + 2 / m, with
      the p of the two nearer to 1/2.
    - Mean number of evaluations of each solver, with standard deviation s over the m: at most 4 s / sqrt(m),
      a fifth and two evaluations apart, since near round-off it is chance when a line search gives up.
    """
    if set(old.variables) != set(new.variables):
        return ["different variables"]
    parts = []
    for name in (name for name in ROUND_OFF if name in old):
        a, b = (np.asarray(part[name].values, float) for part in (old, new))
        scales = [a, old.threshold.values] if name == "loss_at_truth" else [a]
        scale = max(1e-30, *(float(np.abs(values).max()) for values in scales))
        gap = np.max(np.abs(a - b)) / scale if a.shape == b.shape else np.inf
        if not gap <= ROUND_OFF[name]:
            parts.append(f"{name}: relative difference {gap:.2g} above {ROUND_OFF[name]:g}")
    for solver in old.solver.values if "solver" in old.dims else []:
        first, second = (part.sel(solver=solver) for part in (old, new))
        p, q, size = float(first.solved.mean()), float(second.solved.mean()), first.solved.size
        middle = min((p, q), key=lambda rate: abs(rate - 0.5))
        bound = 4 * np.sqrt(middle * (1 - middle) / size) + 2 / size
        if abs(p - q) > bound:
            parts.append(f"{solver}: solved rate {q:.3f} instead of {p:.3f}, more than {bound:.3f} apart")
        if "num_evaluations" not in old:  # alignment is measured at given steps
            continue
        a, b = (float(part.num_evaluations.mean()) for part in (first, second))
        spread = max(float(part.num_evaluations.std()) for part in (first, second))
        if abs(a - b) > 4 * spread / np.sqrt(size) + 0.2 * max(a, b) + 2:
            parts.append(f"{solver}: {b:.1f} evaluations per problem instead of {a:.1f}")
    return parts


def compare(
    old: xr.Dataset, new: xr.Dataset, old_manifest: Mapping, new_manifest: Mapping
) -> tuple[bool, str]:
    """Whether two computations of a cell agree, and a sentence about it.

    Arguments:
        old, new: the results.
        old_manifest, new_manifest: their manifests, which say how the machines
            that computed them round, see `arithmetic.fingerprint`.
    """
    differences = equal_bits(old, new)
    if not differences:
        return True, "equal bit for bit"
    same = all(old_manifest.get(entry) == new_manifest.get(entry) for entry in ARITHMETIC)
    if old_manifest.get("arithmetic") and same:
        return False, "; ".join(differences)
    outside = within_bounds(old, new)
    words = "; ".join(outside) or "computed with another arithmetic, and equal within the bounds for that"
    return not outside, words
