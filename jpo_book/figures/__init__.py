"""Figures: functions that take Axes and problems or results of studies, and draw one panel each."""

# ruff: noqa: F401 (the names are gathered here for the notebooks)
from jpo_book.figures.alignment import plot_alignment, plot_coupling, plot_outcomes
from jpo_book.figures.billiards import film_of_shot, plot_shot, plot_shot_landscape, plot_shots
from jpo_book.figures.costs import COST_LEVELS, plot_costs, plot_memory_per_problem, plot_time_per_problem
from jpo_book.figures.figure_data import csv_text, figure_data, set_figure_data
from jpo_book.figures.film import show_film
from jpo_book.figures.kuramoto_sivashinsky import (
    beta_landscapes,
    film_of_trajectory,
    plot_beta_landscapes,
    plot_cost,
    plot_final_states,
    plot_joint_landscape,
    plot_trajectory,
)
from jpo_book.figures.method import draw_schematic, plot_convergence
from jpo_book.figures.navier_stokes import draw_flow, plot_evolution, plot_flows, plot_loss_map
from jpo_book.figures.panels import not_computed, plot_not_computed
from jpo_book.figures.results import (
    plot_fraction_better,
    plot_histories,
    plot_loss_distribution,
    plot_loss_history,
    plot_solved,
    use_book_style,
)
from jpo_book.figures.smoothing import (
    plot_good_starts,
    plot_network_paths,
    plot_slope_signs,
    plot_smoothed_landscape,
)
from jpo_book.figures.tournament import plot_price, plot_price_against_size
from jpo_book.figures.validity import plot_validity
from jpo_book.figures.variants import plot_answer_errors, plot_answers_solved, plot_rates, plot_variants
from jpo_book.figures.wave_packet import plot_landscape, plot_signals, plot_waveform
