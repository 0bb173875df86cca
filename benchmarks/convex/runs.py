"""The runs behind `theorems.py`: what is descended on which rows, summed up over seeds."""

import torch
from torch import Tensor

from benchmarks.convex.descent import Rows, crossing, descend
from benchmarks.convex.ridge import Ridge, influence, leave_set_out, leverage
from expunge.rng import Draws

Found = dict  # numbers as they stand in the result file


def by_batch(ridge: Ridge, steps: int) -> Found:
    """log10 errors of the descents on all rows at once."""
    marks, hessian = log_grid(steps), ridge.hessian(ridge.retain)
    gram, pull = ridge.gram(ridge.forget), ridge.pull(ridge.forget)
    full, star = ends(ridge)
    step = 1 / torch.linalg.eigvalsh(hessian)[:, -1]  # of its descending half
    ascent = (hessian - gram, ridge.pull(ridge.retain) - pull)
    found = {
        "ridge descent": descended(ridge, marks),
        "ascent-descent": descend(*ascent, full, star, marks, step),
        "matching": matched(ridge, ridge.everything, marks),
    }
    for times in (1, 3, 20):
        found[f"matching, forget + {times}x"] = matched(ridge, ridge.few(times), marks)
    return {name: curve(errors, marks) for name, errors in found.items()}


def by_row(ridge: Ridge, steps: int) -> Found:
    """log10 errors of the descents on one row a step; size of SGD's cloud, and as predicted."""
    full, star = ends(ridge)
    sgd, matching = retained_rows(ridge), matching_rows(ridge)
    draws = Draws(("convex", "picks")).of(range(len(full)))
    marks = log_grid(steps)
    late = [t for t in range(steps // 2, steps, 100) if t not in set(marks)]
    every = sorted([*marks, *late])
    noisy = sgd.descend(full, star, every, draws.at("SGD"))
    tail = noisy[torch.tensor([t >= steps // 2 for t in every])]
    cloud = log(tail.square().mean(0).sqrt())  # root mean square over time, as the prediction is
    predicted = log(sgd.floor(full, star))
    return {
        "SGD": curve(noisy[torch.tensor([t in set(marks) for t in every])], marks),
        "matching": curve(matching.descend(full, star, marks, draws.at("matching")), marks),
        "cloud": over_seeds(cloud),
        "predicted cloud": over_seeds(predicted),
        "off the prediction": over_seeds((cloud - predicted).abs()),
    }


def retained_rows(ridge: Ridge) -> Rows:
    """What SGD descends: the objective on R, divided by |R|, row by row."""
    rows = ridge.retain
    return Rows(ridge.x[:, rows], ridge.y[:, rows], ridge.l2 / int(rows.sum()))


def matching_rows(ridge: Ridge) -> Rows:
    """What stochastic matching descends: all rows with the oracle's outputs, no penalty."""
    star = ridge.optimum(ridge.retain)
    return Rows(ridge.x, torch.einsum("snd,sd->sn", ridge.x, star), 0.0)


def gap(ridge: Ridge) -> Found:
    """Steps to an error of 1 %, matching over ridge descent and the inverse."""
    marks = list(range(1, 5001))
    plain, match = descended(ridge, marks), matched(ridge, ridge.everything, marks)
    ratio = crossing(match, 0.01) / crossing(plain, 0.01)
    return {"ratio": over_seeds(ratio), "inverse": over_seeds(1 / ratio)}


def left_out(ridge: Ridge) -> Found:
    """log10 errors of the exact formula and of first-order influence, with the mean leverage."""
    full, star = ends(ridge)
    found = {"formula": leave_set_out(ridge, full), "influence": influence(ridge, full)}
    distance = {k: (v - star).norm(dim=1) / (full - star).norm(dim=1) for k, v in found.items()}
    errors = {name: over_seeds(log(error)) for name, error in distance.items()}
    return {**errors, "leverage": over_seeds(leverage(ridge).mean(1))}


def ends(ridge: Ridge) -> tuple[Tensor, Tensor]:
    """theta_full and theta_*."""
    return ridge.optimum(ridge.everything), ridge.optimum(ridge.retain)


def descended(ridge: Ridge, marks: list[int]) -> Tensor:
    """Errors of gradient descent on the retained rows' objective."""
    rows = ridge.retain
    return descend(ridge.hessian(rows), ridge.pull(rows), *ends(ridge), marks)


def matched(ridge: Ridge, rows: Tensor, marks: list[int]) -> Tensor:
    """Errors of matching the oracle's outputs on these rows."""
    full, star = ends(ridge)
    gram = ridge.gram(rows)
    return descend(gram, torch.einsum("sde,se->sd", gram, star), full, star, marks)


def log_grid(steps: int) -> list[int]:
    """Round numbers from 1 to `steps`, which is one, up to twenty a decade and even in log."""
    points = {int(float(f"{10 ** (k / 20):.2g}")) for k in range(200)} | {steps}
    return sorted(t for t in points if t <= steps)


def log(errors: Tensor) -> Tensor:
    """log10; an error of 0 becomes -17, below what float64 can tell from 0."""
    return errors.clamp(min=1e-17).log10()


def curve(errors: Tensor, marks: list[int]) -> Found:
    """log10 of errors, (steps, seeds), over seeds."""
    columns = [over_seeds(row) for row in log(errors)]
    return {"steps": marks, **{k: [c[k] for c in columns] for k in ("mean", "low", "high")}}


def over_seeds(values: Tensor) -> Found:
    """Mean, smallest and largest, to five digits."""
    sides = {"mean": values.mean(), "low": values.min(), "high": values.max()}
    return {name: float(f"{value.item():.5g}") for name, value in sides.items()}
