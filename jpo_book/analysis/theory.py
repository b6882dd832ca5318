"""The first step of the optimization in theory and in measurement:
the points of Figure 2, on which claim C4 rests."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import jax
import numpy as np

from jpo_book.files import studies_folder, write_if_changed
from jpo_book.studies.identity import hash_of_code
from jpo_lib.theory import alignment as theory
from jpo_lib.theory import measured
from jpo_lib.theory.measured import Agreement

SIGNAL_TO_NOISE, DIMENSIONS, NOISE_SIZES = 1 / 8, (1, 2, 8, 64), 2 ** np.arange(9)
WIDTHS = (128, 4096)
NOISE_SCALE, LANDSCAPE_SIZES = 1.0, 3 ** np.arange(6)
USUAL_SEEDS = (1000, 50)  # of the full version, and of the small one
FAR = 4  # standard errors; a point that lies farther from theory speaks against it


class FirstStep(NamedTuple):
    """Measurement beside theory for the panels of Figure 2, and what the network panel was made of."""

    noise: dict[int, Agreement]  # by the dimension
    network: dict[tuple[int, int], Agreement]  # by n and the width
    landscape: dict[tuple[str, str], Agreement]  # by estimator and law of the noise
    num_seeds: int
    key: jax.Array  # of the networks' weights
    gammas: np.ndarray  # identifiers, (num_seeds, largest n)
    infinite: dict[int, np.ndarray]  # alignment at infinite width, by n
    width_term: dict[int, np.ndarray]  # B, by n
    cosines: dict[tuple[int, int], np.ndarray]  # measured, by n and the width

    def panels(self) -> dict[str, list[Agreement]]:
        """Agreements by the letter of their panel."""
        chosen = {"c": "sum", "d": "vote"}
        return {
            "a": list(self.noise.values()),
            "b": list(self.network.values()),
            **{
                letter: [found for (kind, _), found in self.landscape.items() if kind == estimator]
                for letter, estimator in chosen.items()
            },
        }


def first_step(profile: str, seed: int = 0, num_seeds: int | None = None) -> FirstStep:
    """Sample first steps of the settings of Figure 2, and compare them with Theorems 1 to 4.

    Arguments:
        profile: with "smoke" there are fewer points and seeds.
        seed: of the JAX key.
        num_seeds: repetitions behind each point, at least 2; 50 or 1000 when None.
    """
    small = profile == "smoke"
    num_seeds = num_seeds or USUAL_SEEDS[small]
    key_noise, key_landscape, key_cauchy, key_gammas, key_network = jax.random.split(jax.random.key(seed), 5)

    samples = measured.sample_noise_alignment(key_noise, num_seeds, NOISE_SIZES, DIMENSIONS, SIGNAL_TO_NOISE)
    curves = {d: theory.noise_alignment(SIGNAL_TO_NOISE * np.sqrt(NOISE_SIZES), d) for d in DIMENSIONS}
    noise = {
        d: measured.agreement(samples[:, i], curves[d], sign_valued=d == 1) for i, d in enumerate(DIMENSIONS)
    }

    sizes = [1, 4, 16] if small else [1, 2, 4, 8, 16, 64, 256]
    gammas = np.asarray(jax.random.uniform(key_gammas, (num_seeds, max(sizes)), np.float32, -1, 1))
    infinite = {n: theory.network_alignment(gammas[:, :n]) for n in sizes}
    width_term = {n: theory.network_width_term(gammas[:, :n]) for n in sizes}
    cosines = {}
    for m in WIDTHS:
        samples = measured.sample_network_alignment(key_network, gammas, m, np.array(sizes))
        cosines |= {(n, m): samples[:, i] for i, n in enumerate(sizes)}
    network = {(n, m): measured.agreement(cosines[n, m], infinite[n] + width_term[n] / m) for n, m in cosines}

    landscape = {}
    for law, key in (("normal", key_landscape), ("cauchy", key_cauchy)):
        both = measured.sample_landscape_alignment(key, num_seeds, LANDSCAPE_SIZES, NOISE_SCALE, law)
        for estimator in ("sum", "vote"):
            curve = theory.landscape_alignment(LANDSCAPE_SIZES, NOISE_SCALE, estimator, law)
            landscape[estimator, law] = measured.agreement(both[estimator], curve, sign_valued=True)
    return FirstStep(noise, network, landscape, num_seeds, key_network, gammas, infinite, width_term, cosines)


def largest_z(agreements) -> float:
    """The largest distance between measurement and theory, in standard errors."""
    return float(max(np.max(np.abs(found.z)) for found in agreements))


def agreement_with_theory(
    profile: str, seed: int = 0, num_seeds: int | None = None, step: FirstStep | None = None
) -> dict[str, Any]:
    """How many points of `first_step` lie near theory; kept beside the studies, by the hash of the code.

    Arguments:
        profile, seed, num_seeds: as in `first_step`.
        step: its result, where it is there already.
    Returns:
        {"points", "inside", "largest_z", "num_seeds"}.
    """
    code = hash_of_code((__name__, "first_step"), (__name__, "largest_z"))[:10]
    small = profile == "smoke"
    num_seeds = num_seeds or USUAL_SEEDS[small]
    name = f"{'small' if small else 'full'}-{num_seeds}-seed{seed}-{code}.json"
    path = studies_folder() / "first_step" / name
    if not path.is_file():
        panels = (step or first_step(profile, seed, num_seeds)).panels()
        found = [agreement for agreements in panels.values() for agreement in agreements]
        z = np.abs(np.concatenate([np.ravel(agreement.z) for agreement in found]))
        summary = {"points": z.size, "inside": int(np.sum(z <= FAR)), "largest_z": largest_z(found)}
        write_if_changed(path, json.dumps({**summary, "num_seeds": num_seeds}) + "\n")
    return json.loads(path.read_text(encoding="utf-8"))
