"""Attribution beside other libraries: how well, and how fast, is it said what retraining does?

Models are retrained without sets of rows, 20 sets of each family (`sets.py`). From some
of the trained models, one at a time, each attributor predicts the margins of the judged rows
without each set. Ours: linearised, influence, ek-fac, trak, and two that need half-data models,
whose training is listed apart. Theirs: traker, dattri, kronfluence (`peers.py`).

For each family: the linear datamodelling score (LDS), mean over the models that predict, and the
ceiling that noise of the truth leaves it; for ten random rows that is next to nothing, as their
effect is far below the noise of retraining. The calibration slope of the true on the predicted
change (1 at best; of traker in no unit), and the root mean square error in units of the truth's
own size (1: as good as predicting no change), both less the noise of the truth where that is known.
Seconds are of the processor, one thread, for one model: for one set of 100 rows, and for all sets
of all families. The first question, which imports and warms up, is not counted. The peers score
single rows, so what more sets cost them is next to nothing; ours solve once per set.

Claims, for each of ours and its peer: the LDS of theirs less ours is at most 0 (intervals by a
jackknife over sets, both scored on the same ones), on the families where the truth is more than
noise; seconds of ours over theirs are at most 1 (smallest and largest of the models).

The peers are optional, and said to be missing where they are:
  pip install -c constraints.txt torch 'traker>=0.3.2' 'dattri>=0.3'
  pip install -c constraints.txt accelerate einops einconv opt-einsum
  pip install --no-deps kronfluence==1.0.1   # its dependency torchvision breaks a CPU torch

Run: OMP_NUM_THREADS=1 python -m benchmarks.attribution.run --jobs 1 (digits, 15 minutes on
one core; --problem fashion-mlp; retrained models are kept, so that a killed run goes on).
"""

import json
from typing import Any

import torch

from benchmarks import result
from benchmarks.attribution import figure, scores, timing
from benchmarks.attribution.ask import Ask
from benchmarks.attribution.sets import families
from benchmarks.grid import shorter
from expunge.api.left_out import LeftOut
from expunge.attribution.fit import fit
from expunge.fanout.runtime import Runtime
from expunge.store import Store
from expunge.zoo.problems import problem

PROBLEMS = ("digits", "fashion-mlp")
# retrained without each set; models that predict; half-data models; judged rows
SETTINGS = {"digits": (10, 3, 500, 200), "fashion-mlp": (5, 2, 300, 200)}
QUICK = (3, 2, 0, 40)
SETS = 20  # a family


def main() -> None:
    flags = result.arguments(
        lambda flags: f"attribution_{flags.problem}", plots=True, problems=PROBLEMS
    )
    if not flags.plot:
        found = measure(flags)
        result.write(flags.out, scores.claims(found), quick=flags.quick, **found)
    figure.draw(json.loads(flags.out.read_text()), flags.out.with_suffix(""))


def measure(flags: Any) -> dict[str, Any]:
    """Every number."""
    models, read, half_models, rows = QUICK if flags.quick else SETTINGS[flags.problem]
    asked, sets = problem(flags.problem), 10 if flags.quick else SETS
    runtime = Runtime(Store(flags.store), jobs=flags.jobs, progress=False)
    named = families(asked, runtime.seed, sets)
    if flags.quick:
        named = {"alike 100": named["alike 100"]}
        asked = shorter(asked)
    every = [own for group in named.values() for own in group]
    truth = LeftOut(asked, every, runtime, models, rows)
    fitted = fit(truth.base, half_models) if half_models else None
    asks = [
        Ask(truth, module, member, every, fitted and fitted.halves, runtime.seed)
        for module, member in zip(truth.originals.modules(), truth.originals.ids, strict=True)
    ][:read]
    one = named["alike 100"][:1]
    made = timing.run(asks, one, quick=flags.quick)
    predicted = {name: entry.pop("predicted") for name, entry in made.items()}
    return {
        "problem": asked.name,
        "families": {name: len(group) for name, group in named.items()},
        "rows_left_out": {name: len(group[0]) for name, group in named.items()},
        "models": models,
        "models_that_predict": read,
        "half_models": fitted and {"count": half_models, "cost_of_one": fitted.one.__dict__},
        "judged_rows": len(truth.rows),
        "threads": torch.get_num_threads(),
        "attributors": made,
        **scores.scores(truth, named, predicted),
    }


if __name__ == "__main__":
    main()
