"""TRAK against the formula written out densely, closed forms, and models really trained without."""

import copy
from dataclasses import replace

import pytest
import torch

from expunge.attribution import margin_features, trak
from expunge.attribution.trak import Trak
from expunge.contract.counting import Counting
from expunge.contract.problems import (
    CLASSES,
    FEATURES,
    FORGET,
    ROWS,
    Fused,
    at,
    generator,
    logistic,
    logistic_optimum,
    mlp64,
    ridge,
    ridge_optimum,
    softmax_linear,
    tiny,
    tiny64,
)
from expunge.curvature import point
from expunge.curvature.leave_out import moved
from expunge.curvature.point import Point
from expunge.data import TensorData
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.problem import Classification
from expunge.rng import seeded

GONE = torch.tensor(FORGET)
ALL = torch.arange(ROWS)


def models(build=mlp64, count: int = 1, seed: int = 0) -> Ensemble:
    """Untrained, but three times as steep, so that margins differ."""
    with seeded(seed):
        modules = [build() for _ in range(count)]
    for module in modules:
        with torch.no_grad():
            for p in module.parameters():
                p *= 3
    return Ensemble.stack(modules, tuple(range(4, 4 + count)), 1)


def gradients(module, score) -> torch.Tensor:
    """Each score's gradient by plain autograd: (scores, weights)."""
    weights = [p for p in module.parameters() if p.requires_grad]
    rows = []
    for s in score.flatten():
        parts = torch.autograd.grad(s, weights, retain_graph=True, materialize_grads=True)
        rows.append(torch.cat([g.flatten() for g in parts]))
    return torch.stack(rows)


def naive(problem, ensemble, fitted, forget, *, split="train", weighted, retained, damping):
    """The formula of the module's docstring, (members, rows, C), with every matrix dense."""
    data, asked = problem.train, problem.splits[split]
    present = problem.present_rows.tolist()
    kept = [i for i in present if i not in forget.tolist()] if retained else present
    changes = []
    for own, module in zip(fitted.fitted.values(), ensemble.modules(), strict=True):
        module = copy.deepcopy(module).eval()
        p = own.projection.up  # a column of P for each unit vector
        dense = torch.stack([p(e) for e in torch.eye(own.projection.dimension).double()], dim=1)
        z, y = module(data.inputs), data.targets
        if problem.task.kind == "regression":
            m = z.squeeze(-1) - y
            s, r = m.double(), torch.ones(len(y)).double()
        else:
            correct = z.log_softmax(1).exp()[torch.arange(len(y)), y]
            m = torch.log(correct / (1 - correct))
            s, r = -(1 - correct).double(), (correct * (1 - correct)).double()
        r = r if weighted else torch.ones_like(r)
        phi = gradients(module, m).double() @ dense
        psi = gradients(module, module(asked.inputs)).double() @ dense
        matrix = damping * len(kept) * torch.eye(dense.shape[1]).double()
        for i in kept:
            matrix = matrix + r[i].detach() * torch.outer(phi[i], phi[i])
        change = psi @ torch.linalg.inv(matrix) @ phi[forget].T @ s[forget].detach()
        changes.append(change.reshape(len(asked), -1))
    return torch.stack(changes)


