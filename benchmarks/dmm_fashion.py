"""Datamodel Matching on Fashion-MNIST with a perceptron, against every method of the package.

100 models of 10,000 rows forget 10 and 100 pictures of one way to make a shirt, 500 at both ends of
the first principal component of all pictures, 100 random rows, and, as a hard case that is no part
of the claims on principled sets, half of all shirts. Four trials a method; a second group of
retrained models chooses. Claims: dmm at no more than 0.05 of a retraining is on the Pareto front of
KLoM (mean of the three 95th percentiles) against cost, at every budget; at most 2.2 there (goal
1.3); and with the attribution that reads the model alone it beats every method without attribution
at equal total cost, attribution included.

Run: python benchmarks/dmm_fashion.py (four hours on two cores; killed, it goes on).
"""

from math import hypot

import grid
import result

from expunge.bench.content import Content, cells_of
from expunge.methods import METHODS

MUST, GOAL, BUDGET, RULE = 2.2, 1.3, 0.05, "oracle"
ALONE, COMBINED = "dmm, linearised", "dmm, combined"
HARD = "half of all shirts"
QUICK = {"gradient-ascent", "dmm"}


def main() -> None:
    flags = result.arguments("dmm_fashion", __doc__ or "", plots=True)
    content = grid.content_of(flags, "dmm_fashion", small, grid.shorter)
    names = [entry["name"] for entry in content["config"]["forget"]]
    claims = []
    for name in names:
        claims += front(content, name)
        if name != HARD and "random" not in name:
            claims += [*near(content, name), *alone(content, name)]
    klom = {
        name: {e["label"]: grid.klom(content, name, e["label"], RULE) for e in entries(content)}
        for name in names
    }
    result.write(flags.out, claims, files=flags.out.stem, klom=klom)


def entries(content: Content) -> list[dict]:
    """The methods of this run."""
    return content["config"]["contestants"]


def trials(content: Content, name: str) -> list[tuple[str, float, float]]:
    """Label, cost and KLoM, by the judging oracles, of all that was judged on a forget set."""
    found = []
    for cell in content["cells"]:
        score = cell["scores"].get("KLoM")
        if cell["forget_set"] == name and score and not score["hidden"]:
            cost = cell["cost"]["relative_to_retrain"]
            found.append((cell["method"], cost, score["value"]))
    return found


def front(content: Content, name: str) -> list[dict]:
    """Is there a method without oracles that is as cheap as dmm, and nearer?"""
    ours = [t for t in trials(content, name) if t[0].startswith("dmm") and t[1] <= BUDGET]
    rivals = [t for t in trials(content, name) if free(content, t[0]) and t[1] <= BUDGET]
    if not ours or not rivals:
        return []
    best, rival = min(ours, key=lambda t: t[2]), min(rivals, key=lambda t: t[2])
    claims = [
        result.claim(
            f"KLoM of {best[0]} less the best other's ({rival[0]}) at 0.05, {name}",
            *difference(content, name, best, rival),
        )
    ]
    dear = [t for t in trials(content, name) if free(content, t[0]) and t[1] > BUDGET]
    if dear:
        other = min(dear, key=lambda t: t[2])
        what = f"KLoM of {best[0]} at 0.05 less the best at any budget ({other[0]}, {other[1]:.2f})"
        claims.append(result.claim(f"{what}, {name}", *difference(content, name, best, other)))
    return claims


def free(content: Content, label: str) -> bool:
    """Whether a method needs neither attribution nor oracles; doing nothing is one."""
    if label == "original":
        return True
    kinds = {e["label"]: e["name"] for e in entries(content)}
    return label in kinds and not METHODS[kinds[label]].needs


def difference(content: Content, name: str, ours: tuple, theirs: tuple) -> tuple:
    """Value, target and interval of a difference of KLoM."""
    errors = [grid.klom(content, name, one[0], RULE) for one in (ours, theirs)]
    se = hypot(*(found[1] if found else 0.0 for found in errors))
    value = ours[2] - theirs[2]
    return value, 0.0, [value - 2 * se, value + 2 * se]


def near(content: Content, name: str) -> list[dict]:
    """How near retraining is dmm?"""
    found = []
    for label in (COMBINED, ALONE):
        score = grid.klom(content, name, label, RULE)
        for limit in (MUST, GOAL) if score else ():
            around = [score[0] - 2 * score[1], score[0] + 2 * score[1]]
            found.append(result.claim(f"KLoM of {label}, {name}", score[0], limit, around))
    return found


def alone(content: Content, name: str) -> list[dict]:
    """With its attribution in the cost, is dmm from one model nearer than what costs as much?"""
    cells = cells_of(content, name, ALONE, RULE)
    if not cells or cells[0]["scores"]["KLoM"]["hidden"]:
        return [result.claim(f"KLoM of {ALONE} at equal total cost, {name}", None, 0.0)]
    own = (ALONE, cells[0]["cost"]["relative_to_retrain"], cells[0]["scores"]["KLoM"]["value"])
    whole = own[1] + grid.attribution(content, name)["relative_to_retrain"]
    rivals = [t for t in trials(content, name) if free(content, t[0]) and t[1] <= whole]
    if not rivals:
        return []
    rival = min(rivals, key=lambda t: t[2])
    what = f"KLoM of {ALONE} less the best other's ({rival[0]}) at {whole:.2f} in all, {name}"
    return [result.claim(what, *difference(content, name, own, rival))]


def small(asked: dict) -> dict:
    """Fifty models of digits, one set."""
    sets = [{**asked["forget"][1], "count": 30}]
    return grid.only(asked, QUICK, problem="digits", members=50, half_models=60, forget=sets)


if __name__ == "__main__":
    main()
