"""What the tests of trained models share."""

import json

from expunge.contract.cases import weights
from expunge.store.locks import LOCK
from expunge.training.from_recipe import train

SEED, MEMBER = 4, 3
FIRST, SECOND = [3, 7], [11, 19, 58]


def original(problem, member=MEMBER, seed=SEED):
    return weights(train(problem, "original", [member], seed=seed)[0])


def state(module):
    return {n: t.detach()[None].clone() for n, t in module.state_dict().items()}


def gap(one, two):
    a, b = (dict(m.named_parameters()) for m in (one, two))
    return max(float((a[n] - b[n]).detach().abs().max()) for n in a)


def files(folder):
    """The bytes of all files in a folder; of a history only what does not tell of its run."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != LOCK:
            found[str(path.relative_to(folder))] = path.read_bytes()
    facts = json.loads(found["model.history.json"])
    del facts["run"], facts["seal"]
    return {**found, "model.history.json": facts}


def jitter(batch, draws):
    return batch._replace(inputs=batch.inputs + 0.1 * draws.normal(batch.inputs.shape[-2:]))


class Killed(Exception):
    """In the place of a signal."""
