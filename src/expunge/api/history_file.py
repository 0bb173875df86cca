"""The history of a model that `train_model` made, as a file beside it."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from expunge import store
from expunge.api.card import weights_digest
from expunge.api.collect_outputs import row_digest
from expunge.api.provenance import as_list
from expunge.errors import BadInput
from expunge.fanout.runtime import Runtime
from expunge.methods import Method
from expunge.problem import Problem
from expunge.store.checksummed import read_checksummed, write_checksummed
from expunge.training.model_cache import ModelCache
from expunge.training.recipe_id import recipe_fingerprint
from expunge.training.unrolled.history import History
from expunge.training.unrolled.recording import Recording

SCHEMA = "expunge.history/1"
FILE, UPDATES = "model.history.json", "updates"


def write_history(
    folder: Path,
    history: History,
    model: nn.Module,
    cache: ModelCache,
    recorded: Tensor | None,
    run: dict[str, Any],
) -> None:
    """Write down how a model arose.

    Args:
        folder: beside the model.
        history: of one member.
        model: as it was trained.
        cache: of the problem that it was trained on.
        recorded: the rows whose steps lie in the folder "updates"; None: no step does.
        run: facts of this run.
    """
    problem, (member,) = history.problem, history.ids
    facts = {
        "schema": SCHEMA,
        "weights": weights_digest(model),
        "problem": problem.name,
        "recipe": {"name": cache.recipe_id, **_sketch(cache)},
        "rows": row_digest(history.rows),
        "absent": as_list((~problem.present_mask).nonzero().squeeze(-1)),
        "seed": history.seed,
        "member": member,
        "device": torch.device(history.device).type,
        "recorded": None if recorded is None else as_list(recorded),
        "run": run,
    }
    write_checksummed(folder / FILE, facts)


def read_history(
    place: Path, problem: Problem, runtime: Runtime, model: nn.Module | None = None
) -> History:
    """The history in a folder that `train_model` wrote.

    Args:
        place: the folder, or the model file in it.
        problem: that the model was trained on; rows forgotten since may be absent.
        runtime: its device.
        model: the model itself, where it is the one that was trained.

    Raises:
        BadInput: no such file; another model, recipe or other rows than it tells of.
    """
    folder = place if place.is_dir() else place.parent
    path = folder / FILE
    try:
        facts = read_checksummed(path)
        if facts["schema"] != SCHEMA:
            raise ValueError("another schema")
        absent, seed, member = facts["absent"], facts["seed"], facts["member"]
        weights, rows, recorded = facts["weights"], facts["rows"], facts["recorded"]
        sketch = (
            torch.tensor(facts["recipe"]["does"], dtype=torch.float64),
            facts["recipe"]["facts"],
        )
        present = torch.ones(len(problem.train), dtype=torch.bool)
        present[torch.tensor(absent, dtype=torch.int64)] = False
    except FileNotFoundError:
        raise unknown_history(f"there is no {path}") from None
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise BadInput(
            f"{path} does not tell how a model of this problem was trained ({error})",
            expected=f"the file that `expunge train` wrote, schema {SCHEMA}",
            fix="restore it, or train the model again",
        ) from error
    asked = replace(problem, present=present, forget=problem.forget[:0])
    history = History(asked, (member,), seed, device=runtime.device)
    wrong = ""
    if model is not None and weights_digest(model) != weights:
        wrong = "another model's weights"
    elif row_digest(history.rows) != rows:
        wrong = "a training on other rows"
    elif not _is_recipe(asked, runtime, *sketch):
        wrong = "a training by another recipe"
    if wrong:
        raise BadInput(
            f"{path} tells of {wrong}",
            expected="the history of this model, by this problem's recipe",
            fix="name the folder that `expunge train` wrote this model into",
        )
    recording = None if recorded is None else Recording(folder / UPDATES)
    return replace(history, recording=recording)


def _sketch(cache: ModelCache) -> dict[str, Any]:
    """By what the store knows a recipe, so that it is known again without that store."""
    kept = cache.kept(f"recipes/{cache.recipe_id}")
    return {"facts": kept.facts, "does": kept.tensors["n"].tolist()}


def _is_recipe(problem: Problem, runtime: Runtime, does: Tensor, facts: dict[str, Any]) -> bool:
    """Whether the problem's recipe does what this one did, but for rounding of other machines."""
    with TemporaryDirectory() as folder:
        known = store.Store(Path(folder))
        known.save("recipes/known", {"n": does}, facts)
        return recipe_fingerprint(problem, known, runtime.device) == "known"


def needs_recording(method: Method) -> bool:
    """Whether a method adds up what was written down while the model was trained."""
    return "recording" in method.needs


def untold(folder: Path, method: Method) -> str:
    """Why a method cannot be run on a model in a folder, for want of its history; "" if it can."""
    if "history" not in method.needs:
        return ""
    if not (folder / FILE).is_file():
        return "how the model was trained is not known: `expunge train` writes that"
    if needs_recording(method) and not (folder / UPDATES).is_dir():
        return "its training was not recorded: `expunge train --record` does that"
    return ""


def unknown_history(given: str) -> BadInput:
    """The error where a method needs a history that is not known."""
    return BadInput(
        given,
        expected="a model that `expunge train` wrote, whose history lies beside it",
        fix="train it with `expunge train`, or name its folder: --history FOLDER",
    )
