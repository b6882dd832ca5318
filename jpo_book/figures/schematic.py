"""The flow chart of joint parameter optimization."""

from __future__ import annotations

from jpo_book.names import METHODS


def draw_schematic(ax) -> None:
    """Joint parameter optimization as a flow chart."""
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    def box(x, y, text, width=1.5, height=0.8, color="#f4f4f4"):
        ax.add_patch(
            FancyBboxPatch(
                (x - width / 2, y - height / 2),
                width,
                height,
                boxstyle="round,pad=0.02,rounding_size=0.12",
                facecolor=color,
                edgecolor="#333333",
                linewidth=1.0,
            )
        )
        ax.text(x, y, text, ha="center", va="center", fontsize=9)

    def arrow(start, end, bend=0.0, **style):
        ax.add_patch(
            FancyArrowPatch(
                start,
                end,
                connectionstyle=f"arc3,rad={bend}",
                arrowstyle="-|>",
                mutation_scale=11,
                **{"color": "#333333", "linewidth": 1.2, **style},
            )
        )

    box(0.8, 1.55, "target $y_i$")
    box(0.8, 0.45, "identifier $\\gamma_i$")
    box(3.3, 1.0, "network\nweights $\\theta$", width=1.6, height=1.3, color="#d6e6f4")
    box(5.5, 1.0, "$x_i$", width=0.8)
    box(7.5, 1.0, "simulator\n$F$", width=1.5, height=1.3, color="#fbe5cf")
    box(9.6, 1.0, "$F(x_i)$", width=1.1)
    box(11.7, 1.0, "loss\n$\\mathcal{L}(F(x_i), y_i)$", width=1.9, height=1.1, color="#dcefe4")
    for start, end in (
        ((1.58, 1.5), (2.45, 1.25)),
        ((1.58, 0.5), (2.45, 0.75)),
        ((4.15, 1.0), (5.05, 1.0)),
        ((5.95, 1.0), (6.7, 1.0)),
        ((8.3, 1.0), (9.0, 1.0)),
        ((10.2, 1.0), (10.7, 1.0)),
    ):
        arrow(start, end)
    arrow((0.8, 2.0), (11.7, 1.62), bend=-0.13)
    ax.text(6.2, 2.6, "the same target enters the loss", ha="center", fontsize=8, color="#555555")
    back = {"linestyle": "--", "color": METHODS["GradientDescent"][1]}
    arrow((11.7, 0.4), (7.5, 0.3), bend=-0.25, **back)
    arrow((7.4, 0.28), (3.3, 0.3), bend=-0.25, **back)
    ax.text(
        7.5,
        -0.6,
        "gradients, summed over all $n$ problems, change $\\theta$",
        ha="center",
        fontsize=8,
        color=METHODS["GradientDescent"][1],
    )
    ax.set(xlim=(-0.1, 12.8), ylim=(-0.8, 2.9))
    ax.set_axis_off()
