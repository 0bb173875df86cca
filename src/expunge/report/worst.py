"""Which forgotten rows a method left furthest from the retrained models, and what to call them."""

from dataclasses import dataclass
from unicodedata import category

import torch
from torch import Tensor

from expunge.audit.evidence.chunks import Array, by_rows
from expunge.audit.evidence.folder import Evidence
from expunge.audit.evidence.views import Slice
from expunge.audit.metrics.klom import klom
from expunge.errors import BadInput
from expunge.report import document as doc
from expunge.report.document import Document
from expunge.report.words import number, title

LONGEST_ID, LONGEST_HASH = 20, 13  # characters that a title has room for
HASHED = "hmac-sha256:"  # begins an id that is a keyed hash
SHOWN = 4  # rows of a method that the page shows one by one


@dataclass(frozen=True)
class Margins:
    """Margins of the forgotten rows, by who computed them: (members, rows), float64."""

    before: Array
    after: Array
    oracle: Array

    def of(self, row: int) -> tuple[Tensor, Tensor, Tensor]:
        """Those of one row, (members,) each."""
        before, after, oracle = (
            side[:, row : row + 1].squeeze(1) for side in (self.before, self.after, self.oracle)
        )
        return before, after, oracle


def forget_margins(evidence: Evidence, method: str) -> Margins:
    """Margins of the forgotten rows before and after `method`, and of the oracles.

    Raises:
        BadInput: the evidence does not hold the method.
    """
    if method not in evidence.unlearned:
        raise BadInput(
            f"no evidence on the method {method!r}",
            expected=f"one of {', '.join(evidence.unlearned) or 'none'}",
            fix="audit the method, or name another",
        )
    files = evidence.original, evidence.unlearned[method], evidence.oracle
    return Margins(*(evidence.margins(file, "forget") for file in files))


def row_scores(found: Margins, metric: str, models: int | None = None) -> Tensor:
    """How far each row is from the oracles, larger is further.

    Args:
        found: margins of the same rows.
        metric: "klom" for the divergence in nats, or "distance" for |mean after - mean of
            oracles| in standard deviations of the oracles.
        models: how many models on each side KLoM compares, as the audit did; None for all.

    Returns:
        (rows,), float64.
    """
    if metric == "klom":
        sides = (found.after, found.oracle)
        return klom(*(Slice(side, range(len(side))[:models]) for side in sides))
    spread = spread_of(found.oracle)
    away = (mean_of(found.after) - mean_of(found.oracle)).abs()
    # A row on which all oracles agree to the last bit is no reason to divide by zero.
    return away / spread.clamp(min=torch.finfo(torch.float32).eps)


def mean_of(models: Array) -> Tensor:
    """The mean over models of each row, (rows,)."""
    return by_rows(lambda m: m.mean(0), models)


def spread_of(models: Array) -> Tensor:
    """The standard deviation over models of each row, (rows,); 0 of a single model."""
    return by_rows(lambda m: m.std(0, correction=1 if len(m) > 1 else 0), models)


@dataclass(frozen=True)
class Worst:
    """A forgotten row to be shown.

    Attributes:
        place: among the forgotten rows.
        caption: its number and, if rows have ids, its id, in words.
        detail: its label or value, and its score.
    """

    place: int
    caption: str
    detail: str


def worst_rows(document: Document, evidence: Evidence, method: str, found: Margins) -> list[Worst]:
    """The forgotten rows furthest from the oracles, the worst first; of a tie the first."""
    entry = document["methods"][method]
    metric = "klom" if doc.reading(entry, "klom", "forget") else "distance"
    scores = row_scores(found, metric, entry.get("models_used"))
    places = scores.argsort(descending=True, stable=True)[:SHOWN].tolist()
    return [_named(evidence, place, float(scores[place]), metric) for place in places]


def _named(evidence: Evidence, place: int, score: float, metric: str) -> Worst:
    targets, shown = evidence.targets.get("forget"), ""
    if targets is not None and targets.ndim == 1:
        target = targets[place].item()
        word = "label" if evidence.kind == "classification" else "target"
        shown = (
            f"{word} {target:.3g}  ·  " if isinstance(target, float) else f"{word} {target}  ·  "
        )
    unit = f"{title('klom')} {number(score)}" if metric == "klom" else f"{number(score)} sd away"
    return Worst(place, row_title(evidence, place), shown + unit)


def row_title(evidence: Evidence, place: int) -> str:
    """`Row 17`, or `Row 17, id p17` if the evidence holds ids; `place` is among forgotten rows."""
    caption = f"Row {int(evidence.targets['forget_rows'][place])}"
    if evidence.people is None:
        return caption
    known = evidence.people[place]
    hashed = known.startswith(HASHED)
    word, longest = ("id hash", LONGEST_HASH) if hashed else ("id", LONGEST_ID)
    known = "".join(" " if category(c)[0] in "CZ" else c for c in known.removeprefix(HASHED))
    cut = f"{known[: longest - 1]}…" if len(known) > longest else known
    return f"{caption}, {word} {cut}"
