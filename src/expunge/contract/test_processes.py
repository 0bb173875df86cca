"""Law 7, second half: the number of processes does not change a bit, nor does being killed."""

import torch

from expunge.api.compare import compare
from expunge.contract.cases import same_bits, short
from expunge.contract.laws import law
from expunge.contract.problems import tiny
from expunge.fanout.runtime import Runtime
from expunge.store import Store
from expunge.training.model_cache import ModelCache

ROLES = {"original": 5, "oracle": 4, "subset": 6}


def made(folder, jobs: int, group: int) -> dict:
    """The tensors of every model of every role, made by so many processes."""
    runtime = Runtime(Store(folder), jobs=jobs, group=group, progress=False)
    cache = ModelCache(tiny(), runtime)
    cache.make(ROLES)
    return {
        f"{key}/{name}": tensor
        for role, count in ROLES.items()
        for key in cache.keys(role, count)
        for name, tensor in runtime.store.load(key).tensors.items()
    }


def test_two_processes_make_the_models_of_one(tmp_path):
    one, two = (made(tmp_path / str(jobs), jobs, group=2) for jobs in (1, 2))
    assert len(one) > 20
    assert same_bits(one, two)


@law("processes")
def test_two_processes_compare_as_one_does(kinds, tmp_path, no_page):
    """Every method, all evidence, and every number that follows from it."""
    found = []
    for jobs in (1, 2):
        runtime = Runtime(Store(tmp_path / f"store{jobs}"), jobs=jobs, group=2, progress=False)
        methods = {kind.name: short(kind) for kind in kinds}
        out = tmp_path / f"out{jobs}"
        compare(tiny(), methods, out=out, runtime=runtime, members=10, half_models=20)
        found.append({p.name: p.read_bytes() for p in (out / "evidence").iterdir()})
    assert len(found[0]) == len(kinds) + 6  # original, oracle, null, untrained, targets, manifest
    assert found[0] == found[1]


def test_more_members_leave_the_first_ones_as_they_are(tmp_path):
    runtime = Runtime(Store(tmp_path), jobs=1, group=2, progress=False)
    cache = ModelCache(tiny(), runtime)
    few = cache.models("original", 4).tensors()
    many = cache.models("original", 7).tensors()
    assert all(torch.equal(few[name], many[name][:4]) for name in few)
