"""KLoM against compute for every method, after Figure 1 of the Datamodel Matching paper.

100 models of hand-written digits (or, with --problem fashion, of Fashion-MNIST with a perceptron)
forget random rows and one end of a class's first principal component. Six or eight trials a
method; a second group of retrained models chooses, the first one judges, and all trials are in the
figure, above the noise of KLoM among retrained models. Claims, on the principled set: oracle
matching is as near as retraining can be told from itself (the verdict's limit, 1.0 above the
noise); dmm has at most half the mean of the three 95th percentiles of the best method without
attribution; and all methods without attribution are beyond that limit.

Run: python -m benchmarks.tables.pareto [--problem fashion] (20 and 60 minutes on two cores).
Killed, it goes on.
"""

from benchmarks import grid, result
from expunge.bench.content import Content
from expunge.methods import METHODS

LIMIT = 1.0  # above the noise, as in the verdict
RULE = "oracle"
QUICK = {"gradient-ascent", "scrub", "oracle-matching", "dmm"}


def main() -> None:
    parser = grid.parser(lambda flags: f"pareto_{flags.problem}")
    parser.add_argument("--problem", choices=("digits", "fashion"), default="digits")
    flags = parser.parse_args()
    words = ("--problem", flags.problem)
    content = grid.configured(flags, f"pareto_{flags.problem}", small, *words)
    principled = content["config"]["forget"][-1]["name"]
    noise = grid.klom(content, principled, "retrain", None)
    assert noise is not None
    best = {
        e["label"]: grid.klom(content, principled, e["label"], RULE) for e in candidates(content)
    }
    known = {label: found for label, found in best.items() if found is not None}
    free = {e["label"] for e in candidates(content) if not METHODS[e["name"]].needs} & set(known)
    rival = min(free, key=lambda label: known[label][0])
    claims = [
        result.difference(
            "oracle-matching's KLoM less the noise", known["oracle-matching"], noise, LIMIT
        ),
        result.difference(
            f"dmm's KLoM less half of {rival}'s", known["dmm"], half(known[rival]), 0.0
        ),
        result.difference(
            f"the noise less the best without attribution, {rival}", noise, known[rival], -1.0
        ),
    ]
    result.write(
        flags.out,
        claims,
        files=flags.out.stem,
        forget_set=principled,
        noise=noise,
        chosen=known,
        members=content["config"]["members"],
        half_models=content["config"]["half_models"],
        quick=flags.quick,
    )


def candidates(content: Content) -> list[dict]:
    """The methods of a benchmark."""
    return content["config"]["candidates"]


def half(found: tuple[float, float]) -> tuple[float, float]:
    """Half of a number and of its error."""
    return found[0] / 2, found[1] / 2


def small(asked: dict) -> dict:
    """Fifty models of digits, the principled set alone."""
    sets = [{**asked["forget"][-1], "count": 30}]
    sizes = {"problem": "digits", "members": 50, "half_models": 60}
    return grid.only(asked, QUICK, forget=sets, **sizes)


if __name__ == "__main__":
    main()
