"""Fit half-data models once, and find the fit again for any later forget set."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from expunge import store
from expunge.attribution.difference import require_enough
from expunge.attribution.half_data_models import Block, First, Halves
from expunge.engine.cost import Cost
from expunge.errors import BadInput
from expunge.training.from_recipe import subset_rows
from expunge.training.model_cache import Maker

FEWEST = 20  # half-data models below which nothing is predicted at all


@dataclass(frozen=True)
class Fit:
    """Half-data models, and what they cost."""

    halves: Halves
    count: int  # half-data models
    one: Cost  # of one half-data model
    reused: bool  # found in the store, so that this request pays nothing for it


def fit(maker: Maker, count: int) -> Fit:
    """`count` half-data models of `maker`'s problem, made or found.

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
            cure="raise --half-models",
        )
    key = find(maker, count)
    reused = key is not None
    if key is None:
        require_models_for(maker, count)  # before an hour's work, not after
        cost = maker.half_models(count)
        key = store.key("attributions", keys=maker.keys("subset", count))
        facts = {**_facts(maker), "models": count, "keys": maker.keys("subset", count)}
        facts["cost"] = cost.__dict__
        tensors = {"present": maker.problem.present_mask, "content": maker.content}
        maker.workshop.store.save(key, tensors, facts)
    kept = maker.kept(key)
    blocks = First(_Kept(maker, kept.facts["keys"]), count)
    centred = maker.problem.task.kind == "classification"
    halves = Halves(blocks, kept.tensors["present"], centred)
    return Fit(halves, count, Cost(**kept.facts["cost"]), reused)


def require_models_for(maker: Maker, count: int) -> None:
    """Refuse so few models that the problem's forget set is in nearly all or none of a half."""
    problem, seed = maker.problem, maker.workshop.seed
    inside = torch.zeros(2, len(problem.train), dtype=torch.int64)
    for ids in torch.arange(count).split(100):
        rows = subset_rows(problem, ids.tolist(), seed)
        for half in (0, 1):
            own = rows[ids % 2 == half].flatten()
            inside[half] += torch.bincount(own, minlength=len(problem.train))
    for half in (0, 1):
        require_enough(inside[half, problem.forget], (count + 1 - half) // 2, parts=2)


def find(maker: Maker, count: int) -> str | None:
    """The key of a stored fit that serves this problem with at least `count` models, or None."""
    present = maker.problem.present_mask
    for key in maker.workshop.store.keys("attributions"):
        kept = maker.workshop.store.load(key)
        if (
            kept is not None
            and kept.facts.items() >= _facts(maker).items()
            and kept.facts["models"] >= count
            and len(kept.tensors["present"]) == len(present)
            and bool(kept.tensors["present"][present].all())
            and torch.equal(kept.tensors["content"][present], maker.content[present])
            and all(maker.workshop.store.has(block) for block in kept.facts["keys"])
        ):
            return key
    return None


def _facts(maker: Maker) -> dict:
    return {"recipe": maker.recipe_id, "seed": maker.workshop.seed, "judges": maker.judges}


class _Kept(Sequence[Block]):
    """Blocks of half-data models, read from the store at each look."""

    def __init__(self, maker: Maker, keys: Sequence[str]) -> None:
        self._maker, self._keys = maker, list(keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, place):  # type: ignore[override]
        return self._maker.kept(self._keys[place]).tensors
