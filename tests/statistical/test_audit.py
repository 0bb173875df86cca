"""What the metrics and the verdict say of models whose distributions are known.

Margins are normal; `shared` is the part of their variance that all rows of a model have in common,
as rows of real models do. Seeds are fixed, and tolerances come from the spread over replications,
so that another random number generator would fail them less than once in a thousand times.
"""

import math

import pytest
import torch

from expunge.audit.evidence.groups import GROUPS
from expunge.audit.metrics.distance import distance_null, distance_table
from expunge.audit.metrics.klom import klom, p95
from expunge.audit.metrics.klom_table import klom_table
from expunge.audit.metrics.resample import jackknife, splits
from expunge.audit.verdict.judge import Measured, judge

G = torch.Generator()


@pytest.fixture(autouse=True)
def seeded():
    G.manual_seed(0)


def draw(models, rows, shift=0.0, shared=0.0):
    own = torch.randn(models, rows, generator=G) * math.sqrt(1 - shared)
    return own + torch.randn(models, 1, generator=G) * math.sqrt(shared) + shift


def summaries(u, o):
    values = klom(u, o)
    return torch.stack([p95(values), values.mean()])


def replicates(count, models, rows, shift=0.0, shared=0.0):
    pairs = (
        (draw(models, rows, shift, shared), draw(models, rows, 0, shared)) for _ in range(count)
    )
    return torch.stack([summaries(u, o) for u, o in pairs])


# ---- the floor: what two equal distributions score (published: reference/peers.md, section 6)


@pytest.mark.parametrize(
    ("models", "high", "mean"), [(50, 1.7, 0.87), (100, 0.65, 0.33), (200, 0.28, 0.14)]
)
def test_floor_of_equal_distributions(models, high, mean):
    found = replicates(15, models, 400)
    center, error = found.mean(0), found.std(0) / math.sqrt(15)
    # 12 %: published figures are of two digits, and of variants that differ by 3 to 9 %
    for value, se, published in zip(center.tolist(), error.tolist(), (high, mean), strict=True):
        assert abs(value - published) <= 0.12 * published + 5 * se
        assert se < 0.05 * published  # so a floor wrong by a third would be seen


def test_floor_hardly_depends_on_the_shape_of_the_margins():
    normal = replicates(15, 100, 400)[:, 1].mean()
    heavy = [klom(*(draw(100, 400).pow(3) for _ in range(2))).mean() for _ in range(15)]
    flat = [klom(*(draw(100, 400).erf() for _ in range(2))).mean() for _ in range(15)]
    for other in (heavy, flat):
        assert abs(torch.stack(other).mean() / normal - 1) < 0.2


@pytest.mark.parametrize(("shift", "published"), [(0.5, 1.0), (1.0, 2.0), (2.0, 5.0), (3.0, 7.9)])
def test_planted_shifts_read_as_published(shift, published):
    found = replicates(8, 100, 400, shift)[:, 0]
    assert abs(found.mean() - published) <= 0.05 * published + 5 * found.std() / math.sqrt(8)


# ---- the standard error


def test_jackknife_of_a_mean_is_unbiased():
    def statistic(u, o):
        return u.mean() - o.mean()

    squares = torch.stack(
        [jackknife(statistic, draw(30, 1), draw(20, 1)).square() for _ in range(300)]
    )
    truth = 1 / 30 + 1 / 20
    assert abs(squares.mean() - truth) <= 5 * squares.std() / math.sqrt(300)  # sees 13 % bias


@pytest.mark.parametrize(
    ("shared", "shift", "factor"),
    [(0.0, 0.0, 2.6), (0.0, 1.0, 2.3), (0.8, 0.0, 1.8), (0.8, 1.0, 1.3)],
)
def test_jackknife_of_klom_against_the_true_spread(shared, shift, factor):
    """Never too small by much; too careful by `factor` (from 600 replications).

    The ratio of 40 replications has a relative sd of 0.12, so 1.6 is four of them.
    """
    values, squares = [], []
    for _ in range(40):
        u, o = draw(100, 60, shift, shared), draw(100, 60, 0, shared)
        values.append(summaries(u, o)[0])
        squares.append(jackknife(summaries, u, o)[0].square())
    ratio = torch.stack(squares).mean().sqrt() / torch.stack(values).std()
    assert factor / 1.6 < ratio < factor * 1.6


