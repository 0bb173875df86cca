"""How much of the demo's result is luck of its forget set? Twenty sets, one half-data fit.

For every digit and either end of its first principal component, 30 rows are forgotten with dmm at
the demo's setting and with gradient-ascent, the demo's best method without attribution. The 1,000
half-data models are shared, so each set costs its oracles only. Claim: on the median set dmm has at
most half the `average_p95` of gradient-ascent. Every set is listed, the demo's own among them.

Run: python -m benchmarks.demo.sets (about eight minutes on two cores beside the demo's models).
"""

from statistics import median

from benchmarks import result
from benchmarks.demo.judged import Judged
from benchmarks.grid import shorter
from expunge.fanout.runtime import Runtime
from expunge.forget_sets import principal_end
from expunge.store import Store
from expunge.zoo.demo import demo_methods
from expunge.zoo.digits import digits

METHODS = ("gradient-ascent", "dmm", "dm-direct")


def main() -> None:
    flags = result.arguments("demo_sets")
    members, half_models = (50, 60) if flags.quick else (100, 1000)
    ends = [(7, True)] if flags.quick else [(d, top) for d in range(10) for top in (True, False)]
    base = digits()
    if flags.quick:
        base = shorter(base)
    runtime = Runtime(Store(flags.store), jobs=flags.jobs, progress=False)
    methods = {name: demo_methods()[name] for name in METHODS}
    rows = []
    for digit, top in ends:
        candidates = (base.train.targets == digit).nonzero().squeeze(-1)
        problem = base.forgetting(principal_end(base.train.inputs, candidates, 30, top=top))
        models = Judged(problem, runtime, members, half_models)
        outputs = {role: models.seen[role] for role in ("null", "original")}
        outputs |= {name: found.outputs for name, found in models.unlearn(methods).items()}
        entry = {"digit": digit, "end": "top" if top else "bottom"}
        entry |= {name: models.score(one) for name, one in outputs.items()}
        rows.append(entry)
        averages = {n: e["average_p95"] for n, e in entry.items() if isinstance(e, dict)}
        print(digit, entry["end"], {name: f"{value:.2f}" for name, value in averages.items()})
    ratios = [e["dmm"]["average_p95"] / e["gradient-ascent"]["average_p95"] for e in rows]
    claims = [
        result.claim(
            "median over sets of dmm's average_p95 relative to gradient-ascent's",
            median(ratios),
            0.5,
            [min(ratios), max(ratios)],
        )
    ]
    facts = {"members": members, "half_models": half_models, "seed": 0, "quick": flags.quick}
    result.write(flags.out, claims, interval_is="smallest and largest set", sets=rows, **facts)


if __name__ == "__main__":
    main()
