"""train_model(): one original, with the history that some methods need to forget from it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from expunge import store
from expunge.api.card import require_free, untied, weights_digest
from expunge.api.facts import as_list, run_facts
from expunge.api.observing import row_digest
from expunge.api.tracking import Told, Tracker
from expunge.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.fanout import bar, one_thread
from expunge.halfway import Halfway
from expunge.history import History
from expunge.maker import Maker, Workshop
from expunge.methods import Method
from expunge.problem import Problem
from expunge.recognise import recognise
from expunge.recording import Recorder, Recording
from expunge.rng import Draws
from expunge.train import train_group

SCHEMA = "expunge.history/1"
FILE, UPDATES = "model.history.json", "updates"


@dataclass(frozen=True)
class Trained:
    """One original and how it arose."""

    model: nn.Module
    history: History
    tracked: dict[str, Any] | None  # the content of unlearning_error.json


def train_model(
    problem: Problem,
    *,
    out: Path | str,
    workshop: Workshop,
    member: int = 0,
    track: int = 0,
    told: Told = lambda one: None,
    hessian_rows: int = 512,
    record: Tensor | None = None,
    command: str = "",
) -> Trained:
    """Train one original by the problem's Recipe, and keep what forgetting from it may need.

    Writes model.safetensors and model.history.json into `out`; killed, the same call goes on where
    it was.

    Args:
        problem: with a Recipe; rows that it forgets play no part.
        out: a folder without a model.
        workshop: its seed and the member's number decide every draw.
        member: which of the originals of this seed.
        track: how often to measure the unlearning error along the training; 0: not.
        told: called with each look as soon as it is made, as unlearning_error.json has it.
        hessian_rows: training rows for the Hessian; 0: all.
        record: rows, int64; the updates of every step that reads one of them are written down, the
            size of the weights each. None: nothing is.
        command: what repeats this run.

    Returns:
        The model, its history, and what was tracked.

    Raises:
        BadInput: no Recipe; a folder that holds a model or cannot be written; rows to record that
            are not there; more looks than steps.
    """
    start, out = perf_counter(), Path(out)
    asked = problem.forgetting([])
    history = History(asked, (member,), workshop.seed, device=workshop.device)
    require_free(out)
    maker, recipe = Maker(asked, workshop), history.recipe
    made_by = {
        "recipe": maker.recipe_id,
        "rows": row_digest(history.rows),
        "content": row_digest(maker.content[history.rows]),
        "seed": workshop.seed,
        "member": member,
        "device": torch.device(workshop.device).type,
    }
    looks: list[Callable[[int, Ensemble], None]] = []
    tracker = None
    if track:
        tracker = Tracker(maker, history, made_by, track, hessian_rows, told)
        looks.append(tracker.look)
    recorded = None
    if record is not None:
        record, recording = asked.named(record), Recording(out / UPDATES)
        held = torch.isin(history.plan[0], record).any(-1)
        history = replace(history, recording=recording)
        looks.append(Recorder(recording, held).look)
        # into another folder the training begins anew, so that no recorded step is missing there
        recorded = [row_digest(record), str(out.resolve())]
    key = store.key("halfway", trained=made_by, track=track, recorded=recorded)
    halfway = Halfway(workshop.store, key)
    with one_thread(), bar("Training", history.steps, workshop.progress) as advance:
        done = halfway.spent.steps
        advance(done)
        if history.recording is not None and not done:
            history.recording.clear()

        def look(step: int, models: Ensemble) -> None:
            for watching in looks:
                watching(step, models)
            advance(int(step > done))

        draws = Draws((workshop.seed, "train", "original"))
        models, _ = train_group(
            asked, recipe, history.rows, (member,), draws, 1, workshop.device, halfway, look
        )
    (model,) = models.modules()
    model.zero_grad(set_to_none=True)
    tracked = tracker and tracker.content()
    if tracked is not None and tracker is not None:
        store.write_json(out / "unlearning_error.json", tracked)
        store.write_bytes(out / "unlearning_error.svg", tracker.figure(tracked).encode())
    facts = {
        "schema": SCHEMA,
        "weights": weights_digest(model),
        "problem": problem.name,
        "recipe": {"name": maker.recipe_id, **_sketch(maker)},
        "rows": made_by["rows"],
        "absent": as_list((~problem.present_mask).nonzero().squeeze(-1)),
        "seed": workshop.seed,
        "member": member,
        "device": made_by["device"],
        "recorded": None if record is None else as_list(record),
        "run": run_facts(command, workshop.seed, perf_counter() - start),
    }
    store.write_json(out / FILE, facts)
    store.write_tensors(out / "model.safetensors", untied(model.state_dict()))
    halfway.drop()
    return Trained(model, history, tracked)


def read_history(
    place: Path, problem: Problem, workshop: Workshop, model: nn.Module | None = None
) -> History:
    """The history in a folder that `train_model` wrote.

    Args:
        place: the folder, or the model file in it.
        problem: that the model was trained on; rows forgotten since may be absent.
        workshop: its device.
        model: the model itself, where it is the one that was trained.

    Raises:
        BadInput: no such file; another model, recipe or other rows than it tells of.
    """
    folder = place if place.is_dir() else place.parent
    path = folder / FILE
    try:
        facts = json.loads(path.read_text())
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
            cure="restore it, or train the model again",
        ) from error
    asked = replace(problem, present=present, forget=problem.forget[:0])
    history = History(asked, (member,), seed, device=workshop.device)
    wrong = ""
    if model is not None and weights_digest(model) != weights:
        wrong = "another model's weights"
    elif row_digest(history.rows) != rows:
        wrong = "a training on other rows"
    elif not _is_recipe(asked, workshop, *sketch):
        wrong = "a training by another recipe"
    if wrong:
        raise BadInput(
            f"{path} tells of {wrong}",
            expected="the history of this model, by this problem's recipe",
            cure="name the folder that `expunge train` wrote this model into",
        )
    recording = None if recorded is None else Recording(folder / UPDATES)
    return replace(history, recording=recording)


def _sketch(maker: Maker) -> dict[str, Any]:
    """By what the store knows a recipe, so that it is known again without that store."""
    kept = maker.kept(f"recipes/{maker.recipe_id}")
    return {"facts": kept.facts, "does": kept.tensors["n"].tolist()}


def _is_recipe(problem: Problem, workshop: Workshop, does: Tensor, facts: dict[str, Any]) -> bool:
    """Whether the problem's recipe does what this one did, but for rounding of other machines."""
    with TemporaryDirectory() as folder:
        known = store.Store(Path(folder))
        known.save("recipes/known", {"n": does}, facts)
        return recognise(problem, known, workshop.device) == "known"


def needs_recording(method: Method) -> bool:
    """Whether a method adds up what was written down while the model was trained."""
    return method.name == "amnesiac"


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
        cure="train it with `expunge train`, or name its folder: --history FOLDER",
    )
