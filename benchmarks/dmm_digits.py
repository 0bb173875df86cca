"""Datamodel Matching on hand-written digits: which attribution, and how many half-data models?

100 models forget two principled sets and two random ones, all at the default settings of dmm, and
are judged by KLoM, the mean of the three 95th percentiles. Claims: with 2,000 half-data models at
most 1.8 on principled sets (goal 1.3; the noise is about 0.65), and on random sets not worse than
doing nothing by more than two standard errors; the same for the attribution that reads each model
itself (linearised), whose cost is at most a quarter of a retraining, as dmm's own is. The result
file has the curve from 250 to 4,000 half-data models.

Run: python benchmarks/dmm_digits.py (15 minutes on two cores; killed, it goes on).
"""

from math import hypot

import dmm_digits_figure
import grid
import result

from expunge.bench.content import Content, cells_of
from expunge.problem import Problem

MUST, GOAL, BUDGET = 1.8, 1.3, 0.25
RULE = "fixed"
LABELS = ("dmm, datamodels 2000", "dmm, combined 2000", "dmm, linearised")
PRINCIPLED, RANDOM = (
    ("one way to write a seven", "one end of all pictures"),
    ("random 30", "random 144"),
)


def main() -> None:
    flags = result.arguments("dmm_digits", __doc__ or "", plots=True)
    content = grid.content_of(flags, "dmm_digits", small, grid.shorter)
    labels = [e["label"] for e in content["config"]["candidates"]]
    claims = []
    for label in LABELS if not flags.quick else labels:
        for name in PRINCIPLED:
            for limit in (MUST, GOAL):
                claims += near(content, name, label, limit)
    for label in labels:
        for name in RANDOM:
            claims += harmless(content, name, label)
    base = grid.trained(content, flags.quick)
    for name in sets(content):
        claims += cheap(content, name, base)
    curve = {
        name: {label: grid.klom(content, name, label, RULE) for label in labels}
        | {label: grid.klom(content, name, label, None) for label in ("original", "retrain")}
        for name in sets(content)
    }
    dmm_digits_figure.draw(curve, flags.out.with_suffix(""))
    result.write(
        flags.out, claims, files=flags.out.stem, klom=curve, members=content["config"]["members"]
    )


def sets(content: Content) -> list[str]:
    """The forget sets of this run."""
    return [entry["name"] for entry in content["config"]["forget"]]


def near(content: Content, name: str, label: str, limit: float) -> list[dict]:
    """Is it within a limit of retraining?"""
    found = grid.klom(content, name, label, RULE)
    if name not in sets(content) or found is None:
        return []
    value, se = found
    what = f"KLoM of {label}, {name}"
    return [result.claim(what, value, limit, [value - 2 * se, value + 2 * se])]


def harmless(content: Content, name: str, label: str) -> list[dict]:
    """Is it worse than doing nothing by more than two standard errors?"""
    found = grid.klom(content, name, label, RULE)
    nothing = grid.klom(content, name, "original", None)
    if name not in sets(content) or found is None or nothing is None:
        return []
    value, se = found[0] - nothing[0], hypot(found[1], nothing[1])
    what = f"KLoM of {label} less the original's, {name}; the target is two errors"
    return [result.claim(what, value, 2 * se) | {"interval": [value - 2 * se, value + 2 * se]}]


def cheap(content: Content, name: str, base: Problem) -> list[dict]:
    """What dmm and its linearised attribution read for one model, in retrainings."""
    cell = cells_of(content, name, "dmm, linearised", RULE)[0]
    own = cell["cost"]["relative_to_retrain"]
    asked = grid.attribution(content, name, base, cell["settings"])
    before, units = asked["relative_to_retrain"], asked["row_units"]
    return [
        result.claim(f"cost of dmm, in retrainings, {name}", own, BUDGET),
        result.claim(
            f"cost of its linearised attribution, in retrainings ({units:,} row units), {name}",
            before,
            BUDGET,
        ),
    ]


def small(asked: dict) -> dict:
    """Fifty models and two sets."""
    methods = [e for e in asked["method"] if e.get("label") in ("dmm, linearised", LABELS[0])]
    methods = [
        {**e, "settings": {"attribution": "datamodels:models=60"}} if e["label"] == LABELS[0] else e
        for e in methods
    ]
    forget = [asked["forget"][0], asked["forget"][2]]
    return {**asked, "members": 50, "half_models": 60, "method": methods, "forget": forget}


if __name__ == "__main__":
    main()
