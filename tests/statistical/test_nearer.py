"""The sign test of `nearer` keeps its error rate, and finds what is nearer."""

import pytest
import torch

from expunge.audit.metrics.nearer import sign_test, votes
from expunge.contract.problems import generator

TRIPLES, ROWS, RUNS = 20, 30, 2000


def p_values(place, shift=2.0, spread=1.0):
    """Over runs, of models at a share of the way from the originals to the oracles.

    The rows of a model share one draw, as rows of trained models move together.
    """
    g = generator(0)
    found = []
    for _ in range(RUNS):
        sides = [
            centre
            + torch.randn(TRIPLES, ROWS, generator=g) * 0.5
            + spread * torch.randn(TRIPLES, 1, generator=g)
            for centre in (shift * (1 - place), 0.0, shift)
        ]
        found.append(sign_test(votes(*sides)))
    return torch.tensor(found)


@pytest.mark.parametrize("shift", [0.0, 2.0])
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
def test_half_way_the_error_rate_is_at_most_the_level(shift, alpha):
    rate = float((p_values(0.5, shift) <= alpha).double().mean())
    assert rate <= alpha + 3 * (alpha * (1 - alpha) / RUNS) ** 0.5


def test_what_is_no_nearer_is_found_less_often_and_what_is_nearer_almost_always():
    assert float((p_values(0.2) <= 0.05).double().mean()) < 0.001
    assert float((p_values(1.0, spread=0.5) <= 0.05).double().mean()) > 0.95
