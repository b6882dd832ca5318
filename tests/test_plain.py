"""Plain networks beside tailored ones."""

import jax
import numpy as np
import pytest

from jpo_book import studies
from jpo_book.names import EXPERIMENTS
from jpo_book.pages import tables
from jpo_book.studies.named_networks import named_network
from jpo_book.words import percent
from jpo_lib.networks.dense import Dense
from jpo_lib.problems import PROBLEMS


@pytest.mark.parametrize("profile", ["smoke", "laptop", "paper"])
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_a_plain_network_can_be_compared_with_the_tailored_one(experiment, profile):
    """Its n, its data and its problems are among those of the experiment, and it knows nothing else."""
    tailored, plain = (studies.plan(name, profile) for name in (experiment, f"{experiment}_plain"))
    there = {(c.group_size, c.data_seed): c for c in tailored}
    cells = [c for c in plain if c.kind == "joint" and not c.variant]
    assert cells
    for cell in cells:
        other = there[cell.group_size, cell.data_seed]
        assert cell.num_problems <= other.num_problems
        assert len(cell.network_seeds) >= len(other.network_seeds)  # the page speaks of the experiment's
        if cell.settings != other.settings:  # then tailored networks come with it
            assert max(c.group_size for c in plain if c.variant == "tailored") == max(
                c.group_size for c in cells
            )
        problem = PROBLEMS[cell.problem](**cell.settings)
        make = named_network(problem, cell.options["network"])
        assert isinstance(make(jax.random.key(0)), Dense)


def test_words_on_plain_networks_are_those_of_the_results():
    named = {"profile": "paper", "group_sizes": [16, 256]}
    tailored, cells = (studies.plan(name, **named) for name in ("wave_packet", "wave_packet_plain"))
    joint = studies.combine(tailored, studies.load_or_run(tailored, quiet=True))[1]
    plain = studies.combine_variants(cells, studies.load_or_run(cells, quiet=True))
    told = tables.plain_words(cells, plain, joint)
    assert (told["plain-rate"], told["plain-steps"]) == ("0.002", "400")
    solved = [
        float(np.mean(one.solved.sel(solver="JointRefined", group_size=256))) for one in (plain[""][1], joint)
    ]
    assert f"With n = 256 they solve {percent(solved[0])} (" in told["plain-sentence"]
    assert f"fewer than the network above ({percent(solved[1])})" in told["plain-sentence"]
    # Where it is not worse than the other, the words say so, too.
    same = tables.plain_words(cells, plain, plain[""][1])["plain-sentence"]
    assert "not clearly more or fewer than the network above" in same
    none = tables.plain_words(cells[:1], {}, joint)
    assert set(none) == set(told) and set(none.values()) == {"(not computed)"}
