"""Looking things up in the content of bench.json."""

from typing import Any

Content = dict[str, Any]
ORIGINAL, RETRAIN = "original", "retrain"  # lines that are no methods under test


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


def names_of(content: Content, part: str, key: str) -> list[str]:
    """Distinct values of a key, in their order."""
    return list(dict.fromkeys(entry[key] for entry in content[part]))


def rules_of(content: Content) -> list[str]:
    """By which settings were chosen."""
    tuning = content["config"]["tuning"]
    return list(tuning["rules"]) if tuning else ["fixed"]
