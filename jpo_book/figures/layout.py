"""Where the panels of a figure stand, equal to the last digit in equal runs."""

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.transforms import Bbox


class SteadyLayout(ConstrainedLayoutEngine):
    """Constrained layout with positions rounded to 1e-9 of the figure.

    The solver of the layout takes its unknowns in the order of their addresses in memory, so the last bit
    of a position differs from run to run, and with it the digits and names in an SVG.
    """

    def execute(self, fig: Figure) -> None:
        super().execute(fig)
        _round(fig)


def _round(figure) -> None:
    for part in figure.subfigs:
        box = part.bbox_relative
        box.p0, box.p1 = box.p0.round(9), box.p1.round(9)
        _round(part)
    for ax in figure.axes:
        in_layout = ax.get_in_layout()
        ax.set_position(Bbox(ax.get_position(original=True).get_points().round(9)))
        ax.set_in_layout(in_layout)  # setting a position takes a panel out of the layout


def settle(figure: Figure) -> None:
    """Hook of `pyplot` for new figures."""
    if isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine):
        figure.set_layout_engine(SteadyLayout())
