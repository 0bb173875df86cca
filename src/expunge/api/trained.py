"""train_model(): one original, with the history that some methods need to forget from it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from expunge import store
from expunge.api.card import require_free, untied
from expunge.api.collect_outputs import row_digest
from expunge.api.history_file import UPDATES, write_history
from expunge.api.provenance import run_facts
from expunge.api.require_fit import require_recipe_fit
from expunge.api.tracking import Told, Tracker
from expunge.engine.ensemble import Ensemble
from expunge.fanout import bar, one_thread
from expunge.fanout.runtime import Runtime
from expunge.problem import Problem
from expunge.rng import Draws
from expunge.store.checkpoint import Checkpoint
from expunge.store.checksummed import write_checked
from expunge.store.locks import exclusive
from expunge.training.from_recipe import train_group
from expunge.training.model_cache import ModelCache
from expunge.training.unrolled.history import History
from expunge.training.unrolled.recording import Recorder, Recording


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
    runtime: Runtime,
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
        runtime: its seed and the member's number decide every draw.
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
            are not there; models that do not fit the problem.
    """
    start, out = perf_counter(), Path(out)
    asked = problem.forgetting([])
    history = History(asked, (member,), runtime.seed, device=runtime.device)
    require_free(out)
    cache = ModelCache(asked, runtime)
    require_recipe_fit(cache)
    made_by = {
        "recipe": cache.recipe_id,
        "rows": row_digest(history.rows),
        "content": row_digest(cache.content[history.rows]),
        "seed": runtime.seed,
        "member": member,
        "device": torch.device(runtime.device).type,
    }
    looks: list[Callable[[int, Ensemble], None]] = []
    tracker = None
    if track:
        tracker = Tracker(cache, history, made_by, track, hessian_rows, told)
        looks.append(tracker.look)
    recorded = None
    if record is not None:
        record, recording = asked.named(record), Recording(out / UPDATES)
        held = torch.isin(history.plan[0], record).any(-1)
        history = replace(history, recording=recording)
        looks.append(Recorder(recording, held).look)
        # into another folder the training begins anew, so that no recorded step is missing there
        recorded = [row_digest(record), str(out.resolve())]
    key = store.key("checkpoint", trained=made_by, track=track, recorded=recorded)
    with exclusive(out):
        checkpoint = Checkpoint(runtime.store, key)
        require_free(out)  # another run may have ended here meanwhile
        with one_thread(), bar("Training", history.steps, runtime.progress) as advance:
            done = checkpoint.spent.steps
            advance(done)
            if history.recording is not None and not done:
                history.recording.clear()

            def look(step: int, models: Ensemble) -> None:
                for watching in looks:
                    watching(step, models)
                advance(int(step > done))

            draws = Draws((runtime.seed, "train", "original"))
            models, _ = train_group(
                asked, history.rows, (member,), draws, 1, runtime.device, checkpoint, look
            )
        (model,) = models.modules()
        model.zero_grad(set_to_none=True)
        tracked = tracker and tracker.content()
        if tracked is not None and tracker is not None:
            store.write_json(out / "unlearning_error.json", tracked)
            store.write_bytes(out / "unlearning_error.svg", tracker.figure(tracked).encode())
        run = run_facts(command, runtime.seed, perf_counter() - start)
        write_history(out, history, model, cache, record, run)
        write_checked(out / "model.safetensors", untied(model.state_dict()))
        checkpoint.drop()
    return Trained(model, history, tracked)
