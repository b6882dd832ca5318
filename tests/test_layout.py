"""Figures are equal byte for byte, whatever the addresses of the layout's unknowns are."""

import io
from typing import Any

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np

from jpo_book.figures import use_book_style


def draw():
    """A figure of many unknowns: two parts, twelve panels, colour bar, legends."""
    figure = plt.figure(figsize=(7.4, 7.8))
    parts: Any = figure.subfigures(2, 1, height_ratios=[3, 2])
    pictures, curves = parts
    axes = pictures.subplots(3, 4)
    images = [ax.imshow(np.arange(12).reshape(3, 4) * 1.1**k) for k, ax in enumerate(axes.flat)]
    for k, ax in enumerate(axes.flat):
        ax.set_title(f"time {k}")
    pictures.colorbar(images[-1], ax=axes[:, -1])
    for k, ax in enumerate(curves.subplots(1, 3)):
        ax.plot([1, 3**k], label=f"curve {k}")
        ax.legend()
    curves.suptitle("curves")
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    plt.close(figure)
    return file.getvalue()


def test_a_figure_is_equal_wherever_its_parts_lie_in_memory():
    with matplotlib.rc_context():
        use_book_style()
        rng, held, found = np.random.default_rng(0), [], set()
        for _ in range(12):
            held.append([bytearray(size) for size in rng.integers(1, 3000, 200)])
            found.add(draw())
    assert len(found) == 1
