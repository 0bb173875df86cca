"""Boundary expand: a class more and cut away again, by hand on a linear model."""

import pytest
import torch
from torch import Tensor, nn

from expunge.contract.problems import (
    CLASSES,
    FEATURES,
    batchnorm64,
    generator,
    logistic,
    mlp64,
    ridge,
    tiny64,
)
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.methods import MethodInputs, method
from expunge.methods.boundary_expand import last_layer, narrowed, widened
from expunge.rng import Draws, seeded

from .by_hand import WHOLE, descended, model, models, pull, rows_of, start, weight

BATCH = {"batch_size": WHOLE["batch_size"]}
SEED = 2


def fresh(member: int = 0) -> Tensor:
    """(FEATURES,): the extra row as drawn, the last of a fresh layer."""
    draws = Draws((SEED, "unlearn", "boundary-expand")).of([member])
    with seeded(draws.at("extra class").seeds()[0]):
        return nn.Linear(FEATURES, CLASSES + 1, bias=False).weight.detach()[-1].double()


def by_hand(problem, theta: Tensor, epochs: int, lr: float, member: int = 0) -> Tensor:
    """(C + 1, FEATURES): forgotten rows alone, taught the extra class; no l2."""
    x, _ = rows_of(problem, problem.forget)
    wanted = torch.zeros(len(x), CLASSES + 1).double()
    wanted[:, -1] = 1
    wide = torch.cat([theta, fresh(member)[None]])
    return descended(wide, lr, [lambda t: pull(t, x, wanted)] * epochs)


@pytest.mark.parametrize("group", [1, 2, 3])
def test_the_extra_class_is_trained_and_pruned(group):
    problem, thetas = logistic(), [start(k) for k in range(3)]
    chosen = method("boundary-expand", epochs=4, lr=0.1, **BATCH)
    result = chosen(problem, models(thetas, group), seed=SEED)
    for k, theta in enumerate(thetas):
        wide = by_hand(problem, theta, 4, 0.1, member=k)
        assert (weight(result.models, k) - wide[:CLASSES]).abs().max() < 1e-12
    assert result.changed == pytest.approx(
        float((result.models.tensors()["weight"] - torch.stack(thetas)).abs().max())
    )
    assert result.models.ids == (0, 1, 2)
    assert result.models.group == group


def test_a_model_that_is_one_layer_stays_one():
    """With the number of outputs it had, and without a bias."""
    chosen = method("boundary-expand", epochs=1, **BATCH)
    (found,) = chosen(logistic(), model(start()), seed=SEED).models.modules()
    assert type(found) is nn.Linear
    assert (found.in_features, found.out_features, found.bias) == (FEATURES, CLASSES, None)
    assert found.weight.requires_grad


@pytest.mark.parametrize("build", [mlp64, batchnorm64])
def test_the_result_has_the_architecture_of_the_original(build):
    problem = tiny64(build)
    with seeded(0):
        made = Ensemble.stack([build() for _ in range(2)], (0, 1), 2)
    result = method("boundary-expand", epochs=3, lr=0.1, **BATCH)(problem, made, seed=SEED)
    before, after = made.tensors(), result.models.tensors()
    assert {n: t.shape for n, t in after.items()} == {n: t.shape for n, t in before.items()}
    assert str(result.models.template) == str(made.template)
    rows = torch.arange(10)
    assert result.models.outputs(problem.task, problem.train, rows).shape == (2, 10, CLASSES)
    for name in made.weights():  # the layers below move, too
        assert (after[name] != before[name]).any(), name


def test_the_class_that_is_kept_takes_the_forgotten_rows():
    problem, theta = logistic(), start()
    how = {"epochs": 60, "lr": 0.1, **BATCH}
    kept = method("boundary-expand", keep_class=True, **how)(problem, model(theta), seed=SEED)
    cut = method("boundary-expand", **how)(problem, model(theta), seed=SEED)
    rows = torch.arange(60)
    wide, narrow = (r.models.outputs(problem.task, problem.train, rows)[0] for r in (kept, cut))
    assert wide.shape == (60, CLASSES + 1)
    assert torch.equal(wide[:, :CLASSES], narrow)
    assert (wide[problem.forget].argmax(1) == CLASSES).all()
    assert kept.models.ids == (0,)
    assert (kept.changed, kept.cost.row_units) == (cut.changed, cut.cost.row_units)
    expected = problem.train.inputs @ by_hand(problem, theta, 60, 0.1).T
    assert (wide - expected).abs().max() < 1e-4  # outputs are float32


# ---- masks


@pytest.mark.parametrize("own", [False, True], ids=["shared", "for each member"])
def test_masked_weights_of_the_head_keep_their_bits_and_the_extra_class_is_free(own):
    problem, thetas = logistic(), [start(k) for k in range(3)]
    shape = (3, CLASSES, FEATURES) if own else (CLASSES, FEATURES)
    free = torch.rand(shape, generator=generator(0)) < 0.5
    made, inputs = models(thetas, group=2), MethodInputs(mask={"weight": free})
    chosen = method("boundary-expand", epochs=3, lr=0.1, keep_class=True, **BATCH)
    found = chosen(problem, made, inputs, seed=SEED).models.ensemble.tensors()["weight"]
    moved = found[:, :CLASSES] != made.tensors()["weight"]
    assert torch.equal(moved, free.expand(3, CLASSES, FEATURES))
    extra = torch.stack([fresh(k) for k in range(3)])
    assert (found[:, CLASSES] != extra).all()


