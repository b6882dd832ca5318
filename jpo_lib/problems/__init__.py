"""The inverse problems of the paper. Each function returns an `InverseProblem`; its settings are keywords."""

from jpo_lib.problems.navier_stokes import navier_stokes
from jpo_lib.problems.wave_packet import wave_packet

PROBLEMS = {"wave_packet": wave_packet, "navier_stokes": navier_stokes}

__all__ = ["PROBLEMS", "navier_stokes", "wave_packet"]
