"""Figures: functions that take Axes and problems or results of studies, and draw one panel each."""

from jpo_book.figures.ablations import not_computed, plot_rates, plot_variants
from jpo_book.figures.alignment import plot_alignment, plot_coupling, plot_outcomes
from jpo_book.figures.billiards import film_of_shot, plot_shot, plot_shot_landscape, plot_shots
from jpo_book.figures.costs import (
    COST_LEVELS,
    cost_legend,
    plot_costs,
    plot_not_computed,
    plot_supervised_cost,
)
from jpo_book.figures.figure_data import csv_text, figure_data, set_figure_data
from jpo_book.figures.film import show_film
from jpo_book.figures.generalization import plot_answer_errors, plot_answers_solved
from jpo_book.figures.kuramoto_sivashinsky import (
    beta_landscapes,
    film_of_trajectory,
    plot_beta_landscapes,
    plot_cost,
    plot_final_states,
    plot_joint_landscape,
    plot_trajectory,
)
from jpo_book.figures.navier_stokes import draw_flow, plot_evolution, plot_flows, plot_loss_map
from jpo_book.figures.results import (
    fraction_better,
    plot_fraction_better,
    plot_histories,
    plot_loss_distribution,
    plot_loss_history,
    plot_solved,
    use_book_style,
)
from jpo_book.figures.run_time import plot_memory_per_problem, plot_time_per_problem
from jpo_book.figures.schematic import draw_schematic
from jpo_book.figures.validity import plot_validity
from jpo_book.figures.verification import plot_convergence
from jpo_book.figures.wave_packet import plot_landscape, plot_signals, plot_waveform

__all__ = [
    "COST_LEVELS",
    "beta_landscapes",
    "cost_legend",
    "csv_text",
    "draw_flow",
    "draw_schematic",
    "figure_data",
    "film_of_shot",
    "film_of_trajectory",
    "fraction_better",
    "not_computed",
    "plot_alignment",
    "plot_answer_errors",
    "plot_answers_solved",
    "plot_beta_landscapes",
    "plot_convergence",
    "plot_cost",
    "plot_costs",
    "plot_coupling",
    "plot_evolution",
    "plot_final_states",
    "plot_flows",
    "plot_fraction_better",
    "plot_histories",
    "plot_joint_landscape",
    "plot_landscape",
    "plot_loss_distribution",
    "plot_loss_history",
    "plot_loss_map",
    "plot_memory_per_problem",
    "plot_not_computed",
    "plot_outcomes",
    "plot_rates",
    "plot_shot",
    "plot_shot_landscape",
    "plot_shots",
    "plot_signals",
    "plot_solved",
    "plot_supervised_cost",
    "plot_time_per_problem",
    "plot_trajectory",
    "plot_validity",
    "plot_variants",
    "plot_waveform",
    "set_figure_data",
    "show_film",
    "use_book_style",
]
