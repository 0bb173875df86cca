"""Fit half-data models once, and find the fit again for any later forget set."""

from dataclasses import dataclass

import torch
from torch import Tensor

from expunge import store
from expunge.attribution.half_models import HalfModels
from expunge.errors import BadInput
from expunge.loop import Cost
from expunge.maker import Maker

FEWEST = 20  # half-data models below which nothing is predicted at all


@dataclass(frozen=True)
class Fit:
    """A fitted attribution and what it cost."""

    attribution: HalfModels
    count: int  # half-data models
    one: Cost  # of one half-data model
    reused: bool  # found in the store, so that this request pays nothing for it


def fit(maker: Maker, count: int) -> Fit:
    """The attribution of `maker`'s problem from `count` half-data models.

    A fit made before some rows were forgotten serves the rows that are left, as long as their
    content and the recipe are the same.

    Raises:
        BadInput: fewer than 20 models asked for; the problem has no recipe.
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
        _, cost = maker.half_models(count)
        key = store.key("attributions", keys=maker.keys("subset", count))
        facts = {**_facts(maker), "models": count, "keys": maker.keys("subset", count)}
        facts["cost"] = cost.__dict__
        tensors = {"present": maker.problem.present_mask, "content": maker.content}
        maker.workshop.store.save(key, tensors, facts)
    kept = maker.kept(key)
    joined = _joined(maker, kept.facts["keys"], count)
    attribution = HalfModels(joined.pop("rows"), joined, kept.tensors["present"])
    return Fit(attribution, count, Cost(**kept.facts["cost"]), reused)


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
            and all(maker.workshop.store.load(block) is not None for block in kept.facts["keys"])
        ):
            return key
    return None


def _facts(maker: Maker) -> dict:
    return {"recipe": maker.recipe_id, "seed": maker.workshop.seed, "judges": maker.judges}


def _joined(maker: Maker, keys: list[str], count: int) -> dict[str, Tensor]:
    """The first `count` half-data models' tensors, filled in block by block: one copy."""
    joined: dict[str, Tensor] = {}
    start = 0
    for key in keys:
        for name, block in (tensors := maker.kept(key).tensors).items():
            if name not in joined:
                joined[name] = block.new_empty(count, *block.shape[1:])
            joined[name][start : start + len(block)] = block[: count - start]
        start += len(tensors["rows"])
        if start >= count:
            break
    return joined