def test_masked_weights_of_a_network_keep_their_bits():
    problem = tiny64()
    with seeded(0):
        made = Ensemble.of(mlp64())
    mask = {name: torch.zeros(w.shape, dtype=torch.bool) for name, w in made.weights().items()}
    mask["2.weight"][1] = True
    mask["2.bias"][0] = True
    chosen = method("boundary-expand", epochs=3, lr=0.1, **BATCH)
    found = chosen(problem, made, MethodInputs(mask=mask), seed=SEED).models.weights()
    for name, before in made.weights().items():
        moved = found[name] != before
        assert not (moved & ~mask[name]).any()
        assert moved.any() == mask[name].any()  # some hidden units are dead for all these rows


MISFITS = {
    "name": ({"9.weight": torch.ones(3, dtype=torch.bool)}, "a mask for '9.weight'"),
    "rows": ({"weight": torch.ones(4, 6, dtype=torch.bool)}, r"this one of shape \(3, 6\)"),
    "number": ({"weight": torch.tensor(True)}, r"shape \(\)"),
}


@pytest.mark.parametrize(("mask", "match"), MISFITS.values(), ids=MISFITS)
def test_a_mask_that_does_not_fit_the_original_is_refused(mask, match):
    with pytest.raises(BadInput, match=match):
        method("boundary-expand")(logistic(), model(start()), MethodInputs(mask=mask), seed=0)


# ---- layers


def test_a_layer_is_widened_by_one_row_and_cut_back():
    with seeded(0):
        net = mlp64().eval()
    wide = widened(net, "2", 7)
    assert torch.equal(wide[2].weight[:CLASSES], net[2].weight)
    assert torch.equal(wide[2].bias[:CLASSES], net[2].bias)
    assert (wide[2].weight.shape, wide[2].bias.shape) == ((CLASSES + 1, 8), (CLASSES + 1,))
    assert wide[2].weight.dtype == torch.float64
    again, other = widened(net, "2", 7), widened(net, "2", 8)
    assert torch.equal(again[2].weight, wide[2].weight)
    assert not torch.equal(other[2].weight[-1], wide[2].weight[-1])
    with torch.no_grad():
        wide[2].weight += 1
        wide[0].weight += 2
    cut = narrowed(wide, "2", net)
    assert torch.equal(cut[2].weight, net[2].weight + 1)
    assert torch.equal(cut[0].weight, net[0].weight + 2)
    assert cut[2].out_features == CLASSES
    assert not cut[2].training


@pytest.mark.parametrize("frozen", [("weight", "bias"), ("weight",), ("bias",)])
def test_what_is_frozen_in_the_head_stays_frozen(frozen):
    with seeded(0):
        net = mlp64()
    for part in frozen:
        net[2].get_parameter(part).requires_grad_(False)
    chosen = method("boundary-expand", epochs=2, lr=0.1, **BATCH)
    found = chosen(tiny64(), Ensemble.of(net), seed=SEED).models.template
    for part in ("weight", "bias"):
        before, after = net[2].get_parameter(part), found[2].get_parameter(part)
        assert torch.equal(before, after) == (part in frozen)
        assert after.requires_grad == (part not in frozen)
    assert not torch.equal(found[0].weight, net[0].weight)


def test_the_last_layer_with_one_output_a_class_is_the_head():
    with seeded(0):
        net = nn.Sequential(nn.Linear(6, 3), nn.ReLU(), nn.Linear(3, 3), nn.Linear(3, 5))
    assert last_layer(net, 3) == "2"
    assert last_layer(net[0], 3) == ""


# ---- refusals


def test_a_model_without_a_linear_head_is_refused():
    with seeded(0):
        net = nn.Sequential(nn.Unflatten(1, (6, 1)), nn.Conv1d(6, 3, 1), nn.Flatten()).double()
    with pytest.raises(
        BadInput, match="found no linear layer with 3 outputs.*choose boundary-shrink"
    ):
        method("boundary-expand")(logistic(), Ensemble.of(net), seed=0)


def test_a_regression_is_refused():
    with pytest.raises(BadInput, match="boundary-expand on a regression.*no classes to add to"):
        method("boundary-expand")(ridge(), model(start(classes=1)), seed=0)


class Tied(nn.Module):
    """Its head has the weight of an embedding, or is a layer that is there twice."""

    def __init__(self, twice: bool) -> None:
        super().__init__()
        self.head = nn.Linear(6, 3)
        if twice:
            self.also = self.head
        else:
            self.classes = nn.Embedding(3, 6)
            self.classes.weight = self.head.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x)


@pytest.mark.parametrize(("twice", "other"), [(False, "classes.weight"), (True, "also.weight")])
@pytest.mark.parametrize("members", [1, 2])
def test_a_head_whose_weights_stand_elsewhere_too_is_refused(twice, other, members):
    with seeded(0):
        made = Ensemble.stack([Tied(twice).double() for _ in range(members)], range(members), 1)
    with pytest.raises(BadInput, match=f"'head', whose weights are also '{other}.*boundary-shrink"):
        method("boundary-expand")(logistic(), made, seed=0)


def test_looking_on_is_refused():
    inputs = MethodInputs(watch=lambda before: lambda step, group: None)
    with pytest.raises(BadInput, match="looked at while it descends.*choose boundary-shrink"):
        method("boundary-expand")(logistic(), model(start()), inputs, seed=0)
