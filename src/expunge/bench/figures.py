"""Figures of bench.json: KLoM against compute, instability, when to stop."""

from collections.abc import Iterator

from expunge.audit.metrics.klom_table import MIN_MODELS
from expunge.bench.content import (
    ORACLE,
    ORIGINAL,
    RETRAIN,
    Content,
    gaps_between,
    gaps_of,
    names_of,
    rules_of,
)
from expunge.bench.scores import GAPPED
from expunge.bench.tables import by
from expunge.methods import METHODS
from expunge.report.bench.frontier import CAPTION as FRONTIER
from expunge.report.bench.frontier import Point, frontier
from expunge.report.bench.instability import CAPTION as INSTABILITY
from expunge.report.bench.instability import instability
from expunge.report.bench.stopping import CAPTION as STOPPING
from expunge.report.bench.stopping import Run, stopping
from expunge.report.template import Drawing


def figures(content: Content) -> Iterator[Drawing]:
    """The figures that the config asks for, as far as the numbers allow."""
    asked = content["config"]["figures"]
    if "frontier" in asked:
        for forget_set in names_of(content, "forget_sets", "forget_set"):
            yield from _frontier(content, forget_set)
    if "shares" in asked or "spread" in asked:
        shares, spreads = _shares(content), _spreads(content)
        if shares or spreads:
            judges = _judges_of_trials(content)
            yield Drawing(
                "Instability",
                f"{INSTABILITY} Settings of the first part were chosen {by(rules_of(content)[0])}; "
                f"the gaps of the second are {judges}.",
                instability(shares, spreads, content["name"]),
                instability(shares, spreads, content["name"], columns=1),
            )
    if content["stopping"]:
        made = {name: Run(**run) for name, run in content["stopping"]["runs"].items()}
        band = tuple(content["stopping"]["band"])
        share = 100 * content["stopping"]["chance"]
        yield Drawing(
            f"When to stop, {content['config']['stopping']['forget']}",
            f"{STOPPING} One model, with the settings chosen {by(rules_of(content)[-1])}. Of "
            f"retrained models themselves {share:.1f} % of the rows would be called so at any one "
            "look, and more over many.",
            stopping(made, band, content["name"]),
            stopping(made, band, content["name"], columns=1),
        )


def _frontier(content: Content, forget_set: str) -> Iterator[Drawing]:
    points, noise, before, lost = [], {}, {}, 0
    for cell in content["cells"]:
        found = cell["scores"].get("KLoM")
        if cell["forget_set"] != forget_set or not found:
            continue
        parts = {"average" if k == "mean" else k: v for k, v in found["parts"].items()}
        se = {"average" if k == "mean" else k: v for k, v in found["se"].items()}
        if cell["method"] == RETRAIN:
            noise = parts
        elif cell["method"] == ORIGINAL:
            before = parts
        if found["hidden"]:
            lost += 1
        elif cell["method"] != ORIGINAL:
            points.append(Point(cell["method"], cell["cost"]["relative_to_retrain"], parts, se))
    if not points or not noise:
        return
    names = {e["label"]: e["name"] for e in content["config"]["candidates"]}
    attributed = [n for n, kind in names.items() if METHODS[kind].needs & {"change", "teachers"}]
    title = f"{content['name']}: {forget_set}"
    members = content["config"]["members"]
    wide, narrow = (
        frontier(points, noise, members, title, original=before, attributed=attributed, columns=n)
        for n in (2, 1)
    )
    yield Drawing(
        f"KLoM against compute, {forget_set}",
        f"{FRONTIER} {members} models on each side; the noise floor is that of retrained models "
        f"among themselves. {lost} trials are left out: their models are so far apart that the "
        "histogram cannot resolve them.",
        wide,
        narrow,
    )


def _shares(content: Content) -> list[tuple[str, float, float, float | None]]:
    """Average gap by forgetting share, by the first rule, with its standard error."""
    rule, found = rules_of(content)[0], []
    if any(name not in content["config"]["metrics"] for name in GAPPED):
        return []
    for entry in content["config"]["forget"]:
        if entry["kind"] != "random" or "share" not in entry["settings"]:
            continue
        for method in (e["label"] for e in content["config"]["candidates"]):
            own = gaps_of(content, entry["name"], method, rule)
            if own is not None:
                found.append((method, 100 * entry["settings"]["share"], own.average, own.se))
    return found


def _spreads(content: Content) -> list[tuple[str, float, list[float]]]:
    """Average gaps over all strengths of influence unlearning, by share and mask."""
    found = []
    shares = {
        e["name"]: 100 * e["settings"]["share"]
        for e in content["config"]["forget"]
        if e["kind"] == "random" and "share" in e["settings"]
    }
    influence = [  # those whose strength alone is tuned
        entry["label"]
        for entry in content["config"]["candidates"]
        if entry["name"] == "influence" and list(entry["grid"]) == ["alpha"]
    ]
    for choice in content["choices"]:
        if choice["forget_set"] in shares and choice["method"] in influence:
            known = _gaps_of_trials(content, choice)
            if known:
                found.append((choice["method"], shares[choice["forget_set"]], known))
    return found


def _gaps_of_trials(content: Content, choice: Content) -> list[float]:
    """Of trials on a judged seed, by its judges; of others, by the retrained models that chose."""
    if not _trials_are_judged(content):
        scores = [trial["scores"].get("oracle") for trial in choice["trials"]]
        return [score for score in scores if score is not None]
    tuning = content["config"]["tuning"]
    seed = tuning["seed"] if tuning else content["config"]["seeds"][0]
    own, oracles = (
        [
            cell
            for cell in content["cells"]
            if (cell["forget_set"], cell["seed"], cell["method"])
            == (choice["forget_set"], seed, method)
        ]
        for method in (choice["method"], ORACLE)
    )
    gaps = [gaps_between([cell], oracles) for cell in own]
    return [found.average for found in gaps if found is not None]


def _trials_are_judged(content: Content) -> bool:
    """Whether trials were made on a judged seed; or were chosen by KLoM, which is no gap."""
    tuning, members = content["config"]["tuning"], content["config"]["members"]
    judged = not tuning or tuning["seed"] in content["config"]["seeds"]
    return judged or members >= MIN_MODELS


def _judges_of_trials(content: Content) -> str:
    if _trials_are_judged(content):
        return "those of all trials on the judged models"
    return "as the retrained models that choose see them, on validation rows"
