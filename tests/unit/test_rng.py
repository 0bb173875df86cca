"""Draws depend on the key and the member alone; seeded() leaves no trace."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from expunge.rng import Draws, reseed, seeded

KINDS = {
    "permutation": lambda d: d.permutation(20),
    "integers": lambda d: d.integers(1000, (4, 5)),
    "uniform": lambda d: d.uniform((4, 5)),
    "normal": lambda d: d.normal((4, 5)),
}
kinds = pytest.mark.parametrize("draw", KINDS.values(), ids=KINDS)


@kinds
def test_a_member_draws_the_same_among_any_others(draw):
    place = Draws((3, "test")).at("step", 7)
    many = draw(place.of([5, 0, 9, 2]))
    for k, member in enumerate([5, 0, 9, 2]):
        assert torch.equal(draw(place.of([member]))[0], many[k])
        assert torch.equal(draw(place.of([1, member]))[1], many[k])


@kinds
def test_shape_has_the_member_axis_first(draw):
    alone = draw(Draws((0, "a")))
    assert draw(Draws((0, "a")).of([4, 1, 2])).shape == (3, *alone.shape)
    assert draw(Draws((0, "a")).of([4]).of(None)).shape == alone.shape


@kinds
def test_global_generators_play_no_part(draw):
    first = draw(Draws((0, "a")))
    with seeded(123):
        torch.rand(3)
        assert torch.equal(draw(Draws((0, "a"))), first)


KEYS = [
    (0, "original"),
    (1, "original"),
    (0, "oracle"),
    (0, "original", "build"),
    (0, "original", "build", 0),
    (0, "original", "build", 1),
    (0, "original", 1),
    (0, "original", "1"),
    (0, "originalbuild"),
    (10, "original"),
    (1, 0, "original"),
]


@kinds
def test_other_keys_draw_other_numbers(draw):
    drawn = [draw(Draws(key)) for key in KEYS]
    for k, one in enumerate(drawn):
        assert not any(torch.equal(one, other) for other in drawn[:k])


def test_walking_down_is_one_step_or_many():
    assert Draws((0,)).at("a", 1).at("b") == Draws((0, "a", 1, "b"))


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=20, unique=True), st.integers(0, 2**40))
@settings(max_examples=30, deadline=None)
def test_seeds_are_distinct_and_fit_every_generator(members, seed):
    seeds = Draws((seed, "x")).of(members).seeds()
    assert len(set(seeds)) == len(members)
    assert all(0 <= s < 2**63 for s in seeds)


def test_seeds_are_pinned():
    """A change here would silently make every stored result another one."""
    assert Draws((0, "original")).of([0, 7]).seeds() == [
        5995524589554947655,
        370998143298667125,
    ]


def test_a_whole_number_of_numpy_is_that_number():
    """Seeds come from np.arange, too, and must not name another stream of draws."""
    plain, numpy = Draws((3, "a")).at("step", 5).of([1]), Draws((np.int64(3), "a"))
    assert numpy.at("step", np.int32(5)).of(np.array([1])).seeds() == plain.seeds()


def test_permutation_is_one():
    drawn = Draws((0, "p")).of(range(3)).permutation(50)
    assert torch.equal(drawn.sort(1).values, torch.arange(50).expand(3, 50))


def test_draws_have_the_law_they_name():
    """20,000 draws; means within 5 standard errors, so that a range off by one is seen."""
    n = 20_000
    integers = Draws((0, "i")).integers(6, (n,)).double()
    assert set(integers.tolist()) == {0, 1, 2, 3, 4, 5}
    assert abs(integers.mean() - 2.5) < 5 * (35 / 12 / n) ** 0.5
    uniform, normal = Draws((0, "u")).uniform((n,)), Draws((0, "n")).normal((n,))
    assert abs(uniform.mean() - 0.5) < 5 * (1 / 12 / n) ** 0.5
    assert abs(normal.mean()) < 5 / n**0.5
    assert abs(normal.var() - 1) < 5 * (2 / n) ** 0.5


def test_seeded_repeats_all_three_generators():
    def some():
        return torch.rand(2).tolist(), np.random.rand(), random.random()  # noqa: NPY002

    with seeded(5):
        first = some()
    with seeded(5):
        assert some() == first
    with seeded(6):
        assert some()[0] != first[0]


@pytest.mark.parametrize("fails", [False, True])
def test_seeded_restores_all_three_generators(fails):
    """Also where the code inside raises, and where it seeds anew."""

    def state():
        return torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()  # noqa: NPY002

    before = state()
    try:
        with seeded(5):
            torch.manual_seed(1)
            np.random.seed(1)  # noqa: NPY002
            random.seed(1)
            if fails:
                raise KeyError
    except KeyError:
        pass
    assert state() == before


def test_reseeding_is_torchs_own_seeding():
    """On a CPU; it is what dropout of a single model draws from at each step."""
    with seeded(3):
        reseed(11)
        found = torch.rand(5)
        torch.manual_seed(11)
        assert torch.equal(torch.rand(5), found)