# ---- the null


def test_splits_of_the_oracles_give_uniform_p_values():
    """Kolmogorov-Smirnov at 1e-5: halves of another size, or overlapping ones, are far outside."""
    size, ranks = 20, []

    def statistic(a, b):
        return p95(klom(a, b)).item()

    for seed in range(60):
        fresh = statistic(draw(size, 30), draw(size, 30))
        null = [statistic(a, b) for a, b in splits(draw(4 * size, 30), size, 40, seed)]
        ranks.append(sum(value < fresh for value in null) / 40)
    ranks.sort()
    gap = max(abs(rank - (i + 0.5) / 60) for i, rank in enumerate(ranks))
    assert gap < math.sqrt(math.log(2 / 1e-5) / 2 / 60)


# ---- the verdict


SIZES = (100, 100, 100)


def klom_verdict(unlearned, oracle, null, original):
    table, before = (klom_table(x, oracle, SIZES) for x in (unlearned, original))
    return judge(
        {g: Measured(table[g]["p95"], table[g]["se"], null) for g in GROUPS},
        Measured(before["forget"]["p95"], before["forget"]["se"], null),
        "klom",
        1.0,
        "",
    ).verdict


def floor(rows=300):
    return float(replicates(10, 100, rows)[:, 0].median())


@pytest.mark.parametrize("shared", [0.0, 0.5])
def test_oracles_against_oracles_are_supported(shared):
    null = floor()
    words = [
        klom_verdict(
            draw(100, 300, 0, shared), draw(100, 300, 0, shared), null, draw(100, 300, 4, shared)
        )
        for _ in range(10)
    ]
    assert words.count("supported") >= 9


def test_a_shift_of_one_sd_is_found_where_rows_are_many():
    limit = floor() + 1.0
    for _ in range(4):
        u, o = draw(100, 1500, 1.0), draw(100, 1500)
        value, error = p95(klom(u, o)), jackknife(summaries, u, o)[0]
        assert 1.8 < value < 2.2
        assert value - 2 * error > limit  # not supported


def test_a_shift_of_one_sd_is_never_supported_and_one_of_two_sd_is_always_found():
    null = floor()
    for shift, words in ((1.0, {"inconclusive", "not supported"}), (2.0, {"not supported"})):
        for _ in range(4):
            unlearned = torch.cat([draw(100, 100, shift), draw(100, 200)], 1)
            assert klom_verdict(unlearned, draw(100, 300), null, draw(100, 300, 4)) in words


def distance_verdict(shift, original=4.0, shared=0.2, models=1):
    oracle = draw(20, 300, 0, shared)
    table, before = (
        distance_table(draw(n, 300, s, shared), oracle, (100, 100, 100))
        for n, s in ((models, shift), (20, original))
    )
    null = [float(distance_null(group).median()) for group in oracle.split(100, 1)]
    given = [
        Measured(table[g]["rms"], table[g]["se"], n) for g, n in zip(GROUPS, null, strict=True)
    ]
    first = before["forget"]
    return judge(
        dict(zip(GROUPS, given, strict=True)),
        Measured(first["rms"], first["se"], null[0]),
        "distance",
        1.0,
        "",
    ).verdict


def test_distance_supports_fresh_oracles_and_finds_three_sd():
    fresh = [distance_verdict(0.0) for _ in range(30)]
    assert fresh.count("supported") >= 27
    assert "not supported" not in fresh
    shifted = [distance_verdict(3.0) for _ in range(30)]
    assert shifted.count("not supported") >= 27
    assert "supported" not in shifted


def test_an_original_like_the_oracles_leaves_no_measurable_trace():
    words = [distance_verdict(0.0, original=0.0, shared=0.0) for _ in range(10)]
    assert words == ["no measurable trace"] * 10
