"""Curvature against derivatives written out by hand, dense matrices and closed forms."""

import pytest
import torch

from expunge.contract.problems import (
    CLASSES,
    FEATURES,
    Recurrent,
    at,
    batchnorm64,
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
from expunge.curvature.fisher import expected_fisher, squared_gradients
from expunge.curvature.memory import free_bytes
from expunge.curvature.point import Point
from expunge.curvature.products import conjugate_gradients, gauss_newton_product
from expunge.curvature.saliency import saliency_mask
from expunge.curvature.woodfisher import running_woodfisher, woodfisher
from expunge.engine.ensemble import Ensemble
from expunge.errors import BadInput
from expunge.rng import seeded


def point(problem=None, build=mlp64) -> Point:
    problem = problem or tiny64(build)
    with seeded(0):
        module = build()
    return Point(problem.task, problem.train, module)


def flat(weights) -> torch.Tensor:
    return torch.cat([w.flatten() for w in weights.values()])


def logistic_point() -> tuple[Point, torch.Tensor, torch.Tensor, torch.Tensor]:
    """A linear softmax model, with its inputs, probabilities and true classes one-hot."""
    here = point(build=softmax_linear)
    x, y = here.data.inputs, here.data.targets
    p = (x @ here.weights["weight"].T).softmax(1)
    return here, x, p, torch.eye(CLASSES, dtype=p.dtype)[y]


ROWS = torch.tensor([0, 5, 3, 41])


def test_the_gradient_of_logistic_regression_is_errors_times_inputs():
    here, x, p, y = logistic_point()
    expected = (p - y)[ROWS].T @ x[ROWS]
    assert torch.allclose(here.gradient(ROWS)["weight"], expected, atol=1e-12)


def test_row_gradients_are_the_gradients_of_single_rows():
    for build in (mlp64, batchnorm64):
        here = point(build=build)
        together = {n: torch.cat([g[n] for g in here.row_gradients(ROWS)]) for n in here.weights}
        for k, row in enumerate(ROWS):
            alone = here.gradient(row[None])
            assert all(torch.allclose(together[n][k], alone[n], atol=1e-12) for n in alone)


def test_a_module_that_vmap_refuses_is_read_row_by_row():
    problem = tiny(Recurrent)
    here = point(problem, Recurrent)
    (found,) = here.row_gradients(ROWS)
    alone = here.gradient(ROWS[2:3])
    assert all(torch.allclose(found[n][2], alone[n], atol=1e-6) for n in alone)


def test_evaluation_mode_and_every_flag_are_given_back():
    here = point(build=batchnorm64)
    here.module.train()
    here.module[1].eval()
    before = [module.training for module in here.module.modules()]
    buffers = {n: b.clone() for n, b in here.module.named_buffers()}
    here.gradient(ROWS)
    list(here.row_gradients(ROWS))
    assert [module.training for module in here.module.modules()] == before
    assert all(torch.equal(b, buffers[n]) for n, b in here.module.named_buffers())
    assert all(p.grad is None for p in here.module.parameters())


def test_the_empirical_fisher_of_logistic_regression_by_hand():
    here, x, p, y = logistic_point()
    rows = ((p - y)[ROWS][:, :, None] * x[ROWS][:, None, :]).square()
    assert torch.allclose(squared_gradients(here, ROWS)["weight"], rows.mean(0), atol=1e-12)


def test_gradients_of_batches_are_smaller_by_cancellation():
    """The published variant: the mean first, then the square; the last piece may be short."""
    here, x, p, y = logistic_point()
    rows = (p - y)[ROWS][:, :, None] * x[ROWS][:, None, :]
    by_hand = (rows[:3].mean(0).square() + rows[3].square()) / 2
    found = squared_gradients(here, ROWS, together=3)["weight"]
    assert torch.allclose(found, by_hand, atol=1e-12)
    assert (squared_gradients(here, ROWS, together=4)["weight"] < rows.square().mean(0)).all()


def test_the_expected_fisher_of_logistic_regression_by_hand():
    """sum_c p_c (p - e_c)_k^2 x_j^2 = p_k (1 - p_k) x_j^2."""
    here, x, p, _ = logistic_point()
    variance = (p * (1 - p))[ROWS]
    expected = (variance[:, :, None] * x[ROWS][:, None, :].square()).mean(0)
    assert torch.allclose(expected_fisher(here, ROWS)["weight"], expected, atol=1e-12)


def test_the_expected_fisher_of_one_batch_squares_means():
    here, x, p, _ = logistic_point()
    total = torch.zeros(CLASSES, FEATURES, dtype=p.dtype)
    for c in range(CLASSES):
        error = torch.eye(CLASSES, dtype=p.dtype)[c] - p[ROWS]
        total += p[ROWS, c].mean() * (error.T @ x[ROWS] / len(ROWS)).square()
    found = expected_fisher(here, ROWS, together=len(ROWS))["weight"]
    assert torch.allclose(found, total, atol=1e-12)


def test_the_expected_fisher_of_a_regression_is_the_squared_input():
    problem = ridge()
    here = Point(problem.task, problem.train, at(torch.ones(FEATURES).double()).template)
    expected = problem.train.inputs[ROWS].square().mean(0)
    assert torch.allclose(expected_fisher(here, ROWS)["weight"][0], expected, atol=1e-12)


def test_the_gauss_newton_matrix_of_a_linear_model_is_the_hessian():
    for problem, theta in (
        (ridge(), torch.randn(1, FEATURES, generator=generator(0)).double()),
        (logistic(), torch.randn(CLASSES, FEATURES, generator=generator(0)).double()),
    ):
        here = Point(problem.task, problem.train, at(theta, problem.recipe.build).template)
        vector = torch.randn(theta.shape, generator=generator(1)).double()

        def mean_loss(w, here=here):
            (batch,) = here.data.batches([ROWS])
            return here.task.loss(here.task.outputs(here.at({"weight": w}), batch), batch).mean()

        hessian = torch.func.hessian(mean_loss)(theta).reshape(theta.numel(), -1)
        found = gauss_newton_product(here, ROWS, {"weight": vector})["weight"]
        assert torch.allclose(found.flatten(), hessian @ vector.flatten(), atol=1e-12)


def test_the_gauss_newton_matrix_of_a_network_is_symmetric_and_positive():
    here = point()
    draws = [torch.randn(here.size, generator=generator(k)).double() for k in range(2)]
    shaped = [
        dict(
            zip(
                here.weights,
                (
                    part.view_as(w)
                    for part, w in zip(
                        v.split([w.numel() for w in here.weights.values()]),
                        here.weights.values(),
                        strict=True,
                    )
                ),
                strict=True,
            )
        )
        for v in draws
    ]
    images = [flat(gauss_newton_product(here, ROWS, v)) for v in shaped]
    assert draws[0] @ images[1] == pytest.approx(float(draws[1] @ images[0]), rel=1e-10)
    assert draws[0] @ images[0] > 0


def test_conjugate_gradients_solve_in_as_many_steps_as_dimensions():
    root = torch.randn(5, 5, generator=generator(0)).double()
    matrix, goal = root @ root.T + torch.eye(5), torch.randn(5, generator=generator(1)).double()
    split = {"a": goal[:2], "b": goal[2:]}

    def product(v):
        image = matrix @ torch.cat([v["a"], v["b"]])
        return {"a": image[:2], "b": image[2:]}

    for steps, error in ((5, 1e-10), (40, 1e-10)):  # further steps do no harm
        found = conjugate_gradients(product, split, steps)
        left = torch.cat([found["a"], found["b"]]) - torch.linalg.solve(matrix, goal)
        assert left.norm() < error


def test_conjugate_gradients_of_nothing_are_nothing():
    found = conjugate_gradients(lambda v: v, {"a": torch.zeros(3)}, 4)
    assert torch.equal(found["a"], torch.zeros(3))


def recursion(gradients, vector, damping):
    """Singh and Alistarh's equations as they stand, with the whole matrix F_j^-1."""
    n = len(gradients)
    matrix = torch.eye(len(vector), dtype=vector.dtype) / damping
    for g in gradients:
        image = matrix @ g
        matrix = matrix - torch.outer(image, image) / (n + g @ image)
    return matrix @ vector


@pytest.mark.parametrize("damping", [1.0, 0.01])
def test_woodfisher_is_its_recursion(damping):
    gradients = torch.randn(7, 12, generator=generator(0)).double()
    vector = torch.randn(12, generator=generator(1)).double()
    found = woodfisher(gradients, vector, damping)
    assert torch.allclose(found, recursion(gradients, vector, damping), atol=1e-10)
    dense = damping * torch.eye(12).double() + gradients.T @ gradients / 7
    assert torch.allclose(found, torch.linalg.solve(dense, vector), atol=1e-10)


def test_the_published_recursion_is_another_matrix():
    """With one running vector, by hand for three gradients; not the inverse."""
    g = torch.randn(3, 4, generator=generator(0)).double()
    v = torch.randn(4, generator=generator(1)).double()
    k, o = (
        v - v @ g[1] / (1000 + g[0] @ g[1]) * g[0],
        g[0] - g[0] @ g[1] / (1000 + g[0] @ g[1]) * g[0],
    )
    k = k - k @ g[2] / (1000 + o @ g[2]) * o
    assert torch.allclose(running_woodfisher(g, v), k, atol=1e-12)
    assert not torch.allclose(running_woodfisher(g, v, 3), woodfisher(g, v), rtol=0.01)


# ---- the saliency mask


def test_the_mask_lets_the_largest_gradients_move():
    problem = tiny64()
    with seeded(1):
        modules = [mlp64(), mlp64()]
    mask, cost = saliency_mask(problem, Ensemble.stack(modules, (0, 1), 2), 0.25)
    for k, module in enumerate(modules):
        slope = Point(problem.task, problem.train, module).gradient(problem.forget)
        chosen = torch.cat([m[k].flatten() for m in mask.values()])
        size = flat(slope).abs()
        assert int(chosen.sum()) == round(0.25 * len(size))
        assert size[chosen].min() >= size[~chosen].max()
    assert cost.row_units == 3 * len(problem.forget)


def test_the_mask_is_of_the_forgotten_rows():
    problem = tiny64()
    with seeded(1):
        models = Ensemble.of(mlp64())
    own, _ = saliency_mask(problem, models, 0.3)
    other, _ = saliency_mask(problem.forgetting([0, 1, 2]), models, 0.3)
    assert any(not torch.equal(own[n], other[n]) for n in own)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(BadInput, match="a saliency mask of share"):
        saliency_mask(tiny(), at(torch.ones(CLASSES, FEATURES), softmax_linear), share)


def test_optima_are_where_the_gradient_and_the_penalty_cancel():
    """So that `gradient` is the sum, and the recipe's l2 is not in it."""
    for problem, optimum in ((ridge(), ridge_optimum), (logistic(), logistic_optimum)):
        rows = problem.present_rows
        theta = optimum(problem, rows)
        module = at(theta, problem.recipe.build).template
        slope = Point(problem.task, problem.train, module).gradient(rows)["weight"]
        penalty = problem.recipe.l2 * len(rows) * theta
        assert torch.allclose(slope.reshape(penalty.shape), -penalty, atol=1e-9)


# ---- memory


def test_free_memory_is_what_linux_calls_available(tmp_path, monkeypatch):
    told = tmp_path / "meminfo"
    monkeypatch.setattr("expunge.curvature.memory.MEMINFO", told)
    cpu = torch.device("cpu")
    assert free_bytes(cpu) is None
    told.write_text("MemTotal: 9 kB\nMemFree: 2 kB\nMemAvailable:   5 kB\nHugePages_Total: 0\n")
    assert free_bytes(cpu) == 5 * 1024
    told.write_text("MemTotal: 9 kB\n")
    assert free_bytes(cpu) is None
    assert free_bytes(torch.device("meta")) is None