CASES = [
    {"weighted": weighted, "retained": retained, "damping": damping}
    for weighted in (True, False)
    for retained in (True, False)
    for damping in (0.3, 0.003)
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("count", [1, 3])
def test_the_formula_written_out(case, count):
    problem, ensemble = tiny64(), models(count=count)
    fitted = Trak(problem, ensemble, dimension=20, **case)
    for split, size in (("train", ROWS), ("validation", 30), ("test", 24)):
        found = fitted.without(GONE, torch.arange(size), split)
        expected = naive(problem, ensemble, fitted, GONE, split=split, **case)
        assert found.mean.shape == found.sd.shape == (count, size, CLASSES)
        assert torch.allclose(found.mean, expected, atol=1e-9)


def test_the_formula_written_out_for_a_regression():
    problem, case = ridge(), {"weighted": True, "retained": True, "damping": 0.01}
    ensemble = at(torch.linspace(-1, 1, FEATURES).double())
    fitted = Trak(problem, ensemble, dimension=4, **case)
    found = fitted.without(GONE, torch.arange(80)).mean
    assert torch.allclose(found, naive(problem, ensemble, fitted, GONE, **case), atol=1e-9)


def test_rows_forgotten_earlier_play_no_part():
    problem, case = tiny64(), {"weighted": True, "retained": True, "damping": 0.01}
    problem = problem.without(torch.tensor([0, 1, 25]))
    ensemble = models()
    fitted = Trak(problem, ensemble, dimension=20, **case)
    expected = naive(problem, ensemble, fitted, GONE, **case)
    assert torch.allclose(fitted.without(GONE, ALL).mean, expected, atol=1e-9)
    poisoned = problem.train.inputs.clone()
    poisoned[[0, 1, 25]] = float("nan")
    unread = replace(problem, train=TensorData(poisoned, problem.train.targets))
    again = Trak(unread, ensemble, dimension=20, **case).without(GONE, GONE)
    assert torch.equal(again.mean, fitted.without(GONE, GONE).mean)


def test_a_module_without_a_forward_derivative():
    """A fused kernel: each output's gradient instead; in float32."""
    problem, case = tiny(Fused), {"weighted": True, "retained": True, "damping": 0.1}
    ensemble = models(Fused)
    fitted = Trak(problem, ensemble, dimension=20, **case)
    expected = naive(problem, ensemble, fitted, GONE, **case)
    found = fitted.without(GONE, ALL)
    assert torch.allclose(found.mean.double(), expected, atol=1e-4)
    assert expected.abs().max() > 0.1
    (step,), (batch,) = fitted.steps(GONE), problem.train.batches([ALL])
    there = moved(Point(problem.task, problem.train, ensemble.template), step).module
    with torch.no_grad():
        z, after = (problem.task.outputs(m, batch) for m in (ensemble.template, there))
    assert torch.allclose(found.sd[0], (after - z - found.mean[0]).abs(), atol=1e-5)


# ---- exact where it should be


def test_ridge_regression_is_what_retraining_gives():
    """The penalty on the SUM of the losses stays, so damping is l2 x |S| / |R|."""
    problem = ridge()
    rows, retain = problem.present_rows, problem.retain
    trained = ridge_optimum(problem, rows)
    grown = problem.recipe.l2 * len(rows) / len(retain)
    recipe = replace(problem.recipe, l2=grown)
    retrained = ridge_optimum(replace(problem, recipe=recipe), retain)
    truth = problem.validation.inputs @ (retrained - trained)
    fitted = Trak(problem, at(trained), damping=grown)
    found = fitted.without(problem.forget, torch.arange(20), "validation").mean[0].squeeze(-1)
    assert torch.allclose(found, truth, atol=1e-12)
    assert truth.abs().max() > 0.1
    assert fitted.fitted[0].projection.dimension == FEATURES


def two_outputs():
    return torch.nn.Linear(FEATURES, 2, bias=False).double()


def two_classes():
    """Logistic regression of two overlapping classes, with an l2 of 0.1."""
    x = tiny64().train.inputs
    noise = torch.randn(ROWS, generator=generator(2)).double()
    data = TensorData(x, (x[:, 0] + noise > 0.3).long())
    recipe = replace(logistic().recipe, build=two_outputs)
    return replace(tiny64(), task=Classification(2), train=data, validation=data, recipe=recipe)


def derivatives(problem, theta, rows):
    """Slope (weights,) and Hessian of the sum of these rows' losses, by autograd."""
    x, y = problem.train.inputs[rows], problem.train.targets[rows]

    def loss(w):
        return torch.nn.functional.cross_entropy(x @ w.T, y, reduction="sum")

    hessian = torch.func.hessian(loss)(theta).reshape(theta.numel(), -1)
    return torch.func.grad(loss)(theta).flatten(), hessian


def optimum(problem, rows):
    """By Newton's method on the mean loss plus l2 / 2 x |theta|^2."""
    theta, penalty = torch.zeros(2, FEATURES).double(), problem.recipe.l2 * len(rows)
    for _ in range(20):
        slope, hessian = derivatives(problem, theta, rows)
        hessian += penalty * torch.eye(theta.numel()).double()
        step = torch.linalg.solve(hessian, slope + penalty * theta.flatten())
        theta = theta - step.reshape(theta.shape)
    assert step.norm() < 1e-12
    return theta


def test_two_classes_are_newtons_step():
    """From any weights, taken for a minimum: of the slopes only the forgotten rows' are left."""
    problem = two_classes()
    theta = torch.randn(2, FEATURES, generator=generator(3)).double()
    fitted = Trak(problem, at(theta, two_outputs), damping=0.02)
    slope, _ = derivatives(problem, theta, problem.forget)
    _, hessian = derivatives(problem, theta, problem.retain)
    hessian += 0.02 * len(problem.retain) * torch.eye(theta.numel()).double()
    step = torch.linalg.solve(hessian, slope).reshape(theta.shape)
    truth = problem.train.inputs @ step.T
    assert torch.allclose(fitted.without(problem.forget, ALL).mean[0], truth, atol=1e-10)


def followed(problem, ensemble, best, **settings):
    """Correlation with models trained without, and the factor that predictions lack.

    Five sets of six of the 60 rows, all logits of all rows; `best` gives the optimum on some rows.
    """
    fitted = Trak(problem, ensemble, **settings)
    before, truth, found = best(problem, problem.present_rows), [], []
    for k in range(5):
        gone = torch.randperm(ROWS, generator=generator(k))[:6]
        after = best(problem, problem.forgetting(gone).retain)
        truth.append(problem.train.inputs @ (after - before).T)
        found.append(fitted.without(gone, ALL).mean[0])
    x, y = torch.cat(found).flatten(), torch.cat(truth).flatten()
    return float(torch.corrcoef(torch.stack([x, y]))[0, 1]), float((x @ y) / (x @ x))


def test_predictions_follow_two_class_models_really_trained_without():
    problem = two_classes()
    trained = at(optimum(problem, problem.present_rows), two_outputs)
    correlation, lacking = followed(problem, trained, optimum)
    assert correlation > 0.95
    assert 0.85 < lacking < 1.1
    _, lacking = followed(problem, trained, optimum, weighted=False)
    assert lacking > 3  # p (1 - p) is at most 1/4


def test_predictions_follow_three_class_models_really_trained_without():
    """A lacks the curvature among the wrong classes, so predictions are somewhat too large."""
    problem = logistic()
    trained = at(logistic_optimum(problem, problem.present_rows), softmax_linear)
    correlation, lacking = followed(problem, trained, logistic_optimum)
    assert correlation > 0.85
    assert 0.5 < lacking < 0.9


# ---- sameness


def test_the_same_seed_gives_the_same_bits_and_another_another_projection():
    problem, ensemble = tiny64(), models(count=2)
    first, again, other = (
        Trak(problem, ensemble, dimension=20, seed=seed).without(GONE, ALL) for seed in (0, 0, 1)
    )
    assert torch.equal(first.mean, again.mean)
    assert torch.equal(first.sd, again.sd)
    assert not torch.allclose(first.mean, other.mean, rtol=0.01)
    whole = [Trak(problem, ensemble, seed=seed).without(GONE, ALL).mean for seed in (0, 1)]
    assert torch.equal(*whole)  # nothing is projected


def test_the_order_of_rows_does_not_matter():
    fitted = Trak(tiny64(), models(), dimension=20)
    assert torch.equal(
        fitted.without(GONE, ALL).mean, fitted.without(GONE.flip(0), ALL.flip(0)).mean.flip(1)
    )


def test_the_size_of_pieces_does_not_matter(monkeypatch):
    problem, ensemble = tiny64(), models()
    before = Trak(problem, ensemble, dimension=20).without(GONE, ALL).mean
    monkeypatch.setattr(margin_features, "PIECE", 4)
    monkeypatch.setattr(point, "NUMBERS", 3 * 83)  # three rows' gradients at a time
    after = Trak(problem, ensemble, dimension=20).without(GONE, ALL).mean
    assert torch.allclose(before, after, atol=1e-11)


def test_a_member_is_predicted_the_same_alone_and_among_others():
    problem, ensemble = tiny64(), models(count=3)
    together = Trak(problem, ensemble, dimension=20).without(GONE, ALL)
    for k, module in enumerate(ensemble.modules()):
        alone = Trak(problem, Ensemble.of(module, 4 + k), dimension=20).without(GONE, ALL)
        assert torch.equal(alone.mean[0], together.mean[k])
        assert torch.equal(alone.sd[0], together.sd[k])


def test_each_member_has_its_own_projection():
    problem, ensemble = tiny64(), models()
    twins = Ensemble.stack([ensemble.template, copy.deepcopy(ensemble.template)], (0, 1), 1)
    first, second = Trak(problem, twins, dimension=20).without(GONE, ALL).mean
    assert not torch.allclose(first, second, rtol=0.01)
    first, second = Trak(problem, twins).without(GONE, ALL).mean
    assert torch.equal(first, second)  # nothing is projected


def test_nothing_passed_in_is_changed():
    ensemble, problem = models(), tiny64()
    ensemble.template.train()
    before = copy.deepcopy(ensemble.template.state_dict())
    fitted = Trak(problem, ensemble, dimension=20)
    gram = fitted.fitted[4].gram.clone()
    fitted.without(GONE, ALL)
    assert all(torch.equal(t, before[n]) for n, t in ensemble.template.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in ensemble.template.parameters())
    assert ensemble.template.training
    assert torch.equal(fitted.fitted[4].gram, gram)


def test_several_splits_at_once_are_the_same():
    fitted = Trak(tiny64(), models(count=2), dimension=20)
    asked = {"train": ALL, "test": torch.arange(5)}
    found = fitted.changes(GONE, asked)
    for split, rows in asked.items():
        assert torch.equal(found[split].mean, fitted.without(GONE, rows, split).mean)


def test_nothing_forgotten_changes_nothing():
    found = Trak(tiny64(), models(), dimension=20).without(GONE[:0], ALL)
    assert torch.equal(found.mean, torch.zeros(1, ROWS, CLASSES).double())


# ---- damping and price


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("gone", [0, 20])
def test_the_default_damping_is_a_share_of_the_curvature_or_the_penalty(known, gone):
    """A share of the mean over rows that are present."""
    problem = tiny64() if known else replace(tiny64(), recipe=None)
    problem = problem.without(ALL[~torch.isin(ALL, GONE)][:gone])
    fitted = Trak(problem, models(count=2), dimension=20)
    for member, own in enumerate(fitted.fitted.values()):
        mean = torch.linalg.eigvalsh(own.gram).sum() / (ROWS - gone)
        named = replace(fitted, damping=float(trak.SHARE * mean))
        told, same = (one.without(GONE, ALL).mean[member] for one in (fitted, named))
        assert torch.allclose(told, same, rtol=1e-6)
        assert not torch.allclose(told, replace(named, damping=0.1).without(GONE, ALL).mean[member])
    whole = Trak(tiny64(l2=0.6), models())
    assert torch.equal(
        whole.without(GONE, ALL).mean, replace(whole, damping=0.6).without(GONE, ALL).mean
    )


def test_the_price_is_what_is_read():
    problem = tiny64().without(torch.tensor([0])).forgetting(GONE)
    data = Counting(problem.train.inputs, problem.train.targets)
    fitted = Trak(replace(problem, train=data), models(), dimension=20)
    told = fitted.price(11)
    fitted.without(GONE, ALL[:11])
    assert data.read == 2 * (ROWS - 1) + len(GONE) + 2 * 11  # rows asked for: tangent and outputs
    assert told.row_units == 4 * (ROWS - 1) + 3 * len(GONE) + 4 * 11
    assert fitted.reads() == 2 * (ROWS - 1) + len(GONE)
    data.read = 0
    fitted.without(GONE[:2], ALL[:11])  # the fit serves any forget set
    assert data.read == 2 + 2 * 11


# ---- refusals


def test_settings_that_make_no_sense_are_refused():
    for wrong in (
        {"dimension": 0},
        {"damping": -0.1},
        {"damping": float("nan")},
        {"damping": float("inf")},
    ):
        with pytest.raises(BadInput, match=f"trak with {next(iter(wrong))} = "):
            Trak(tiny64(), models(), **wrong)


def test_rows_that_were_not_there_are_refused():
    fitted = Trak(tiny64().without(torch.tensor([3])), models(), dimension=20)
    with pytest.raises(BadInput, match=r"row 3 was already forgotten \(1 such\)"):
        fitted.without(GONE, ALL)
    with pytest.raises(BadInput, match="row 60 is out of range"):
        fitted.without(torch.tensor([60]), ALL)


@pytest.mark.parametrize("dimension", [58, 2048])
def test_a_matrix_without_inverse_is_refused(dimension):
    fitted = Trak(tiny64(), models(), dimension=dimension, damping=0.0)
    with pytest.raises(BadInput, match="their matrix has no inverse"):
        fitted.without(GONE, ALL)


def test_as_many_features_as_rows_need_no_damping_and_more_do():
    """Of five retained rows five features; by rounding, six may seem to have an inverse."""
    many = ALL[5:]
    found = Trak(tiny64(), models(), dimension=5, damping=0.0).without(many, ALL)
    assert found.mean.isfinite().all()
    for seed in range(10):
        with pytest.raises(BadInput, match="6 features of 5 rows.*no inverse"):
            Trak(tiny64(), models(), seed=seed, dimension=6, damping=0.0).without(many, ALL)


def test_a_model_of_another_task_is_refused():
    problem = replace(tiny64(), task=Classification(CLASSES + 1))
    with pytest.raises(BadInput, match=r"the model gave outputs of shape \(60, 3\)"):
        Trak(problem, models()).without(GONE, ALL)


def test_other_tasks_are_refused():
    task = Classification(CLASSES)
    task.kind = "denoising"
    with pytest.raises(BadInput, match="TRAK for a task of kind 'denoising'"):
        Trak(replace(tiny64(), task=task), models()).without(GONE, ALL)


def test_a_model_that_diverged_is_refused():
    for place in (0, -1):  # NaN by the first weights, infinity by the last bias
        ensemble = models()
        with torch.no_grad():
            list(ensemble.template.parameters())[place][0] = float("inf")
        with pytest.raises(BadInput, match="margins are NaN or infinite"):
            Trak(tiny64(), ensemble).without(GONE, ALL)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_predicts_as_a_cpu_does():
    problem, ensemble = tiny64(), models(count=2)
    here = Trak(problem, ensemble, dimension=20).without(GONE, ALL)
    there = Trak(problem, ensemble.to("cuda"), dimension=20).without(GONE, ALL)
    assert torch.allclose(here.mean, there.mean, atol=1e-9)
    assert torch.allclose(here.sd, there.sd, atol=1e-9)
