"""What is kept and judged of outputs: a task's answers, and its margin of each row."""

import torch
from torch import Tensor

from expunge.data import Data, walk
from expunge.engine.ensemble import EVAL_DRAWS
from expunge.problem import Task


def answers(task: Task, data: Data, rows: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """A task's answers and margins, model by model.

    Margins are made of float64 answers, so that metrics rest on more digits than are kept.

    Args:
        task: makes answers of outputs, and margins of answers.
        data: that the rows are of.
        rows: (rows,) numbers.
        outputs: (members, rows, C), on the CPU, as models give them for these rows.

    Returns:
        (members, rows, K) float32 answers, and (members, rows) float64 margins.
    """
    kept: list[Tensor] = []
    margins: list[Tensor] = []
    plan = list(walk(rows.cpu()))
    parts = outputs.split([len(piece) for piece in plan], dim=1)
    for batch, part in zip(data.batches(iter(plan)), parts, strict=True):
        ready = task.prepare(batch, EVAL_DRAWS.by_row(batch.rows), training=False)
        with torch.no_grad():
            kept.append(torch.stack([task.answers(z, ready).float() for z in part]))
            margins.append(torch.stack([task.margin(z.double(), ready) for z in kept[-1]]))
    return torch.cat(kept, dim=1), torch.cat(margins, dim=1).double()
