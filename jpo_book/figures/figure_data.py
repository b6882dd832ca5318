"""The numbers behind a figure, read from what was drawn: each figure of a notebook carries them as a table.

Nobody writes the table by hand, so it cannot differ from the picture. A figure or a table of the book may bring a fuller
one, such as unrounded numbers with their intervals; then this one is carried.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

import numpy as np

HEADER = ("panel", "series", "x", "y", "value")
OWN_TABLE = "jpo_own_table"


def csv_text(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """A table as CSV with one line for each row."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def set_figure_data(figure, header: Sequence[object], rows: Iterable[Sequence[object]]) -> None:
    """Let a figure carry this table in place of what was drawn; for results that hold more than the picture shows.

    Arguments:
        figure: a Matplotlib figure.
        header, rows: the names of the columns, and the values.
    """
    setattr(figure, OWN_TABLE, csv_text(header, rows))


def figure_data(figure) -> str:
    """All lines, points, bands, bars, images and colour maps of a figure as CSV with the columns panel, series, x, y, value.

    Lines that begin with "#" name the axes of each panel. A band or a bar is given by the corners of its outline, a
    colour map by the centres of its cells and their values. Contour lines, texts and legends are left out.

    Arguments:
        figure: a Matplotlib figure. One that brings a table of its own, by `set_figure_data`, gives that one.
    Returns:
        the table as text; numbers have seven significant digits.
    """
    if hasattr(figure, OWN_TABLE):
        return getattr(figure, OWN_TABLE)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    panels = [ax for ax in figure.axes if ax.axison or ax.images or ax.collections or ax.lines or ax.patches]
    for number, ax in enumerate(panels, 1):
        title = " ".join(
            text for text in (ax.get_title("left"), ax.get_title(), ax.get_title("right")) if text
        )
        table.write(
            f"# panel {number}: {_plain(title)}; x: {_plain(ax.get_xlabel())}; y: {_plain(ax.get_ylabel())}\n"
        )
    writer.writerow(HEADER)
    for number, ax in enumerate(panels, 1):
        for series, points in _series(ax):
            for row in points:
                writer.writerow([number, series, *(f"{value:.7g}" for value in row), *[""] * (3 - len(row))])
    return table.getvalue()


def _plain(text: str) -> str:
    return " ".join(text.split())


def _name(artist, kind: str, number: int) -> str:
    label = str(artist.get_label())
    return f"{kind} {number}" if not label or label.startswith("_") else _plain(label)


def _series(ax):
    """(name, array of rows (x, y) or (x, y, value)) of everything that is drawn in data coordinates."""
    from matplotlib.collections import LineCollection, PathCollection, PolyCollection, QuadMesh

    for number, line in enumerate(ax.lines, 1):
        yield _name(line, "line", number), _numbers(np.column_stack(line.get_data(orig=False)))
    for number, item in enumerate(ax.collections, 1):
        values = (
            None
            if item.get_array() is None
            else np.ma.filled(np.ma.asarray(item.get_array(), float), np.nan).ravel()
        )
        if isinstance(item, QuadMesh):
            corners = np.asarray(item.get_coordinates())
            centres = (corners[:-1, :-1] + corners[1:, :-1] + corners[:-1, 1:] + corners[1:, 1:]) / 4
            if values.size == centres.shape[0] * centres.shape[1]:
                yield _name(item, "map", number), np.column_stack([centres.reshape(-1, 2), values])
        elif isinstance(item, PathCollection):
            points = _numbers(item.get_offsets())
            yield (
                _name(item, "points", number),
                points if values is None or len(values) != len(points) else np.column_stack([points, values]),
            )
        elif isinstance(item, LineCollection):
            for segment in item.get_segments():
                yield _name(item, "segments", number), _numbers(segment)
        elif isinstance(item, PolyCollection):
            for path in item.get_paths():
                yield _name(item, "band", number), _numbers(path.vertices)
    for number, image in enumerate(ax.images, 1):
        values = np.ma.filled(np.ma.asarray(image.get_array(), float), np.nan)
        if values.ndim == 2:  # a photograph has colours, no values
            left, right, bottom, top = image.get_extent()
            rows, columns = values.shape
            x = left + (np.arange(columns) + 0.5) * (right - left) / columns
            y = (
                (bottom + (np.arange(rows) + 0.5) * (top - bottom) / rows)
                if image.origin == "lower"
                else (top + (np.arange(rows) + 0.5) * (bottom - top) / rows)
            )
            yield (
                _name(image, "map", number),
                np.column_stack([np.tile(x, rows), np.repeat(y, columns), values.ravel()]),
            )
    for number, patch in enumerate(ax.patches, 1):
        yield (
            _name(patch, "shape", number),
            _numbers(patch.get_patch_transform().transform(patch.get_path().vertices)),
        )


def _numbers(values) -> np.ndarray:
    return np.ma.filled(np.ma.asarray(values, float), np.nan)


def attach_figure_data() -> None:
    """Let every figure that a notebook shows carry its data, as the MIME type text/csv; outside a notebook nothing happens."""
    try:
        from IPython import get_ipython
        from IPython.core.formatters import BaseFormatter
        from traitlets import ObjectName, Unicode
    except ImportError:
        return
    shell = get_ipython()
    if shell is None or "text/csv" in shell.display_formatter.formatters:
        return

    class FigureDataFormatter(BaseFormatter):
        format_type = Unicode("text/csv")
        print_method = ObjectName("_repr_csv_")

    from matplotlib.figure import Figure

    formatter = FigureDataFormatter(parent=shell.display_formatter)
    formatter.for_type(Figure, figure_data)
    shell.display_formatter.formatters["text/csv"] = formatter
    if "text/csv" not in shell.display_formatter.active_types:
        shell.display_formatter.active_types = [*shell.display_formatter.active_types, "text/csv"]
