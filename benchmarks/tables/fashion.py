"""Which published claims hold on Fashion-MNIST, with equal trials for every method?

The methods without attribution forget 10 % and 50 % of the rows, a class, and one way to make a
shirt, from a small convolutional network with batch norm; three seeds, six trials a method. Claims
are those of the field's tables (docs/claims.md): each is a difference that should be at most 0,
with two standard errors each way. They are reported, whatever comes out.

Run: python -m benchmarks.tables.fashion (about an hour on two cores; killed, it goes on).
"""

from math import hypot

from torch import tensor

from benchmarks import grid, result
from expunge.bench.content import Content, gaps_of

FREE = "oracle-free"
PLAIN = {"fine-tune", "gradient-ascent", "influence", "random-label", "salun", "salun-soft"}
TEN, HALF, SHIRTS = "random 10 %", "random 50 %", "one way to make a shirt"


def main() -> None:
    flags = grid.parser("fashion_table").parse_args()
    content = grid.configured(flags, "fashion_table", small)
    claims = [
        under(content, "fine-tune"),
        under(content, "gradient-ascent"),
        under(content, "influence"),
        over(content),
        smallest(content, TEN, ["salun"]),
        steadier(content),
        smallest(content, HALF, ["salun-soft", "random-label"], than=["salun"]),
        far(content),
    ]
    result.write(flags.out, claims, files=flags.out.stem, seeds=content["config"]["seeds"])


def small(asked: dict) -> dict:
    """Digits instead of clothes, so that no data are needed."""
    sets = [entry for entry in asked["forget"] if entry["kind"] != "class"]
    sets = [{**entry, "count": 20} if "count" in entry else entry for entry in sets]
    return grid.only(asked, PLAIN, problem="digits", seeds=[0, 1], forget=sets)


def under(content: Content, method: str) -> dict:
    """Does it under-forget: is fewer answered wrongly than after retraining?"""
    found = gaps_of(content, TEN, method, FREE)
    assert found is not None, f"{method} was not measured"
    ua = found.metrics["UA"]
    return result.near(f"UA of {method} less that of retrain at 10 %", ua.gap, 0.0, ua.se)


def over(content: Content) -> dict:
    """Does random-label over-forget: does the attack call more rows non-members?"""
    found = gaps_of(content, TEN, "random-label", FREE)
    assert found is not None
    mia = found.metrics["MIA"]
    name = "MIA of retrain less that of random-label at 10 %"
    return result.near(name, -mia.gap, 0.0, mia.se)


def smallest(
    content: Content, forget_set: str, own: list[str], than: list[str] | None = None
) -> dict:
    """Is the average gap of the best of `own` the smallest, or smaller than those of `than`?"""
    labels = than or [e["label"] for e in content["config"]["candidates"]]
    measured = {m: gaps_of(content, forget_set, m, FREE) for m in {*labels, *own}}
    known = {m: found for m, found in measured.items() if found is not None}
    ours, theirs = (
        known[min(names, key=lambda m: known[m].average)]
        for names in ([m for m in known if m in own], [m for m in known if m not in own])
    )
    value = ours.average - theirs.average
    name = f"average gap of {' or '.join(own)} less that of {than[0] if than else 'the best other'}"
    share = forget_set.removeprefix("random ")
    return result.near(f"{name} at {share}", value, 0.0, hypot(ours.se or 0, theirs.se or 0))


def steadier(content: Content) -> dict:
    """Is influence unlearning less spread over its strength under a mask? By a jackknife."""
    gaps = {
        choice["method"]: [t["scores"].get("oracle") for t in choice["trials"]]
        for choice in content["choices"]
        if choice["forget_set"] == TEN and choice["method"].startswith("influence")
    }
    both = [
        (a, b)
        for a, b in zip(gaps["influence + mask"], gaps["influence"], strict=True)
        if a is not None and b is not None
    ]
    name = "spread of influence's gap over its strength at 10 %, with the mask less without"
    n = len(both)
    if n < 3:
        return result.claim(name, None, 0.0)
    value, each = apart(both), [apart(both[:k] + both[k + 1 :]) for k in range(n)]
    se = ((n - 1) / n * sum((one - sum(each) / n) ** 2 for one in each)) ** 0.5
    return result.near(name, value, 0.0, se)


def apart(both: list[tuple[float, float]]) -> float:
    """Difference of the two standard deviations."""
    masked, plain = (tensor(side) for side in zip(*both, strict=True))
    return float(masked.std() - plain.std())


def far(content: Content) -> dict:
    """Are all far from retraining on shirts of one make: further than chance would bring them?"""
    labels = [e["label"] for e in content["config"]["candidates"]]
    known = [g for m in labels if (g := gaps_of(content, SHIRTS, m, FREE)) is not None]
    best = min(known, key=lambda found: found.average)
    name = "average gap by chance less the best one on one way to make a shirt"
    if best.chance is None:
        return result.claim(name, None, 0.0)
    value = best.chance - best.average
    return result.near(name, value, 0.0, best.se)


if __name__ == "__main__":
    main()
