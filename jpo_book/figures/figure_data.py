"""The numbers behind a figure, read from what was drawn: each figure of a notebook carries them as a table.

Nobody writes the table by hand, so it cannot differ from the picture. A figure or a table of the book may
bring a fuller one, such as unrounded numbers with their intervals; then this one is carried.
"""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from IPython.core.formatters import BaseFormatter
from IPython.core.getipython import get_ipython
from IPython.core.pylabtools import print_figure
from matplotlib.collections import LineCollection, PathCollection, PolyCollection, QuadMesh
from matplotlib.figure import Figure
from traitlets import ObjectName, Unicode

HEADER = ("panel", "series", "x", "y", "value")
OWN_TABLE = "jpo_own_table"
THUMBNAIL_DPI = 60  # twice the width of a card of the gallery


def csv_text(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """A table as CSV with one line for each row."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def set_figure_data(figure, header: Sequence[object], rows: Iterable[Sequence[object]]) -> None:
    """Let a figure carry this table in place of what was drawn;
    for results that hold more than the picture shows.

    Arguments:
        figure: a Matplotlib figure.
        header, rows: the names of the columns, and the values.
    """
    setattr(figure, OWN_TABLE, csv_text(header, rows))


def figure_data(figure) -> str:
    """All lines, points, bands, bars, images and colour maps of a figure as CSV with the columns panel,
    series, x, y, value.

    Lines that begin with "#" name the axes of each panel. A band or a bar is given by the corners of its
    outline, a colour map by the centres of its cells and their values.
    Contour lines, texts and legends are left out.

    Arguments:
        figure: a Matplotlib figure. One that brings a table of its own, by `set_figure_data`, gives that one.
    Returns:
        the table as text; numbers have seven significant digits.
    """
    if hasattr(figure, OWN_TABLE):
        return getattr(figure, OWN_TABLE)
    panels = [ax for ax in figure.axes if ax.axison or ax.images or ax.collections or ax.lines or ax.patches]
    comments, rows = [], []
    for number, ax in enumerate(panels, 1):
        title = " ".join(ax.get_title(place) for place in ("left", "center", "right"))
        texts = map(_plain, (title, ax.get_xlabel(), ax.get_ylabel()))
        comments.append("# panel {}: {}; x: {}; y: {}\n".format(number, *texts))
        for series, points in _series(ax):
            points = np.ma.filled(np.ma.asarray(points, float), np.nan)
            padding = [""] * (3 - points.shape[1])
            rows += [[number, series, *(f"{value:.7g}" for value in row), *padding] for row in points]
    return "".join(comments) + csv_text(HEADER, rows)


def _plain(text: str) -> str:
    return " ".join(text.split())


def _name(artist, kind: str, number: int) -> str:
    label = str(artist.get_label())
    return f"{kind} {number}" if not label or label.startswith("_") else _plain(label)


def _series(ax):
    """(name, array of rows (x, y) or (x, y, value)) of everything that is drawn in data coordinates."""
    for number, line in enumerate(ax.lines, 1):
        yield _name(line, "line", number), np.ma.column_stack(line.get_data(orig=False))
    for number, item in enumerate(ax.collections, 1):
        values: Any = item.get_array()
        if isinstance(item, QuadMesh):
            corners = np.asarray(item.get_coordinates())
            centres = (corners[:-1, :-1] + corners[1:, :-1] + corners[:-1, 1:] + corners[1:, 1:]) / 4
            if values.size == centres.size // 2:
                yield _name(item, "map", number), np.ma.column_stack([centres.reshape(-1, 2), values.ravel()])
        elif isinstance(item, PathCollection):
            points = np.ma.asarray(item.get_offsets())
            if values is not None and len(values) == len(points):
                points = np.ma.column_stack([points, values])
            yield _name(item, "points", number), points
        elif isinstance(item, LineCollection):
            yield from ((_name(item, "segments", number), segment) for segment in item.get_segments())
        elif isinstance(item, PolyCollection):
            yield from ((_name(item, "band", number), path.vertices) for path in item.get_paths())
    for number, image in enumerate(ax.images, 1):
        values = image.get_array()
        if values.ndim == 2:  # a photograph has colours, no values
            (left, right, bottom, top), (rows, columns) = image.get_extent(), values.shape
            first, last = (bottom, top) if image.origin == "lower" else (top, bottom)
            x = left + (np.arange(columns) + 0.5) * (right - left) / columns
            y = first + (np.arange(rows) + 0.5) * (last - first) / rows
            points = [np.tile(x, rows), np.repeat(y, columns), values.ravel()]
            yield _name(image, "map", number), np.ma.column_stack(points)
    for number, patch in enumerate(ax.patches, 1):
        outline = patch.get_patch_transform().transform(patch.get_path().vertices)
        yield _name(patch, "shape", number), outline


def attach_thumbnails() -> None:
    """Let each figure carry a small PNG beside its SVG: the gallery of the book would otherwise fetch all
    figures in full."""
    shell: Any = get_ipython()
    shell.display_formatter.formatters["image/png"].for_type(
        Figure, functools.partial(print_figure, fmt="png", base64=True, dpi=THUMBNAIL_DPI)
    )


class FigureDataFormatter(BaseFormatter):
    """What IPython asks for the data of what it shows."""

    format_type = Unicode("text/csv")
    print_method = ObjectName("_repr_csv_")


def attach_figure_data() -> None:
    """Let every figure that a notebook shows carry its data, as the MIME type text/csv;
    outside a notebook nothing happens."""
    shell: Any = get_ipython()
    if shell is None or "text/csv" in shell.display_formatter.formatters:
        return
    display = shell.display_formatter
    display.formatters["text/csv"] = FigureDataFormatter(parent=display)
    display.formatters["text/csv"].for_type(Figure, figure_data)
    if "text/csv" not in display.active_types:
        display.active_types = [*display.active_types, "text/csv"]
