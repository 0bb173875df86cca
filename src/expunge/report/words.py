"""The report's vocabulary: grades of claims, verdicts, and numbers as people read them."""

from dataclasses import dataclass

from expunge.report.document import Document, Reading

NOT_MEASURED = "not measured"
WITHHELD = "withheld"


@dataclass(frozen=True)
class Sign:
    """How a verdict is shown; the symbol and the word carry it, colour only repeats it."""

    symbol: str
    word: str
    tone: str  # class in the page's style sheet
    colour: str  # in the terminal


SIGNS = {
    "supported": Sign("✓", "supported", "good", "green"),
    "not supported": Sign("✗", "not supported", "bad", "red"),
    "inconclusive": Sign("?", "inconclusive", "open", "yellow"),
    "no measurable trace": Sign("○", "no measurable trace", "plain", "cyan"),
    "refused": Sign("—", "refused", "bad", "red"),
}

CLAIMS = {
    "exact": (
        "The procedure itself gives what training without these examples gives. This holds if it "
        "was run as described."
    ),
    "exact by shard": (
        "The model consists of parts, each trained on its own share of the examples. The parts "
        "that had seen the examples were trained again without them. This holds if it was run as "
        "described."
    ),
    "certified": (
        "A mathematical bound limits how much of the examples can remain. It is valid only under "
        "the assumptions listed with it."
    ),
    "approximate": (
        "The model was adjusted, not trained again. Nothing in the procedure itself assures that "
        "the influence of the examples is gone; it can only be tested."
    ),
    "outputs only": (
        "Only the model’s answers are corrected. The stored model is unchanged, so whoever holds "
        "its file still holds the influence of the examples."
    ),
}

METRICS = {
    "klom": "KLoM",
    "distance": "Distance",
    "accuracy": "Accuracy",
    "accuracy.sd": "Spread of the accuracy",
    "error": "Mean absolute error",
    "error.sd": "Spread of the error",
    "overshoot": "Over-forgetting",
}


def title(name: str) -> str:
    """A metric's name for readers."""
    return METRICS.get(name, name)


def group_word(document: Document, group: str) -> str:
    """The group's name; `test` becomes `validation` where there was no test set to judge on."""
    if group == "test" and document["problem"].get("judged_on") == "validation":
        return "validation"
    return group


def number(value: float | None) -> str:
    """Three significant digits or two decimals, thousands separated; words if there is none."""
    if value is None:
        return NOT_MEASURED
    if value == 0:
        return "0"
    if abs(value) < 0.01:
        return f"{value:.1g}" if abs(value) >= 1e-4 else f"{value:.0e}"
    return f"{value:.2f}" if abs(value) < 100 else f"{value:,.0f}"


def spread(level: Reading | None) -> str:
    """`1.62 ±0.11`: the value and half its interval."""
    if level is None:
        return NOT_MEASURED
    return number(level.value) + ("" if level.half is None else f" ±{number(level.half)}")


def interval(level: Reading | None) -> str:
    """`[1.51, 1.73]`, or nothing if no spread is known."""
    if level is None or level.low is None or level.high is None:
        return ""
    return f"[{number(max(level.low, 0.0))}, {number(level.high)}]"  # neither metric is below 0


def quality(level: Reading | None, name: str) -> tuple[str, str]:
    """`97.3%` and `±0.4` of an accuracy (a share of 1); `3.10` and `±0.20` of an error."""
    if level is None:
        return NOT_MEASURED, ""
    if name == "accuracy":
        sd = "" if level.half is None else f"±{100 * level.half:.1f}"
        return f"{100 * level.value:.1f}%", sd
    return number(level.value), "" if level.half is None else f"±{number(level.half)}"


def retrainings(value: float | None) -> str:
    """A cost in retrainings for tables: `0.20`, `<0.001`, `500`."""
    if value is not None and 0 < value < 0.001:
        return "<0.001"
    return number(value) if value is None or value < 10 else f"{value:,.0f}"


def effort(value: float) -> str:
    """A cost in words for someone who counts neither rows nor seconds."""
    if value < 0.001:
        return "next to nothing"
    if value < 0.01:
        return "less than 1% of training the model again from scratch"
    if value < 0.95:
        return f"about {100 * value:.0f}% of training the model again from scratch"
    if value <= 1.05:
        return "about as much as training the model again from scratch"
    times = f"{value:.1f}" if value < 10 else f"{value:,.0f}"
    return f"about {times} times as much as training the model again from scratch"


def listing(words: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else ""
