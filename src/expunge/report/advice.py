"""What to do next, for the engineer who ran the audit."""

from expunge.report import document as doc
from expunge.report.choice import RETRAIN, cheapest
from expunge.report.document import Document
from expunge.report.summary import duplicates
from expunge.report.words import listing


def next_steps(document: Document) -> list[str]:
    """Imperative sentences that follow from the verdicts, most important first."""
    entries = document["methods"]
    by = {
        verdict: [name for name in doc.order(document) if doc.verdict(entries[name]) == verdict]
        for verdict in doc.VERDICTS
    }
    steps = []
    if by["refused"]:
        steps.append(
            f"Find out why {listing(by['refused'])} changed nothing: a learning rate of 0, frozen "
            "weights, or rows that the method never read. If that is intended, state the reason."
        )
    chosen = cheapest(document, by["supported"]) or next(iter(by["supported"]), None)
    if chosen is not None:
        steps.append(
            f"If you adopt {chosen}: put its result in place of the original, then delete the "
            "original with its checkpoints, caches and backups, which still hold these rows."
        )
        if entries[chosen]["claim"] == "outputs only":
            steps.append(
                f"{chosen} corrects outputs and leaves the weights as they were: never hand out "
                "the weights, or use a method that changes them."
            )
    else:
        steps.append(
            "Do not put any of these results in place of the original on the strength of this "
            f"audit. Retraining without the rows (“{RETRAIN}”) is the fallback."
        )
    if by["not supported"]:
        steps.append(
            f"For {listing(by['not supported'])}: look at the groups marked ▲ below. Forget above "
            "the limit asks for more steps; retain or test above it asks for fewer, or for more "
            "retained rows a step. Tune on validation rows, then audit afresh."
        )
    blind = [name for name in by["inconclusive"] if not doc.judged(entries[name])]
    close = [name for name in by["inconclusive"] if name not in blind]
    if blind:
        steps.append(
            f"For {listing(blind)}: supply what the missing metric needs (see “not measured”), "
            "most often more oracles, and audit again."
        )
    if close:
        steps.append(
            f"For {listing(close)}: train more oracles and audit again. Four times as many models "
            "on both sides halve the intervals."
        )
    if by["no measurable trace"]:
        steps.append(
            "To compare methods, choose rows that leave a trace (rare or mislabelled ones, or "
            "whole clusters). To meet a request about these rows, take a method whose claim does "
            "not rest on this test."
        )
    if duplicates(document):
        steps.append("Decide on the copies: forget them in the same request, or record why not.")
    if document["problem"].get("judged_on") == "validation":
        steps.append("Hold out a test set that plays no part in choosing, and judge on that.")
    return steps
