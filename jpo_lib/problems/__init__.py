"""The inverse problems of the paper. Each function returns an `InverseProblem`; its settings are keywords."""

from jpo_lib.problems.wave_packet import wave_packet

PROBLEMS = {"wave_packet": wave_packet}

__all__ = ["PROBLEMS", "wave_packet"]
