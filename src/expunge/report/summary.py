"""The audit in plain sentences, for a reader who needs a decision and knows none of the words.

Every function returns plain text; names in it come from users, and whoever prints it escapes it.
"""

from dataclasses import dataclass

from expunge.audit.metrics import METRICS
from expunge.report import document as doc
from expunge.report.document import Document, Entry
from expunge.report.words import CLAIMS, NOT_MEASURED, SIGNS, Sign, listing, title

KINDS = {"forget": "forgotten", "retain": "kept", "test": "new"}
QUALITIES = ("accuracy", "error")  # a task has one of them
MOST_NAMED = 40  # row numbers of duplicates that are listed one by one


@dataclass(frozen=True)
class Claim:
    """One grade of claim and the methods that make it."""

    grade: str
    meaning: str
    methods: tuple[str, ...]
    details: tuple[str, ...]  # what the methods state with it, e.g. assumptions of a certificate


@dataclass(frozen=True)
class Finding:
    """One verdict, in words, and the methods that got it."""

    sign: Sign
    sentence: str
    methods: tuple[tuple[str, str, str], ...]  # name, grade of its claim, and what is particular


def opening(document: Document) -> str:
    """What was asked and done, without a number."""
    methods = doc.order(document)
    done = (
        f"The method “{methods[0]}” was used, and its result was compared"
        if len(methods) == 1
        else "Several methods were tried, and the result of each was compared"
    )
    return (
        "Some of the examples that a model had learned from were to be removed from it, as if it "
        f"had never seen them. {done} with models trained from scratch without those examples."
    )


def claims(document: Document) -> list[Claim]:
    """The grades of claim that were made, strongest first; they do not rest on measurement."""
    entries = document["methods"]
    found = []
    for grade in sorted({e["claim"] for e in entries.values()}, key=_strength):
        names = [name for name in doc.order(document) if entries[name]["claim"] == grade]
        details = [
            f"{name}: {detail}" for name in names if (detail := doc.claim_detail(entries[name]))
        ]
        meaning = CLAIMS.get(grade, "The meaning of this grade is not known to this report.")
        found.append(Claim(grade, meaning, tuple(names), tuple(details)))
    return found


def findings(document: Document) -> list[Finding]:
    """The verdicts that were reached, favourable ones first, with their methods."""
    entries = document["methods"]
    found = []
    for verdict, sign in SIGNS.items():
        names = [name for name in doc.order(document) if doc.verdict(entries[name]) == verdict]
        if names:
            sentence = _sentence(verdict, [entries[name] for name in names])
            particulars = tuple(
                (name, entries[name]["claim"], _particular(document, entries[name]))
                for name in names
            )
            found.append(Finding(sign, sentence, particulars))
    return found


def asked(document: Document) -> list[str]:
    """The request and the test in numbers, for someone who needs none of the mathematics."""
    problem, models = document["problem"], doc.counts(document)
    said = []
    if problem.get("forget_rows") is not None:
        of = f" of the {problem['rows']:,} examples" if problem.get("rows") else " examples"
        said.append(f"{problem['forget_rows']:,}{of} that the model had learned from were named.")
    if problem.get("persons") is not None:
        said.append(_persons(problem["persons"], problem.get("persons_partly") or 0))
    if problem.get("forgotten_before"):
        said.append(
            f"{problem['forgotten_before']:,} others had been removed by earlier requests; this "
            "report is about the present one only."
        )
    if models.get("oracle"):
        number = models["oracle"] + (models.get("null") or 0)
        said.append(
            f"{number:,} models were trained from scratch without the named examples, to see what "
            "a model looks like that never saw them."
        )
    said.append(
        f"The test compares {_gauge(document)}: on the forgotten examples, on the kept ones, and "
        "on examples that no model was trained on. If forgetting worked, the changed model cannot "
        "be told from a retrained one by this."
    )
    return said


def limits(document: Document) -> list[str]:
    """What the test cannot show, whatever its outcome."""
    problem = document["problem"]
    said = [
        "It looks at the answers of the model, not into it. A trace that does not show in "
        f"{_gauge(document)} stays unseen.",
        "It holds for these examples, this model and this way of training, not for others.",
        "It relies on the models and data being the ones described. It does not protect against "
        "someone who hands in others.",
        "It says nothing about copies elsewhere: in data stores, backups, logs, earlier versions "
        "of the model, or models derived from it.",
    ]
    copies = problem.get("duplicates") or []
    if copies:
        said.append(
            f"Exact copies of forgotten examples remain among the kept ones ({len(copies):,} of "
            "them). What the model learns from a copy, it keeps."
        )
    said.append("Copies that are similar, but not exactly equal, were not searched for.")
    if problem.get("judged_on") == "validation":
        said.append(
            "There were no separate examples for judging: those used to choose settings were used "
            "to judge as well, which can flatter the result."
        )
    return said


