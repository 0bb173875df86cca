"""Law 6: retrained models, whatever makes them, know nothing of the forgotten rows."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from expunge.contract.cases import run, same_bits, weights
from expunge.contract.problems import ROWS, batchnorm, ridge, tiny, with_nan
from expunge.data import DatasetData
from expunge.errors import BadInput
from expunge.methods import METHODS
from expunge.training.from_recipe import ROLES, subset_rows, train


class Whitening(nn.Module):
    """A first layer fitted on data, as in fast CIFAR networks: the classical leak into oracles."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(6))
        self.net = batchnorm()

    def forward(self, x):
        return self.net(x - self.mean)


def fit_mean(module, data, rows):
    (batch,) = data.batches([rows])
    module.mean.copy_(batch.inputs.mean(0))


CASES = {
    "mlp": lambda: tiny(),
    "batch norm": lambda: tiny(batchnorm),
    "l2, clip, ema": lambda: tiny(l2=0.1, clip=0.5, ema=0.9),
    "augmented": lambda: tiny(augment=jitter),
    "whitening": lambda: tiny(Whitening, fit=fit_mean),
    "regression": lambda: ridge(epochs=20),
}


def jitter(batch, draws):
    return batch._replace(inputs=batch.inputs + 0.1 * draws.normal(batch.inputs.shape[-2:]))


@pytest.mark.parametrize("role", ["oracle", "null", "teacher", "retrain"])
@pytest.mark.parametrize("case", CASES)
def test_training_on_the_retained_rows_never_reads_the_others(role, case):
    problem = CASES[case]()
    blind = with_nan(problem, problem.forget, targets=case == "regression")
    pair = [weights(train(p, role, [0, 1, 2], seed=4, group=2)[0]) for p in (problem, blind)]
    assert same_bits(*pair)
    assert all(t.isfinite().all() for t in pair[0].values())


@pytest.mark.parametrize("case", CASES)
def test_the_method_retrain_too(case):
    problem = CASES[case]()
    blind = with_nan(problem, problem.forget)
    models = train(problem, "original", [0, 1], seed=0)[0]
    pair = [weights(run(p, METHODS["retrain"], models).models) for p in (problem, blind)]
    assert same_bits(*pair)


def test_an_original_does_read_them(problem):
    with pytest.raises(BadInput, match="hold NaN or infinity"):
        train(with_nan(problem, problem.forget), "original", [0], seed=0)


def test_a_data_set_read_item_by_item_is_blind_too(problem):
    class Items(torch.utils.data.Dataset):
        def __init__(self, inputs):
            self.inputs, self.asked = inputs, set()

        def __len__(self):
            return ROWS

        def __getitem__(self, row):
            self.asked.add(row)
            return self.inputs[row], int(problem.train.targets[row])

    pair = []
    for source in (problem, with_nan(problem, problem.forget)):
        items = Items(source.train.inputs)
        data = DatasetData(items)
        items.asked.clear()
        pair.append(weights(train(replace(problem, train=data), "oracle", [0], seed=0)[0]))
        assert not items.asked & set(problem.forget.tolist())
        assert len(items.asked) > 40
    assert same_bits(*pair)


def test_half_models_never_read_the_other_half(problem):
    (half,) = subset_rows(problem, [3], seed=0)
    outside = torch.tensor(sorted({*range(ROWS)} - {*half.tolist()}))
    pair = [
        weights(train(p, "subset", [3], seed=0)[0]) for p in (problem, with_nan(problem, outside))
    ]
    assert same_bits(*pair)
    with pytest.raises(BadInput, match="hold NaN or infinity"):
        train(with_nan(problem, half[:1]), "subset", [3], seed=0)


def test_every_role_draws_from_its_own_stream():
    """With nothing to forget all roles train on the same rows, and no two models are alike."""
    problem = tiny(forget=())
    models = [weights(train(problem, role, [0], seed=0)[0]) for role in ROLES]
    for k, one in enumerate(models):
        assert not any(same_bits(one, other) for other in models[:k])
