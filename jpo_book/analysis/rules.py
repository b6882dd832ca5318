"""The rules by which the claims are judged, in words and with a version.

A rule is written before the results it judges, and a change of it is visible.
"""

from __future__ import annotations

RULES_VERSION = 2
COST_LEVEL = 0.9
MARGIN = 0.02  # an advantage smaller than this is no advantage
LEAST_DATA_SEEDS, LEAST_NETWORK_SEEDS = 2, 3  # with fewer, nothing is said
RULES = {
    "C1": (
        "For each experiment: refined JPO with the largest n against one run of BFGS, on the problems it was trained on. "
        f"Effect: fraction better minus fraction worse. It counts for the claim when the 95 % interval lies above {MARGIN}, "
        "and against it when the interval lies below that. Reproduced: for, in all four experiments. Not reproduced: for in none of those run. "
        "Partly: everything else, also while experiments are missing. "
        f"Out of budget: a run with fewer than {LEAST_DATA_SEEDS} data sets or {LEAST_NETWORK_SEEDS} networks each, such as that of the smoke profile."
    ),
    "C2": (
        "For each experiment: solved rate of refined JPO with the largest n minus that with n = 1. "
        f"It counts for the claim when the 95 % interval lies above {MARGIN}. The verdicts follow as for C1."
    ),
    "C3": (
        "The rule of C1 for the three kinds of landscape: wave packet (many local minima), billiards (zero gradients) and "
        "Kuramoto–Sivashinsky (chaos). Reproduced: for, in all three. Not reproduced: for in none of those run. Partly: everything else. "
        "Out of budget: as for C1."
    ),
    "C4": (
        "Every measured point of Figure 2 is compared with theory. Reproduced when all lie within 4 standard errors, "
        "partly when at least nine in ten do, not reproduced otherwise."
    ),
    "C5": (
        "For each experiment with a study of costs: the evaluations per problem that multi-start BFGS needs until "
        f"{100 * COST_LEVEL:g} % of the known problems are solved, divided by those of refined JPO with the largest n, its training counted in full. "
        "It counts for the claim when the 95 % interval lies above 1: the network is then the cheaper optimizer for data that are there. "
        "Reproduced: for, in all experiments with such a study. Not reproduced: for in none. Partly: everything else. Out of budget: as for C1."
    ),
}


EFFECTS = {
    "C1": "the fraction of problems on which refined JPO is better than BFGS, minus the fraction on which it is worse",
    "C2": "the solved rate with the largest n minus that with n = 1",
    "C3": "the fraction of problems on which refined JPO is better than BFGS, minus the fraction on which it is worse",
    "C5": f"the cost of solving {100 * COST_LEVEL:g} % of the problems by multi-start BFGS, divided by that of refined JPO with the largest n",
}
THRESHOLDS = {
    "C1": MARGIN,
    "C2": MARGIN,
    "C3": MARGIN,
    "C5": 1.0,
}  # an interval above this counts for the claim
