"""unrolled() and curvature(): one training looked at on its way."""

from dataclasses import replace

import pytest
import torch

from expunge.contract.cases import weights
from expunge.contract.problems import FORGET, ROWS, softmax_linear, tiny, tiny64, with_nan
from expunge.curvature.point import Point
from expunge.methods import MethodInputs, method
from expunge.probes.unrolling import curvature, evenly, unrolled
from expunge.problem.recipe import cosine
from expunge.problem.sd_penalty import SDPenalty
from expunge.training.from_recipe import train
from expunge.training.unrolled.history import History

AT = (1, 4, 9)
SEED = 3


def history(problem, member=2):
    return History(problem, (member,), SEED)


def stages(problem, at=AT):
    return list(unrolled(history(problem), problem.forget, at))


def apart(a, b):
    assert a.keys() == b.keys()
    return max(float((a[n].detach() - b[n].detach()).abs().max()) for n in a)


def lone(models):
    return {n: t[0] for n, t in weights(models).items()}


# ---- unrolled


def test_stages_are_what_the_history_tells():
    problem = tiny64(schedule=cosine)
    told, seen = history(problem), {True: {}, False: {}}
    for whole in seen:
        rows = problem.forget[:0] if whole else problem.forget
        told.without(rows, watch=lambda step, m, s=seen[whole]: s.update({step: lone(m)}))
    found = stages(problem)
    assert [stage.steps for stage in found] == list(AT)
    for stage in found:
        assert apart(stage.original, seen[True][stage.steps]) == 0
        assert apart(stage.retrained, seen[False][stage.steps]) == 0
        assert apart(stage.original, dict(stage.model.named_parameters())) == 0
        term = told.first_term(problem.train, problem.forget, stage.steps)
        undone = {n: w + term[n] for n, w in stage.original.items()}
        assert apart(stage.unlearned, undone) < 1e-14
    assert apart(found[0].original, found[1].original) > 1e-3  # each its own copy


def test_the_last_stage_is_the_original_of_this_seed():
    problem = tiny()
    original, _ = train(problem, "original", [2], seed=SEED)
    assert apart(stages(problem, (9,))[0].original, lone(original)) == 0


def test_at_a_step_on_the_way_it_is_the_method_on_a_recipe_that_ends_there():
    """Three batches an epoch at a fixed rate: step 6 is the end of a training of two epochs."""
    problem = tiny64()
    (stage,) = stages(problem, (6,))
    short = replace(problem, recipe=replace(problem.recipe, epochs=2))
    models, _ = train(short, "original", [2], seed=SEED)
    given = MethodInputs(history=history(short))
    made = method("single-gradient")(short, models, given, seed=0).models
    assert apart(stage.original, lone(models)) < 1e-14
    assert apart(stage.unlearned, lone(made)) < 1e-14


def test_after_one_step_single_gradient_unlearning_is_naive_retraining():
    (stage,) = stages(tiny64(l2=0.2), (1,))
    assert apart(stage.unlearned, stage.retrained) < 1e-14
    problem = tiny64(batch_size=ROWS)
    (stage,) = stages(problem, (1,))
    assert apart(stage.unlearned, stage.retrained) < 1e-14 < apart(stage.original, stage.retrained)


def test_naive_retraining_on_the_way_is_blind_to_forgotten_rows():
    problem = tiny()
    blind = with_nan(problem, list(FORGET))
    seen = []
    history(blind).without(problem.forget, watch=lambda step, m: seen.append(lone(m)))
    for stage in stages(problem):
        assert apart(stage.retrained, seen[stage.steps]) == 0


def test_stages_carry_no_gradients():
    for stage in stages(tiny()):
        assert all(p.grad is None for p in stage.model.parameters())
        parts = (stage.original, stage.retrained, stage.unlearned)
        assert not any(w.requires_grad for part in parts for w in part.values())


# ---- curvature


def module_of(problem, member=0):
    (module,) = train(problem, "original", [member], seed=SEED)[0].modules()
    return module


def dense(problem, module, rows):
    """The Hessian of the training loss, by autograd on one long vector."""
    point, recipe = Point(problem.task, problem.train, module.eval()), problem.recipe
    shapes = {n: w.shape for n, w in point.weights.items()}
    (batch,) = problem.train.batches([rows])

    def loss(vector):
        parts = vector.split([s.numel() for s in shapes.values()])
        named = {n: p.view(s) for (n, s), p in zip(shapes.items(), parts, strict=True)}
        logits = point.at(named)(batch.inputs)
        losses = problem.task.loss(logits, batch)
        if recipe.penalty is not None:
            losses = losses + recipe.penalty(logits, batch)
        return losses.mean() + recipe.l2 / 2 * vector.square().sum()

    flat = torch.cat([w.flatten() for w in point.weights.values()])
    return torch.autograd.functional.hessian(loss, flat)


@pytest.mark.parametrize(
    "settings",
    [{}, {"l2": 0.7}, {"penalty": SDPenalty(2.0)}, {"l2": 0.7, "penalty": SDPenalty(2.0)}],
    ids=["loss", "l2", "penalty", "both"],
)
def test_curvature_is_of_the_whole_training_loss(settings):
    problem = tiny64(softmax_linear, **settings)
    module = module_of(problem)
    found = curvature(problem, module, 0, rows=0, tolerance=1e-8)
    roots = torch.linalg.eigvalsh(dense(problem, module, problem.present_rows))
    assert found.converged
    assert found.value == pytest.approx(float(roots[roots.abs().argmax()]), rel=1e-6)


def test_parts_of_the_training_loss_each_change_the_curvature():
    """So that the test above sees a part that is missing."""
    module = module_of(tiny64(softmax_linear))
    settings = ({}, {"l2": 0.7}, {"penalty": SDPenalty(2.0)})
    values = [curvature(tiny64(softmax_linear, **s), module, 0, rows=0).value for s in settings]
    assert abs(values[1] - values[0]) > 0.1
    assert abs(values[2] - values[0]) > 0.01


def test_curvature_reads_rows_that_are_present_and_so_many_of_them():
    problem = tiny64(softmax_linear)
    module = module_of(problem)
    gone = with_nan(problem, [0, 1]).without(torch.tensor([0, 1]))
    roots = torch.linalg.eigvalsh(dense(problem, module, gone.present_rows))
    whole = curvature(gone, module, 0, rows=0, tolerance=1e-8).value
    assert whole == pytest.approx(float(roots[-1]), rel=1e-6)
    for rows in (58, 1000):
        assert curvature(gone, module, 0, rows=rows, tolerance=1e-8).value == whole
    few = [curvature(gone, module, seed, rows=10).value for seed in (0, 0, 1)]
    assert few[0] == few[1] != few[2]
    assert abs(few[0] - whole) > 1e-3


def test_the_same_rows_are_read_for_every_model():
    read = []

    class Listening(type(tiny().task)):
        def loss(self, outputs, batch):
            read.append(batch.rows.tolist())
            return super().loss(outputs, batch)

    problem = replace(tiny64(softmax_linear), task=Listening(3))
    for member in (0, 1):
        module = module_of(tiny64(softmax_linear), member)
        read.append(None)
        curvature(problem, module, 0, rows=10)
    assert len({tuple(rows) for rows in read if rows}) == 1
    assert len(read[1]) == 10 == len(set(read[1]))


# ---- small parts


def test_looks_are_even_and_end_with_the_training():
    assert evenly(9, 3) == [3, 6, 9]
    assert evenly(10, 4) == [2, 5, 8, 10]
    assert evenly(4, 4) == evenly(4, 9) == [1, 2, 3, 4]
    assert evenly(7, 1) == [7]
