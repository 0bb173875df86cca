"""Scores of the predictions in `run.py`, their claims, and their table."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from benchmarks import result
from expunge.api.left_out import LeftOut
from expunge.audit.metrics.calibration import calibration
from expunge.audit.metrics.ceiling import ceiling
from expunge.audit.metrics.lds import BLOCKS, rank_correlation
from expunge.audit.metrics.resample import jackknife

PAIRS = {
    "traker TRAK": "trak",
    "traker TRAK, our damping": "trak",
    "dattri TRAK": "trak",
    "dattri influence": "influence",
    "kronfluence EK-FAC": "ek-fac",
    "kronfluence EK-FAC, our damping": "ek-fac",
}
OWN = ("linearised", "influence", "ek-fac", "trak")  # that read one model, as the peers do
FAINT = 0.3  # a ceiling whose lower end is below this: claims of LDS would be about noise
SECONDS = {"seconds_one_set": "one set of 100 rows", "seconds_all_sets": "all sets"}
Predicted = dict[str, Tensor | None]  # by attributor, (models, sets of all families, judged)


def scores(truth: LeftOut, named: dict[str, list], predicted: Predicted) -> dict[str, Any]:
    """By family: the ceiling, each attributor's scores, and differences of LDS of the pairs."""
    found, start = {}, 0
    measured = {name: p for name, p in predicted.items() if p is not None}
    for family, group in named.items():
        places = slice(start, start + len(group))
        start += len(group)
        after = truth.truth[places]
        own = {name: p[:, places] for name, p in measured.items()}
        found[family] = {
            "ceiling": asdict(ceiling(after)),
            "scores": {name: _scores(p, after, truth.before) for name, p in own.items()},
            "theirs_less_ours": [
                {"theirs": theirs, "ours": ours, **_difference(own[theirs], own[ours], after)}
                for theirs, ours in _pairs(own, after)
            ],
        }
    return {"scores": found}


def claims(found: dict[str, Any]) -> list[dict]:
    """Ours at least as good as theirs where the truth is more than noise, and not slower."""
    made = []
    for family, entry in found["scores"].items():
        if entry["ceiling"]["low"] >= FAINT:
            for pair in entry["theirs_less_ours"]:
                what = f"LDS of {pair['theirs']} less that of {pair['ours']}, {family}"
                interval = [pair["low"], pair["high"]]
                made.append(result.claim(what, pair["value"], 0.0, interval))
    for theirs, ours in PAIRS.items():
        for key, question in SECONDS.items():
            entries = [found["attributors"].get(name, {}).get(key) for name in (ours, theirs)]
            made.append(_faster(f"seconds of {ours} over {theirs}, {question}", *entries))
    return made


def _faster(what: str, ours: list[float] | None, theirs: list[float] | None) -> dict:
    if ours is None or theirs is None:
        return result.claim(what, None, 1.0)
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return result.claim(what, sum(ours) / sum(theirs), 1.0, [min(ratios), max(ratios)])


def _pairs(own: dict[str, Tensor], after: Tensor) -> list[tuple[str, str]]:
    """Each peer and ours of its kind; and the best of theirs and of ours, if it is another pair."""
    pairs = [(theirs, ours) for theirs, ours in PAIRS.items() if theirs in own]
    if pairs:
        theirs, ours = (
            max(names, key=lambda name: float(_lds(own[name], after)))
            for names in ([theirs for theirs, _ in pairs], OWN)
        )
        pairs += [] if (theirs, ours) in pairs else [(theirs, ours)]
    return pairs


def _scores(predicted: Tensor, after: Tensor, before: Tensor) -> dict[str, Any]:
    """LDS of single models; slope and error of the mean of the models that predict."""
    change = predicted.mean(0).flatten()
    null = before.repeat(1, len(after))
    made = calibration(change, null, after.transpose(0, 1).flatten(1))
    truth = made.truth_corrected.value
    return {
        "lds": _interval(lambda p, t: _lds(p, t), predicted, after=after),
        "slope": made.slope and asdict(made.slope),
        "error_over_truth": made.error_corrected.value / truth if truth else None,
        "error": asdict(made.error_corrected),
        "truth": asdict(made.truth_corrected),
    }


def _difference(theirs: Tensor, ours: Tensor, after: Tensor) -> dict[str, float]:
    return _interval(lambda a, b, t: _lds(a, t) - _lds(b, t), theirs, ours, after=after)


def _interval(statistic: Callable[..., Tensor], *predicted: Tensor, after: Tensor) -> dict:
    """A statistic of predictions and truth, and two standard errors by a jackknife over sets."""
    models = [len(p) for p in predicted]
    # sets first, so that a jackknife leaves the same ones out of everything
    sets = torch.cat([*predicted, after.mean(1)[None]]).transpose(0, 1)

    def of(kept: Tensor) -> Tensor:
        *parts, true = kept.transpose(0, 1).split([*models, 1])
        return statistic(*parts, true[0])

    value = float(of(sets))
    se = float(jackknife(lambda kept, _: of(kept), sets, sets[:1], BLOCKS))
    return {"value": value, "low": value - 2 * se, "high": value + 2 * se}


def _lds(predicted: Tensor, true: Tensor) -> Tensor:
    """Mean over models of the linear datamodelling score; true is (sets, judged), or by model."""
    true = true.mean(1) if true.ndim == 3 else true
    return torch.stack([rank_correlation(one, true).mean() for one in predicted]).mean()
