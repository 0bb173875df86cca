"""Fit half-data models once, and find the fit again for any later forget set."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from expunge import store
from expunge.attribution.difference import require_enough
from expunge.attribution.half_data_models import Block, First, HalfDataModels
from expunge.engine.cost import Cost
from expunge.errors import BadInput
from expunge.training.from_recipe import subset_rows
from expunge.training.model_cache import ModelCache

FEWEST = 20  # half-data models below which nothing is predicted at all


@dataclass(frozen=True)
class Fit:
    """Half-data models, and what they cost."""

    halves: HalfDataModels
    count: int  # half-data models
    one: Cost  # of one half-data model
    reused: bool  # found in the store, so that this request pays nothing for it


def fit(cache: ModelCache, count: int) -> Fit:
    """`count` half-data models of `cache`'s problem, made or found.

    A fit made before some rows were forgotten serves the rows that are left, as long as their
    content and the recipe are the same.

    Raises:
        BadInput: fewer than 20 models asked for, or too few for the problem's forget set; the
            problem has no recipe.
    """
    if count < FEWEST:
        raise BadInput(
            f"{count} half-data models",
            expected=f"at least {FEWEST}; some hundreds for a useful prediction",
            fix="raise --half-models",
        )
    if cache.problem.train.linked:
        raise BadInput(
            "half-data models of linked rows",
            expected="rows that do not depend on one another",
            fix="choose an attribution that reads the model itself, such as linearised",
        )
    key = find(cache, count)
    reused = key is not None
    if key is None:
        require_models_for(cache, count)  # before an hour's work, not after
        cost = cache.half_models(count)
        key = store.key("attributions", keys=cache.keys("subset", count))
        facts = {**_facts(cache), "models": count, "keys": cache.keys("subset", count)}
        facts["cost"] = cost.__dict__
        tensors = {"present": cache.problem.present_mask, "content": cache.content}
        cache.runtime.store.save(key, tensors, facts)
    kept = cache.kept(key)
    blocks = First(_Kept(cache, kept.facts["keys"]), count)
    centred = cache.problem.task.kind == "classification"
    halves = HalfDataModels(blocks, kept.tensors["present"], centred)
    return Fit(halves, count, Cost(**kept.facts["cost"]), reused)


def require_models_for(cache: ModelCache, count: int) -> None:
    """Refuse so few models that the problem's forget set is in nearly all or none of a half."""
    problem, seed = cache.problem, cache.runtime.seed
    inside = torch.zeros(2, len(problem.train), dtype=torch.int64)
    for ids in torch.arange(count).split(100):
        rows = subset_rows(problem, ids.tolist(), seed)
        for half in (0, 1):
            own = rows[ids % 2 == half].flatten()
            inside[half] += torch.bincount(own, minlength=len(problem.train))
    for half in (0, 1):
        require_enough(inside[half, problem.forget], (count + 1 - half) // 2, parts=2)


def find(cache: ModelCache, count: int) -> str | None:
    """The key of a stored fit that serves this problem with at least `count` models, or None."""
    present = cache.problem.present_mask
    for key in cache.runtime.store.keys("attributions"):
        kept = cache.runtime.store.load(key)
        if (
            kept is not None
            and kept.facts.items() >= _facts(cache).items()
            and kept.facts["models"] >= count
            and len(kept.tensors["present"]) == len(present)
            and bool(kept.tensors["present"][present].all())
            and torch.equal(kept.tensors["content"][present], cache.content[present])
            and all(cache.runtime.store.has(block) for block in kept.facts["keys"])
        ):
            return key
    return None


def _facts(cache: ModelCache) -> dict:
    return {
        "recipe": cache.recipe_id,
        "seed": cache.runtime.seed,
        "eval_data_hash": cache.eval_data_hash,
    }


class _Kept(Sequence[Block]):
    """Blocks of half-data models, read from the store at each look."""

    def __init__(self, cache: ModelCache, keys: Sequence[str]) -> None:
        self._cache, self._keys = cache, list(keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, place):  # type: ignore[override]
        return self._cache.kept(self._keys[place]).tensors
