"""The inverse problems of the paper, and one of our own with forty unknowns. Each function returns an
`InverseProblem`; its settings are keywords."""

from jpo_lib.problems.billiards import billiards, simulate_shot
from jpo_lib.problems.kuramoto_sivashinsky import kuramoto_sivashinsky
from jpo_lib.problems.lorenz96 import lorenz96
from jpo_lib.problems.navier_stokes import navier_stokes
from jpo_lib.problems.wave_packet import wave_packet

PROBLEMS = {
    "wave_packet": wave_packet,
    "billiards": billiards,
    "kuramoto_sivashinsky": kuramoto_sivashinsky,
    "navier_stokes": navier_stokes,
    "lorenz96": lorenz96,
}

__all__ = [
    "PROBLEMS",
    "billiards",
    "kuramoto_sivashinsky",
    "lorenz96",
    "navier_stokes",
    "simulate_shot",
    "wave_packet",
]
