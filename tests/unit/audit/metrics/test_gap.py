import math

import numpy as np
import pytest
import torch
from scipy.stats import ttest_ind

from expunge.audit.metrics.gap import gaps
from expunge.errors import BadInput

METRICS = ("UA", "RA", "TA", "MIA")
# CIFAR-10, ResNet-18, 10 % of the rows at random: published UA, RA, TA, MIA and average gap
RETRAIN = (5.24, 100, 94.26, 12.88)
PUBLISHED = {
    "FT": (0.63, 99.88, 94.06, 2.70, 3.78),
    "RL": (7.61, 99.67, 92.83, 37.36, 7.15),
    "GA": (0.69, 99.50, 94.01, 1.70, 4.12),
    "IU": (1.07, 99.20, 93.20, 2.67, 4.06),
    "l1": (4.19, 97.74, 91.59, 9.84, 2.26),
    "SalUn": (2.85, 99.62, 93.93, 14.39, 1.15),
}


def table(*rows):
    """Metrics of models, one model a row."""
    return {name: torch.tensor(rows).double()[:, i] for i, name in enumerate(METRICS)}


def draw(models, center, spread, seed):
    noise = torch.randn(models, 4, generator=torch.Generator().manual_seed(seed)).double()
    return dict(zip(METRICS, (center + spread * noise).T, strict=True))


@pytest.mark.parametrize("method", PUBLISHED)
def test_published_average_gaps_are_met_to_rounding(method):
    *values, wanted = PUBLISHED[method]
    found = gaps(table(values), table(RETRAIN))
    assert found.average == pytest.approx(wanted, abs=0.005 + 1e-9)
    assert found.se is found.interval is found.chance is None
    assert found.metrics["MIA"].gap == pytest.approx(values[3] - RETRAIN[3])


def test_means_are_taken_before_absolute_values():
    # 4 above and 4 below: the mean has no gap
    found = gaps(table((54, 100, 90, 10), (46, 100, 90, 14)), table((50, 100, 90, 10)))
    assert found.metrics["UA"].gap == 0
    assert found.metrics["UA"].sd == pytest.approx(math.sqrt(32))
    assert found.metrics["UA"].reference_sd is found.metrics["UA"].se is None
    assert found.average == 0.5


def test_gaps_of_opposite_sign_do_not_cancel():
    found = gaps(table((10, 90, 50, 50)), table((14, 86, 50, 50)))
    assert [found.metrics[name].gap for name in METRICS] == [-4, 4, 0, 0]
    assert found.average == 2


def test_metrics_are_matched_by_name():
    values, reference = draw(3, 50.0, 9.0, 1), draw(4, 52.0, 9.0, 2)
    turned = dict(reversed(reference.items()))
    assert gaps(values, turned) == gaps(values, reference)


def test_each_metric_has_the_error_of_welch():
    values, reference = draw(7, 50.0, 3.0, 1), draw(4, 52.0, 1.0, 2)
    found = gaps(values, reference)
    assert list(found.metrics) == list(METRICS)
    for name, gap in found.metrics.items():
        t = ttest_ind(values[name], reference[name], equal_var=False).statistic
        assert gap.se is not None
        assert gap.gap / gap.se == pytest.approx(t)
        assert gap.mean == pytest.approx(values[name].mean().item())
        assert gap.reference == pytest.approx(reference[name].mean().item())
        assert gap.sd == pytest.approx(values[name].std().item())
        assert gap.reference_sd == pytest.approx(reference[name].std().item())
    assert found.chance is not None
    errors = [gap.se for gap in found.metrics.values() if gap.se is not None]
    assert found.chance == pytest.approx(math.sqrt(2 / math.pi) * sum(errors) / 4)


def test_the_error_of_the_average_leaves_models_out_of_all_metrics_at_once():
    values, reference = draw(6, 50.0, 3.0, 1), draw(5, 60.0, 1.0, 2)
    variance = 0.0
    for side, n in ((0, 6), (1, 5)):
        without = []
        for i in range(n):
            kept = [values, reference]
            kept[side] = {
                k: torch.cat([v[:i], v[i + 1 :]]) for k, v in (values, reference)[side].items()
            }
            without.append(
                np.mean([abs(float(kept[0][m].mean() - kept[1][m].mean())) for m in METRICS])
            )
        variance += (n - 1) / n * float(((without - np.mean(without)) ** 2).sum())
    found = gaps(values, reference)
    assert found.se == pytest.approx(math.sqrt(variance))
    assert found.interval == pytest.approx(
        (found.average - 2 * math.sqrt(variance), found.average + 2 * math.sqrt(variance))
    )


def test_a_method_equal_to_retraining_scores_what_chance_says():
    # an average of four |normal| has an sd of 0.3 of its mean, that of 300 of them 1.7 %; and the
    # estimated errors are too small by about 1 / (4 n), 3 % here
    averages, chances = [], []
    for i in range(300):
        found = gaps(draw(6, 50.0, 1.0, 2 * i), draw(9, 50.0, 1.0, 2 * i + 1))
        assert found.interval is not None
        assert found.interval[0] >= 0
        averages.append(found.average)
        chances.append(found.chance)
    assert np.mean(averages) == pytest.approx(np.mean(chances), rel=5 * 0.017 + 0.04)


def test_the_interval_of_a_real_gap_covers_it():
    # 200 intervals of two errors with 8 and 8 models: about 93 %, binomial sd 3.6
    covered = 0
    for i in range(200):
        found = gaps(draw(8, 40.0, 2.0, 2 * i), draw(8, 50.0, 2.0, 2 * i + 1))
        assert found.interval is not None
        covered += found.interval[0] <= 10 <= found.interval[1]
    assert 186 - 18 <= covered <= 200


def test_what_cannot_be_compared_is_refused():
    one = table((5, 100, 94, 12))
    with pytest.raises(BadInput, match="metrics UA against UA, RA, TA, MIA"):
        gaps({"UA": one["UA"]}, one)
    with pytest.raises(BadInput, match="metrics none"):
        gaps({}, {})
    with pytest.raises(BadInput, match=r"values have shapes UA \(2,\), RA \(1,\)"):
        gaps(one | {"UA": torch.zeros(2)}, one)
    with pytest.raises(BadInput, match="reference have shapes"):
        gaps(one, {name: torch.zeros(0) for name in METRICS})
    for bad in (100.5, -1.0, math.nan):
        with pytest.raises(BadInput, match="percentages from 0 to 100"):
            gaps(one, one | {"TA": torch.tensor([bad])})
