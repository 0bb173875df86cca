"""What to choose, and whether retraining would have been cheaper, in plain sentences."""

from expunge.report import document as doc
from expunge.report.document import Document, Entry
from expunge.report.words import NOT_MEASURED, effort, listing

RETRAIN = "retrain"  # the method that the others are compared with: it is never dearer than itself


def choice(document: Document) -> list[str]:
    """Paragraphs: the supported methods, the cheapest of them, and where retraining was cheaper."""
    entries = document["methods"]
    if len(entries) == 1:  # costs are declared, not measured: they say nothing about success
        name, entry = next(iter(entries.items()))
        return [_cost(name, entry, "It cost")]
    supported = [n for n in doc.order(document) if doc.verdict(entries[n]) == "supported"]
    if not supported:
        said = ["None of the methods compared is supported by the evidence.", _dearer(document, [])]
        return list(filter(None, said))
    named = f"The methods supported by the evidence are {listing(supported)}"
    if len(supported) == 1:
        named = f"The only method supported by the evidence is {supported[0]}"
    first = cheapest(document, supported)
    if first is None:
        return [f"{named}. What they cost was {NOT_MEASURED}, so the cheapest cannot be named."]
    verb = "it cost" if len(supported) == 1 else f"the cheapest of them is {first}, which cost"
    said = [_cost(first, entries[first], f"{named}; {verb}")]
    discussed = [first]
    if entries[first]["claim"] == "outputs only":
        changing = [n for n in supported if entries[n]["claim"] != "outputs only"]
        second = cheapest(document, changing)
        if second is not None:
            lead = (
                f"{first} leaves the stored model as it was. The cheapest supported method that "
                f"changes the model is {second}, which cost"
            )
            said.append(_cost(second, entries[second], lead))
            discussed.append(second)
    return [*said, *filter(None, [_dearer(document, discussed)])]


def cheapest(document: Document, names: list[str]) -> str | None:
    """The method with the smallest cost of this request, or None if no cost is known."""
    known = [(share, name) for name in names if (share := _share(document, name)) is not None]
    return min(known)[1] if known else None


def _cost(name: str, entry: Entry, lead: str) -> str:
    """What one method cost, beside training from scratch, with what had to be made beforehand."""
    own, total = doc.share(entry), doc.total_share(entry)
    if own is None or total is None:
        return f"What {name} cost was {NOT_MEASURED}."
    if name == RETRAIN:
        return f"{lead} one training from scratch, the yardstick for all others."
    said = [f"{lead} {effort(own)}."]
    if own >= 1:
        said.append("Training again from scratch would have been cheaper, or cost the same.")
    prepared = entry.get("shared_cost")
    if prepared:
        share = prepared.get("relative_to_retrain")
        worth = "their cost is not stated" if share is None else f"they cost {effort(share)}"
        said.append(f"Beforehand it needed {prepared['what']}; {worth}.")
        pays = prepared.get("requests_to_pay")
        if own < 1 <= total:
            until = f"until {pays:,} requests share them" if pays else "for any number of requests"
            said.append(
                "Counting them, training again from scratch is cheaper, or costs the same, "
                f"{until}."
            )
    return " ".join(said)


def _dearer(document: Document, discussed: list[str]) -> str:
    """Names the other methods that retraining would have replaced at no greater cost."""
    entries = document["methods"]
    names = [n for n in doc.order(document) if n not in (RETRAIN, *discussed)]
    alone = [n for n in names if (_share(document, n) or 0) >= 1]
    counted = [n for n in names if n not in alone and (doc.total_share(entries[n]) or 0) >= 1]
    said = []
    if alone:
        said.append(
            f"Training again from scratch would have been cheaper than {listing(alone)}, or cost "
            "the same."
        )
    if counted:
        said.append(
            "Counting what had to be made beforehand, training again from scratch would have "
            f"been cheaper for this one request than {listing(counted)}, or cost the same."
        )
    return " ".join(said)


def _share(document: Document, name: str) -> float | None:
    return doc.share(document["methods"][name])