def reasons(document: Document, method: str) -> list[str]:
    """Why the verdict on a method is what it is, as the audit wrote it.

    Where this report shows a weaker verdict than was written, it says why instead: the reasons
    written would speak for the stronger one.
    """
    entry = document["methods"][method]
    shown = doc.verdict(entry)
    if shown == "refused":
        return ["No weight changed, and no reason was given for that."]
    if shown != entry["verdict"]:
        return ["The metric that a verdict would rest on was not measured."]
    return list(entry.get("verdict_reasons") or ["No reasons are recorded."])


def not_measured(document: Document, *, every: bool = False) -> list[str]:
    """Metrics that are missing with their reasons: those that verdicts rest on, or every one."""
    stated = dict(document.get("not_measured") or {})
    core = ("klom", "distance", doc.quality(document))
    for name in core:
        absent = not any(entry.get(name) for entry in document["methods"].values())
        if absent and name not in stated:
            stated[name] = "no reason is given"
    lines, reasons = [], {}
    for name, why in stated.items():
        if name.removesuffix(".sd") in core or name not in METRICS:
            lines.append(f"{title(name)}: {NOT_MEASURED}: {why}")
        elif name not in QUALITIES:
            reasons.setdefault(why, []).append(title(name))
    more = [f"{listing(names)}: {NOT_MEASURED}: {why}" for why, names in reasons.items()]
    return [*lines, *(more if every else ())]


def duplicates(document: Document) -> str:
    """Row numbers of exact copies of forgotten rows among the retained, or "" if there are none."""
    rows = document["problem"].get("duplicates") or []
    named = ", ".join(str(row) for row in rows[:MOST_NAMED])
    return named + (f" and {len(rows) - MOST_NAMED:,} more" if len(rows) > MOST_NAMED else "")


def _persons(persons: int, partly: int) -> str:
    """Whose examples were named, and how many of them have other examples that were kept."""
    of = "1 person" if persons == 1 else f"{persons:,} persons"
    if not partly:
        return f"They belong to {of}."
    who = "That person has" if persons == 1 else f"{partly:,} of them {_has(partly)}"
    return f"They belong to {of}. {who} other examples, which were kept."


def _has(number: int) -> str:
    return "has" if number == 1 else "have"


def _sentence(verdict: str, entries: list[Entry]) -> str:
    if verdict == "inconclusive" and not any(doc.judged(entry) for entry in entries):
        return (
            "No verdict can be given, because the measurement that it would rest on was not made."
        )
    return {
        "supported": (
            "Tested on forgotten, kept and new examples, the result behaves like a model that "
            "never saw the forgotten ones; differences stay within the stated tolerance."
        ),
        "not supported": (
            "The test found a difference from models that never saw the forgotten examples, "
            "larger than the stated tolerance."
        ),
        "inconclusive": (
            "The evidence does not decide whether the difference from models that never saw the "
            "examples lies within the stated tolerance. More retrained models would narrow it."
        ),
        "no measurable trace": (
            "Even before anything was done, the original model could not be told from models that "
            "never saw these examples. The test therefore had nothing that it could see removed: "
            "it speaks neither for nor against the method."
        ),
        "refused": (
            "No result is issued. The model came back unchanged and no reason was given, so its "
            "measurements would say nothing about forgetting."
        ),
    }[verdict]


def _particular(document: Document, entry: Entry) -> str:
    """What distinguishes this method from others with the same verdict."""
    said = []
    if doc.verdict(entry) == "not supported":
        groups = doc.outside(document, entry, entry.get("verdict_metric"))
        if groups:
            said.append(f"It differs on {listing([KINDS[group] for group in groups])} examples.")
    if entry.get("overshoot") and not doc.withheld(entry):
        said.append(
            "It went past the goal: it does worse on the forgotten examples than models that "
            "never saw them, which is a trace as well."
        )
    if doc.verdict(entry) == "inconclusive" and not doc.judged(entry):
        said.append("It was not measured.")
    return " ".join(said)


def _gauge(document: Document) -> str:
    """The margin in words."""
    return {
        "regression": "how far each model’s answers are from the truth",
        "classification": "how sure each model is of the right answer",
    }.get(document["problem"].get("kind"), "how well each model does")


def _strength(grade: str) -> tuple[int, str]:
    grades = list(CLAIMS)
    return (grades.index(grade) if grade in grades else len(grades)), grade
