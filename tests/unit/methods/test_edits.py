"""One edit of the weights: SSD by hand, and what all edits share."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from expunge.contract.problems import (
    CLASSES,
    FEATURES,
    batchnorm64,
    generator,
    half_frozen,
    logistic,
    tiny64,
)
from expunge.engine.cost import Cost
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.methods import MethodInputs, method
from expunge.methods.edit import edit, sample, sampled
from expunge.methods.finetune import mask_of
from expunge.rng import Draws, seeded

from .by_hand import model, models, rows_of, start, weight

DRAWS = Draws((0, "test"))
NO_MASK = MethodInputs()


# ---- SSD


def information(problem, theta: Tensor, rows: Tensor, together: int = 1) -> Tensor:
    """(C, FEATURES): the mean over pieces of the squared gradient of a piece's mean loss."""
    x, y = rows_of(problem, rows)
    g = ((x @ theta.T).softmax(1) - y)[:, :, None] * x[:, None, :]
    return torch.stack([piece.mean(0).square() for piece in g.split(together)]).mean(0)


def dampened(problem, theta, alpha, dampening, together=1, whole=None) -> tuple[Tensor, Tensor]:
    """Which weights are dampened, and what they are multiplied by."""
    whole = problem.present_rows if whole is None else whole
    on_f = information(problem, theta, problem.forget, together)
    on_s = information(problem, theta, whole, together)
    return on_f > alpha * on_s, (dampening * on_s / on_f).clamp_max(1)


SSD = [
    (1.0, 1.0, 1),
    (1.5, 0.5, 1),
    (0.5, 1.0, 1),  # some that are selected matter less to F: the factor stays at 1
    (1.0, 0.8, 4),  # pieces of 4, of F the last of 2
    (1.0, 1.0, 64),
]


@pytest.mark.parametrize(("alpha", "dampening", "together"), SSD)
def test_ssd_multiplies_the_selected_weights_alone(alpha, dampening, together):
    problem, theta = logistic(), start()
    chosen, factor = dampened(problem, theta, alpha, dampening, together)
    assert 0 < chosen.sum() < chosen.numel()
    ssd = method("ssd", alpha=alpha, dampening=dampening, together=together)
    result = ssd(problem, model(theta), seed=0)
    found = weight(result.models)
    assert torch.equal(found[~chosen], theta[~chosen])
    assert (found - theta * factor)[chosen].abs().max() < 1e-14
    assert result.changed == float((found - theta).abs().max()) > 0
    assert result.reason == ""


def test_the_smallest_alpha_here_selects_weights_whose_factor_is_one():
    problem, theta = logistic(), start()
    chosen, factor = dampened(problem, theta, 0.5, 1.0)
    assert (factor[chosen] == 1).any()
    assert (factor[chosen] < 1).any()


def test_ssd_that_selects_nothing_says_so():
    problem, theta = logistic(), start()
    result = method("ssd", alpha=1e6)(problem, model(theta), seed=0)
    assert torch.equal(weight(result.models), theta)
    assert result.changed == 0
    assert result.reason == "no weight matters 1e+06 times more to the forgotten rows"


def test_ssd_may_estimate_from_some_of_all_rows():
    problem, theta = logistic(), start()
    whole = sample(problem.present_rows, 20, Draws((5, "unlearn", "ssd")).of([0]))
    chosen, factor = dampened(problem, theta, 1.0, 1.0, whole=whole)
    found = weight(method("ssd", alpha=1.0, samples=20)(problem, model(theta), seed=5).models)
    assert torch.allclose(found, torch.where(chosen, theta * factor, theta), atol=1e-14)


def test_ssd_reads_all_rows_that_are_present():
    """Forgotten ones included, those of earlier requests not."""
    problem = logistic()
    later = problem.without(torch.arange(20, 30)).forgetting(problem.forget[:3])
    theta = start()
    chosen, factor = dampened(later, theta, 1.0, 1.0)
    found = weight(method("ssd", alpha=1.0)(later, model(theta), seed=0).models)
    assert torch.allclose(found, torch.where(chosen, theta * factor, theta), atol=1e-14)


def test_ssd_keeps_masked_weights():
    problem, theta = logistic(), start()
    chosen, _ = dampened(problem, theta, 1.0, 1.0)
    free = torch.zeros_like(chosen)
    free.flatten()[::2] = True
    ssd = method("ssd", alpha=1.0)
    whole = weight(ssd(problem, model(theta), seed=0).models)
    found = weight(ssd(problem, model(theta), MethodInputs(mask={"weight": free}), seed=0).models)
    assert (chosen & free).any()
    assert (chosen & ~free).any()
    assert torch.equal(found, torch.where(free, whole, theta))


# ---- what all edits share


def masks_of_three() -> Tensor:
    """(3, CLASSES, FEATURES)."""
    return torch.rand(3, CLASSES, FEATURES, generator=generator(0)) < 0.5


def shifted(problem, made, inputs=NO_MASK, draws=DRAWS, by=1.0):
    """An edit that adds a number to every weight."""

    def add(point, _):
        return {name: w + by for name, w in point.weights.items()}

    return edit(problem, made, inputs, add, draws=draws, cost=Cost(3, 4))


