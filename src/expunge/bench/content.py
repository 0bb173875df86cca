"""Looking things up in the content of bench.json."""

from typing import Any

import torch

from expunge.audit.metrics.gap import Gaps, gaps
from expunge.bench.scores import GAPPED

Content = dict[str, Any]
# Lines that are no methods under test: the untouched models, retrained ones, and the retrained
# ones that judge. The last two are the same models unless there are enough for two groups.
ORIGINAL, RETRAIN, ORACLE = "original", "retrain", "oracle"


def cells_of(content: Content, forget_set: str, method: str, rule: str | None) -> list[Content]:
    """The cells of a method on a forget set, of all seeds; of a method under test, by its rule."""
    return [
        cell
        for cell in content["cells"]
        if cell["forget_set"] == forget_set
        and cell["method"] == method
        and (rule is None or rule in cell["rules"])
    ]


def values_of(cells: list[Content], name: str) -> list[float]:
    """A metric's numbers, one a model, over these cells."""
    return [value for cell in cells for value in cell["scores"][name]["values"]]


def gaps_of(content: Content, forget_set: str, method: str, rule: str | None) -> Gaps | None:
    """UA, RA, TA and MIA against the oracles that judge; None where one was not measured."""
    return gaps_between(
        cells_of(content, forget_set, method, rule), cells_of(content, forget_set, ORACLE, None)
    )


def gaps_between(own: list[Content], oracles: list[Content]) -> Gaps | None:
    """As `gaps_of`, of any cells."""
    if not own or any(cell["scores"].get(name) is None for cell in own for name in GAPPED):
        return None
    both = ({n: torch.tensor(values_of(c, n)) for n in GAPPED} for c in (own, oracles))
    return gaps(*both)


def names_of(content: Content, part: str, key: str) -> list[str]:
    """Distinct values of a key, in their order."""
    return list(dict.fromkeys(entry[key] for entry in content[part]))


def rules_of(content: Content) -> list[str]:
    """By which settings were chosen."""
    tuning = content["config"]["tuning"]
    return list(tuning["rules"]) if tuning else ["fixed"]
