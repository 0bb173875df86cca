"""The two convex theorems behind Datamodel Matching, in numbers and pictures.

Ridge regression, 400 rows, 20 weights, 5 forgotten rows, float64, 20 seeds. Theorem numbers are
those of Georgiev et al. 2024 (arXiv 2410.23232); the statements are ours, not quotations; short
proofs are in docs/convex.md. Every descent starts at theta_full; e = theta - theta_*; X_R and X_F
are the retained and the forgotten rows, X is both, H = X_R^T X_R + l2 I.

Theorem 1, all rows a step: ridge descent on R is e <- (I - s H) e, matching the oracle's outputs
on S is e <- (I - s X^T X) e. Matching is faster in directions v with |X_F v|^2 > l2 |v|^2, and
gains where few retained rows have such directions; elsewhere the two tie, or matching is slower.
Theorem 2, one row a step: at theta_* each row's matching loss is 0 and each row's ridge gradient
is not. So matching converges at a constant step, and SGD ends in a cloud around theta_*.
Ascent-descent: let c be the eigenvalues of X_F^T X_F relative to H. Where a c > 1 it diverges, else
it ends at -(1 + c) / (1 - c) times its first error, on the other side of theta_*.

Steps are set by theory (`descent.py`), none is tuned. An error is |e| relative to the first
one, digits gained are -log10 of it; intervals run from the smallest to the largest seed.

Run: python -m benchmarks.convex.theorems (half a minute on one core; --plot only draws again).
"""

import json
from typing import Any

from benchmarks import result
from benchmarks.convex.figures import draw
from benchmarks.convex.ridge import FORGET, L2, NOISE, OWN, D, N, isotropic, rare
from benchmarks.convex.runs import by_batch, by_row, gap, left_out

HORIZON = 1000  # full-batch steps after which claims are read
LARGE_L2 = 30.0  # above the curvature 3^2 that a forgotten row has in its own feature
SCALES = (1.0, 0.3, 0.1, 0.03, 0.01)  # of retained rows in the rare features
SIZES = (1.0, 2.0, 3.0, 5.0, 10.0)  # of forgotten rows


def main() -> None:
    flags = result.arguments("convex", plots=True)
    if not flags.plot:
        seeds, steps, single = (3, HORIZON, 10_000) if flags.quick else (20, 10_000, 200_000)
        found = measure(seeds, steps, single)
        setting = {"n": N, "d": D, "forget": FORGET, "l2": L2, "noise": NOISE, "seeds": seeds}
        result.write(
            flags.out,
            claims(found),
            interval_is="smallest and largest seed",
            error_is="log10 of |theta - theta_*| / |theta_full - theta_*|",
            setting=setting,
            quick=flags.quick,
            **found,
        )
    draw(json.loads(flags.out.read_text()), flags.out.with_suffix(""))


def measure(seeds: int, steps: int, single: int) -> dict[str, Any]:
    """Every number: `steps` full-batch steps, `single` steps of one row."""
    designs = {
        "rare": rare(seeds),
        "rare alone": rare(seeds, alone=True),
        "isotropic": isotropic(seeds),
    }
    rarity = {
        f"{l2:g}": [
            {"scale": s, "predicted": predicted(s, l2), **gap(rare(seeds, s, l2))} for s in SCALES
        ]
        for l2 in (L2, LARGE_L2)
    }
    return {
        "full_batch": {name: by_batch(ridge, steps) for name, ridge in designs.items()},
        "row_by_row": {k: by_row(designs[k], single) for k in ("rare", "isotropic")},
        "steps_to_one_percent": {"isotropic": gap(designs["isotropic"]), "rare": rarity},
        "left_out": {
            "rare": left_out(designs["rare"]),
            "longer": [{"size": s, **left_out(isotropic(seeds, s))} for s in SIZES],
        },
    }


def predicted(scale: float, l2: float) -> float:
    """Curvature of ridge descent over that of matching, in a forgotten row's own feature."""
    common = (N - FORGET) * scale**2
    return (common + l2) / (common + OWN**2)


def claims(found: dict[str, Any]) -> list[dict]:
    """Errors where a method should converge, digits gained where it should not."""
    row, steps, left = (found[k] for k in ("row_by_row", "steps_to_one_percent", "left_out"))
    rarity = {l2: {e["scale"]: e for e in entries} for l2, entries in steps["rare"].items()}
    longer = {e["size"]: e for e in left["longer"]}

    def after(design: str, method: str) -> dict:
        curve = found["full_batch"][design][method]
        place = curve["steps"].index(HORIZON)
        return {k: curve[k][place] for k in ("mean", "low", "high")}

    made = [
        digits("ridge descent, rare", after("rare", "ridge descent"), 2.0),
        error("matching, rare", after("rare", "matching"), -6.0),
        at_most("matching's steps over ridge descent's, rare", rarity["1"][0.03]["ratio"], 0.25),
        at_most(
            "ridge descent's steps over matching's, isotropic", steps["isotropic"]["inverse"], 1.1
        ),
        at_most(
            f"ridge descent's steps over matching's, rare, l2 = {LARGE_L2:g}",
            rarity[f"{LARGE_L2:g}"][0.03]["inverse"],
            0.5,
        ),
        digits("ascent-descent, rare", after("rare", "ascent-descent"), -3.0),
        digits("ascent-descent, isotropic", after("isotropic", "ascent-descent"), 0.0),
    ]
    for design in found["full_batch"]:
        for few in (1, 3):
            name = f"matching, forget + {few}x"
            made.append(digits(f"{name}, {design}", after(design, name), 3.0))
        name = "matching, forget + 20x"
        made.append(error(f"{name}, {design}", after(design, name), -10.0))
    for design, of in row.items():
        last = {k: of["matching"][k][-1] for k in ("mean", "low", "high")}
        made.append(error(f"stochastic matching, {design}", last, -10.0))
        made.append(digits(f"SGD, {design}", of["cloud"], 1.0))
        off = f"log10 of SGD's cloud, off the prediction, {design}"
        made.append(at_most(off, of["off the prediction"], 0.05))
    for design, of in (("rare", left["rare"]), ("3 times as long", longer[3.0])):
        made.append(error(f"leave-set-out formula, {design}", of["formula"], -12.0))
        made.append(digits(f"first-order influence, {design}", of["influence"], 1.0))
    return made


def at_most(name: str, value: dict, target: float) -> dict:
    return result.claim(name, value["mean"], target, [value["low"], value["high"]])


def error(name: str, log: dict, target: float) -> dict:
    return at_most(f"log10 error of {name}", log, target)


def digits(name: str, log: dict, target: float) -> dict:
    gained = {"mean": -log["mean"], "low": -log["high"], "high": -log["low"]}
    return at_most(f"digits gained by {name}", gained, target)


if __name__ == "__main__":
    main()
