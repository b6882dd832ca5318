"""Maps of where joint optimization pays, from `jpo_book.analysis.validity`."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.patches import Rectangle

NOT_COMPUTED = "#ececec"


def draw_map(ax, values: xr.Dataset, name: str) -> None:
    """One map: colour and first line of a cell are the value `name`;
    the last line counts problems x networks.

    Arguments:
        ax: the axes.
        values: from `jpo_book.analysis.validity.build_map`.
        name: "advantage", or "equal_cost", which adds in brackets the difference in the end at which cost
            ratio, and frames the cells in which JPO pays: a full line where that is certain, a broken one
            where it is not.
    """
    rows, columns = values[name].shape
    ax.set_facecolor(NOT_COMPUTED)
    shown = np.ma.masked_invalid(values[name].values)
    ax.imshow(shown, cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
    centred = {"ha": "center", "va": "center"}
    for row, column in np.ndindex(rows, columns):
        cell = values.isel(difficulty=row, group_size=column)
        value = float(cell[name])
        if np.isnan(value):
            ax.text(column, row, "not\ncomputed", fontsize=5.5, color="#6b6b6b", **centred)
            continue
        lines = [_signed(value), f"{int(cell.num_problems)} × {int(cell.num_networks)}"]
        if name == "equal_cost":
            lines.insert(1, f"({_signed(float(cell.difference))}, ×{_short(float(cell.cost_ratio))})")
        color = "white" if abs(value) > 0.62 else "black"
        ax.text(column, row, "\n".join(lines), fontsize=5.7, linespacing=1.2, color=color, **centred)
        if name == "equal_cost" and cell.pays == 1:
            line = "-" if cell.certainty >= values.attrs["confidence"] else (0, (2, 1.5))
            frame = {"fill": False, "edgecolor": "black", "linewidth": 1.6, "linestyle": line}
            ax.add_patch(Rectangle((column - 0.45, row - 0.44), 0.9, 0.88, **frame))
    ax.set_xticks(range(columns), [str(n) for n in values.group_size.values])
    ax.set_yticks(range(rows), [str(label) for label in values.difficulty.values])
    ax.set_xticks(np.arange(columns - 1) + 0.5, minor=True)
    ax.set_yticks(np.arange(rows - 1) + 0.5, minor=True)
    ax.grid(False, which="major")
    ax.grid(True, which="minor", color="white", linewidth=1.5)
    ax.tick_params(which="both", length=0)
    ax.spines[:].set_visible(False)
    ax.set_ylabel(values.attrs["axis"])


def _signed(value: float) -> str:
    """Two decimals with a sign, but no sign on zero."""
    text = f"{value:+.2f}".replace("-", "−")
    return "0.00" if text[1:] == "0.00" else text


def _short(ratio: float) -> str:
    """Two significant digits without exponents."""
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}" if ratio >= 1 else f"{ratio:.2g}"


def plot_validity(maps: Sequence[xr.Dataset]):
    """All maps as one figure, a row for each:
    left against one run of BFGS, right against multi-start BFGS."""
    heights = [m.sizes["difficulty"] + 0.9 for m in maps]
    size = (7.4, 0.42 * sum(heights) + 0.9)
    fig, axes = plt.subplots(len(maps), 2, figsize=size, squeeze=False, height_ratios=heights)
    for letter, (left, right), one in zip("abcdefgh", axes, maps, strict=False):
        draw_map(left, one, "advantage")
        draw_map(right, one, "equal_cost")
        right.set_ylabel("")
        right.set_yticklabels([])
        left.set_title(f"({letter}) {one.attrs['title']}")
    axes[0, 0].set_title(f"against one run of BFGS\n\n{axes[0, 0].get_title(loc='left')}")
    axes[0, 1].set_title("against multi-start BFGS, at equal cost\n\n")
    bar = {"location": "bottom", "aspect": 40, "pad": 0.01, "ticks": [-1, -0.5, 0, 0.5, 1]}
    for column, label in zip(axes.T, ("better minus worse", "difference of solved rates"), strict=True):
        column[-1].set_xlabel("problems solved jointly, n (dimensionless)")
        fig.colorbar(axes[0, 1].images[0], ax=column.tolist(), label=f"{label} (dimensionless)", **bar)
    return fig
