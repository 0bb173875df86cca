"""A multi-label task as a package of its own would have it: it imports from `expunge` alone."""

import torch
import torch.nn.functional as F
from torch import nn

import expunge

ROWS, FEATURES, LABELS = 80, 5, 3


class MultiLabel(expunge.Task):
    """Outputs are one logit a label, targets 0 or 1 for each, (B, labels)."""

    kind = "multi-label"

    def outputs(self, model, batch):
        return model(batch.inputs)

    def loss(self, outputs, batch):
        return self._each(outputs, batch.targets).sum(-1)

    def distance(self, outputs, teacher, batch, temperature=1.0):
        p, q = (torch.sigmoid(z / temperature) for z in (teacher, outputs))
        return F.binary_cross_entropy(q, p, reduction="none").sum(-1)

    def margin(self, answers, batch):
        """The log odds that all labels are right."""
        right = -self._each(answers, batch.targets.to(answers)).sum(-1)
        return right - torch.log(-torch.expm1(right))

    def relabel(self, batch, draws, own=False):
        return batch._replace(targets=1.0 - batch.targets)

    def check(self, outputs, batch):
        if outputs.shape != batch.targets.shape:
            raise expunge.BadInput(
                f"outputs of shape {tuple(outputs.shape)}",
                expected=f"a logit for each of {batch.targets.shape[-1]} labels",
                fix="end the model with one output a label",
            )

    def _each(self, logits, targets):
        return F.binary_cross_entropy_with_logits(logits, targets, reduction="none")


def build():
    return nn.Linear(FEATURES, LABELS)


def problem():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS + 40, FEATURES, generator=g)
    y = (x @ torch.randn(FEATURES, LABELS, generator=g) > 0).float()
    y[:4] = 1.0 - y[:4]
    cuts = slice(0, ROWS), slice(ROWS, ROWS + 20), slice(ROWS + 20, None)
    train, validation, test = (expunge.TensorData(x[cut], y[cut]) for cut in cuts)
    recipe = expunge.Recipe(
        build, epochs=4, batch_size=16, optimizer=lambda p: torch.optim.SGD(p, lr=0.3)
    )
    whole = expunge.Problem(MultiLabel(), train, validation, test, recipe=recipe, name="labels")
    return whole.forgetting([0, 1, 2, 3])