def test_an_edit_writes_copies_and_leaves_buffers():
    with seeded(0):
        made = Ensemble.stack([batchnorm64() for _ in range(3)], (4, 2, 7), 2)
    before = {name: t.clone() for name, t in made.tensors().items()}
    result = shifted(tiny64(batchnorm64), made)
    assert result.models.ids == (4, 2, 7)
    assert result.changed == pytest.approx(1.0)
    assert (result.cost.forward_rows, result.cost.backward_rows) == (3, 4)
    weights = made.weights().keys()
    for name, now in result.models.tensors().items():
        assert torch.equal(made.tensors()[name], before[name])
        wanted = before[name] + 1 if name in weights else before[name]
        assert torch.equal(now, wanted)


def test_an_edit_leaves_frozen_parameters():
    with seeded(0):
        made = Ensemble.of(half_frozen())
    result = shifted(tiny64(), made)
    before, after = made.tensors(), result.models.tensors()
    assert torch.equal(after["0.weight"], before["0.weight"])
    assert torch.equal(after["2.weight"], before["2.weight"] + 1)


def test_an_edit_draws_by_member():
    seen = []

    def nothing(point, draws):
        seen.append(draws)
        return dict(point.weights)

    made = models([start(0), start(1)])
    made.ids = (5, 3)
    result = edit(logistic(), made, MethodInputs(), nothing, draws=DRAWS, cost=Cost(), reason="why")
    assert seen == [DRAWS.of([5]), DRAWS.of([3])]
    assert (result.changed, result.reason) == (0.0, "why")


def test_an_edit_without_rows_to_forget_is_none():
    made = model(start())
    result = shifted(logistic().forgetting([]), made)
    assert result.models is made
    assert result.reason == "there were no rows to forget"


@pytest.mark.parametrize("group", [1, 2, 50])
def test_an_edit_honours_the_mask_of_each_member(group):
    thetas = [start(k) for k in range(3)]
    free = masks_of_three()
    found = shifted(logistic(), models(thetas, group), MethodInputs(mask={"weight": free})).models
    for k, theta in enumerate(thetas):
        assert torch.equal(weight(found, k), torch.where(free[k], theta + 1, theta))


def test_an_edit_refuses_a_mask_that_does_not_fit_and_weights_that_are_no_numbers():
    with pytest.raises(BadInput, match="a mask for '9.weight'"):
        shifted(logistic(), model(start()), MethodInputs(mask={"9.weight": torch.tensor([True])}))
    match = "'weight' became NaN or infinite in members 0 to 0.*an edit that.*alpha"
    with pytest.raises(BadInput, match=match):
        shifted(logistic(), model(start()), by=float("nan"))


def test_a_sample_is_some_rows_of_each_member_and_zero_takes_all():
    rows = torch.arange(100, 150)
    one, same, other = (sample(rows, 20, DRAWS.of([k])) for k in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert len(one.unique()) == 20
    assert torch.isin(one, rows).all()
    for all_of_them in (0, 50, 99):
        assert torch.equal(sample(rows, all_of_them, DRAWS.of([0])), rows)
    assert [sampled(rows, count) for count in (0, 20, 50, 99)] == [50, 20, 50, 50]


# ---- masks


def test_the_mask_of_a_group_is_the_part_of_its_members():
    whole = models([start(k) for k in range(3)], group=2)
    whole.ids = (7, 5, 9)
    shared = torch.ones(CLASSES, FEATURES, dtype=torch.bool)
    own = torch.zeros(3, CLASSES, FEATURES, dtype=torch.bool)
    own[1] = True
    parts = list(whole.groups())
    assert [part.ids for part in parts] == [(7, 5), (9,)]
    assert mask_of(None, whole, parts[0]) is None
    for part, place in zip(parts, (slice(0, 2), slice(2, 3)), strict=True):
        assert torch.equal(mask_of({"weight": own}, whole, part)["weight"], own[place])
        assert mask_of({"weight": shared}, whole, part)["weight"] is shared
    strange = {"9.weight": own}  # is refused by descend, with its own shape in the message
    assert mask_of(strange, whole, parts[0])["9.weight"] is own


@pytest.mark.parametrize("group", [1, 2, 50])
def test_each_member_moves_where_its_own_mask_lets_it(group):
    thetas = [start(k) for k in range(3)]
    free = masks_of_three()
    tuned = method("fine-tune", epochs=2, lr=0.1)
    inputs = MethodInputs(mask={"weight": free})
    found = tuned(logistic(), models(thetas, group), inputs, seed=0).models
    for k, theta in enumerate(thetas):
        assert torch.equal(weight(found, k) == theta, ~free[k])


def test_a_group_size_and_a_recipe_change_no_edit():
    problem, thetas = logistic(), [start(k) for k in range(3)]
    ssd = method("ssd", alpha=1.0)
    one = ssd(problem, models(thetas, 1), seed=0).models
    bare = ssd(replace(problem, recipe=None), models(thetas, 3), seed=0).models
    assert all(torch.equal(weight(one, k), weight(bare, k)) for k in range(3))
