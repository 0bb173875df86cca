"""Which settings of matching are best at which cost? Datamodel Matching on Fashion-MNIST.

100 models forget 100 shirts, and 500 pictures, by dmm with the attribution that reads each model
itself, one setting changed at a time from the defaults: steps, learning rate, rows a step, and
whether outputs, their distribution or margins are matched. Claims: of the settings that cost no
more than the defaults none is nearer to retraining, by KLoM (mean of the three 95th percentiles).

Run: python benchmarks/matching.py (15 minutes on one core, once dmm_fashion.py has run).
"""

from math import hypot

import grid
import result

from expunge.bench.content import Content, cells_of

DEFAULT, RULE = "default", "fixed"
QUICK = 2  # settings


def main() -> None:
    flags = result.arguments("matching", __doc__ or "", plots=True)
    content = grid.content_of(flags, "matching", small, grid.shorter)
    names = [entry["name"] for entry in content["config"]["forget"]]
    klom = {
        name: {label: told(content, name, label) for label in labels(content)} for name in names
    }
    result.write(
        flags.out,
        [claimed(name, found) for name, found in klom.items()],
        files=flags.out.stem,
        klom_error_and_cost=klom,
    )


def labels(content: Content) -> list[str]:
    """The settings of this run."""
    return [entry["label"] for entry in content["config"]["candidates"]]


def told(content: Content, name: str, label: str) -> list[float] | None:
    """KLoM, its standard error, and cost in retrainings; None if it was not measured."""
    found = grid.klom(content, name, label, RULE)
    cell = cells_of(content, name, label, RULE)[0]
    return None if found is None else [*found, cell["cost"]["relative_to_retrain"]]


def claimed(name: str, found: dict[str, list[float] | None]) -> dict:
    """Are the defaults no worse than the nearest that costs no more?"""
    ours = found[DEFAULT]
    others = {k: v for k, v in found.items() if k != DEFAULT and v and ours and v[2] <= ours[2]}
    if ours is None or not others:
        return result.claim(f"KLoM of the defaults less the best as cheap, {name}", None, 0.0)
    label, best = min(others.items(), key=lambda pair: pair[1][0])
    value, se = ours[0] - best[0], hypot(ours[1], best[1])
    what = f"KLoM of the defaults less the best as cheap ({label}), {name}"
    return result.claim(what, value, 0.0, [value - 2 * se, value + 2 * se])


def small(asked: dict) -> dict:
    """Fifty models of digits, one set, two settings."""
    sets = [{**asked["forget"][0], "count": 30}]
    methods = asked["method"][:QUICK]
    kept = {**asked, "method": methods, "judged_rows": 100}
    return {**kept, "problem": "digits", "members": 50, "forget": sets}


if __name__ == "__main__":
    main()
