"""The data that figures carry: what was drawn, and nothing else."""

import csv
import io
import sys

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from conftest import ROOT

from jpo_book import words
from jpo_book.figures import figure_data, set_figure_data
from jpo_book.pages import tables

sys.path.insert(0, str(ROOT / "book" / "_ext"))
import figure_origin


def read(text):
    """{(panel, series): rows of numbers}, and the comment lines."""
    lines = text.splitlines()
    comments = [line for line in lines if line.startswith("#")]
    series = {}
    for row in csv.DictReader(io.StringIO("\n".join(line for line in lines if not line.startswith("#")))):
        series.setdefault((int(row["panel"]), row["series"]), []).append(
            [float(row[k]) for k in ("x", "y", "value") if row[k]]
        )
    return {key: np.array(rows) for key, rows in series.items()}, comments


@pytest.fixture
def axes():
    figure, axes = plt.subplots(1, 2)
    yield axes
    plt.close(figure)


def test_lines_points_and_axes_are_given(axes):
    x = np.linspace(0, 1, 5)
    axes[0].plot(x, x**2, label="square, of x")
    axes[0].plot(x, np.where(x > 0.5, np.nan, x))
    axes[1].scatter(x, -x, c=10 * x, label="points")
    axes[0].set(xlabel="time (s)", ylabel="length\n(m)")
    axes[0].set_title("(a)", loc="left")
    series, comments = read(figure_data(axes[0].figure))
    np.testing.assert_allclose(series[1, "square, of x"], np.column_stack([x, x**2]), rtol=1e-6)
    np.testing.assert_array_equal(np.isnan(series[1, "line 2"][:, 1]), x > 0.5)
    np.testing.assert_allclose(series[2, "points"], np.column_stack([x, -x, 10 * x]), rtol=1e-6)
    assert comments[0] == "# panel 1: (a); x: time (s); y: length (m)"


@pytest.mark.parametrize("draw", ["pcolormesh", "imshow upper", "imshow lower"])
def test_colour_maps_are_given_at_the_centres_of_their_cells(axes, draw):
    values = np.arange(6.0).reshape(2, 3)  # row r, column c: y = r + 1/2, x = c + 1/2
    if draw == "pcolormesh":
        axes[0].pcolormesh(np.arange(4), np.arange(3), values)
    else:
        origin = draw.split()[1]
        axes[0].imshow(values if origin == "lower" else values[::-1], origin=origin, extent=(0, 3, 0, 2))
    (rows,) = read(figure_data(axes[0].figure))[0].values()
    found = {(x, y): value for x, y, value in rows}
    assert found == {(c + 0.5, r + 0.5): values[r, c] for r in range(2) for c in range(3)}


def test_bands_bars_and_empty_figures(axes):
    axes[0].fill_between([0, 1], [0, 0], [1, 2], label="band")
    axes[1].bar([3], [7], width=2)
    series, _ = read(figure_data(axes[0].figure))
    assert {tuple(p) for p in series[1, "band"]} >= {(0, 0), (0, 1), (1, 2), (1, 0)}
    assert {tuple(p) for p in series[2, "shape 1"]} >= {(2, 0), (4, 0), (4, 7), (2, 7)}
    assert read(figure_data(plt.figure()))[0] == {}


def test_a_figure_or_a_table_may_bring_its_own_numbers():
    figure = plt.figure()
    figure.add_subplot().plot([0, 1], [0, 1])
    set_figure_data(figure, ["a", "b"], [[1, "x, y"], [0.123456789, "z"]])
    assert figure_data(figure) == 'a,b\n1,"x, y"\n0.123456789,z\n'
    plain = tables.markdown_table(["a"], [["12 %"]], label="table-1", caption="A table")
    exact = tables.markdown_table(
        ["a"], [["12 %"]], label="table-1", caption="A table", data=(["a"], [[0.1234]])
    )
    assert plain._repr_csv_() is None and exact._repr_csv_() == "a\n0.1234\n" and plain.data == exact.data
    shown = {"metadata": {}, "outputs": [{"data": {"text/markdown": exact.data}}]}
    assert (
        figure_origin.label_of(shown) == "table-1"
        and figure_origin.label_of({"metadata": {}, "outputs": []}) is None
    )


def test_numbers_do_not_break_and_the_download_is_plain():
    shown = words.unbroken("-3 % (1–20), x-ray, 1e-05")
    assert shown == "−3\u00a0% (1\u2060–\u206020), x-ray, 1e-05"
    assert words.unbroken("`x -1 %`") == "`x -1 %`"
    assert shown.translate(figure_origin.PLAIN) == "-3 % (1–20), x-ray, 1e-05"
