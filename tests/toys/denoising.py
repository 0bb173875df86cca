"""A denoising task in small: noise is added in `prepare`, and answers are log errors."""

import torch
from torch import nn

import expunge

ROWS, FEATURES, DRAWS = 80, 3, 2


class Denoising(expunge.Task):
    """The model predicts the noise in a row; a row is answered at two draws of it."""

    kind = "denoising"

    def prepare(self, batch, draws, training):
        """Rows with noise of standard deviation 1/2; the noise is the target."""
        shape = (*batch.inputs.shape[-2:-1], DRAWS, FEATURES)
        noise = draws.normal(shape).to(batch.inputs)
        return batch._replace(inputs=batch.inputs[..., None, :] + 0.5 * noise, targets=noise)

    def outputs(self, model, batch):
        return model(batch.inputs).flatten(1)

    def answers(self, outputs, batch):
        return self._errors(outputs, batch).log()

    def loss(self, outputs, batch):
        return self._errors(outputs, batch).mean(-1)

    def distance(self, outputs, teacher, batch, temperature=1.0):
        return (outputs - teacher).square().mean(-1)

    def margin(self, answers, batch):
        return -answers.exp().mean(-1).log()

    def relabel(self, batch, draws, own=False):
        return batch._replace(targets=draws.normal(batch.targets.shape[-3:]).to(batch.targets))

    def check(self, outputs, batch):
        assert outputs.shape == (len(batch.rows), DRAWS * FEATURES)

    def _errors(self, outputs, batch):
        return (outputs.unflatten(-1, (DRAWS, FEATURES)) - batch.targets).square().mean(-1)


def build():
    return nn.Sequential(nn.Linear(FEATURES, 8), nn.Tanh(), nn.Linear(8, FEATURES))


def problem():
    """Rows near a line; four to forget lie far from it."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS + 40, 1, generator=g) * torch.tensor([1.0, 1.0, -1.0])
    x[:4] += 3.0
    parts = x[:ROWS], x[ROWS : ROWS + 20], x[ROWS + 20 :]
    train, validation, test = (expunge.TensorData(p, torch.zeros(len(p))) for p in parts)
    recipe = expunge.Recipe(
        build, epochs=4, batch_size=16, optimizer=lambda p: torch.optim.SGD(p, lr=0.1)
    )
    whole = expunge.Problem(Denoising(), train, validation, test, recipe=recipe, name="a line")
    return whole.forgetting([0, 1, 2, 3])
