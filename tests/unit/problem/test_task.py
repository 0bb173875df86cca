"""Tasks: loss, margin, distance and relabelling against naive formulas, and under vmap."""

import math
import re
from types import SimpleNamespace

import pytest
import torch

from expunge.contract.problems import generator
from expunge.data import Batch
from expunge.errors import BadInput
from expunge.problem import Classification, Regression, TextClassification
from expunge.rng import Draws

B, C = 7, 4
LOGITS = torch.randn(B, C, generator=generator(0), dtype=torch.float64)
TEACHER = torch.randn(B, C, generator=generator(1), dtype=torch.float64)
LABELS = torch.randint(C, (B,), generator=generator(2))
CLASSES = Batch(torch.zeros(B, 2), LABELS, torch.arange(B))
VALUES = Batch(
    torch.zeros(B, 2), torch.randn(B, generator=generator(3), dtype=torch.float64), torch.arange(B)
)
classification, regression = Classification(C), Regression()


def softmax(z: list[float]) -> list[float]:
    total = sum(math.exp(v) for v in z)
    return [math.exp(v) / total for v in z]


def rows(make) -> torch.Tensor:
    return torch.tensor([make(i) for i in range(B)], dtype=torch.float64)


def test_loss_of_classes_is_the_log_of_the_truths_probability():
    naive = rows(lambda i: -math.log(softmax(LOGITS[i].tolist())[int(LABELS[i])]))
    torch.testing.assert_close(classification.loss(LOGITS, CLASSES), naive)


def test_margin_of_classes_is_the_log_odds_of_the_truth():
    def odds(i):
        p = softmax(LOGITS[i].tolist())[int(LABELS[i])]
        return math.log(p / (1 - p))

    torch.testing.assert_close(classification.margin(LOGITS, CLASSES), rows(odds))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_distance_of_classes_is_kl_from_the_teacher(temperature):
    def kl(i):
        p = softmax((TEACHER[i] / temperature).tolist())
        q = softmax((LOGITS[i] / temperature).tolist())
        return temperature**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))

    found = classification.distance(LOGITS, TEACHER, CLASSES, temperature)
    torch.testing.assert_close(found, rows(kl))
    assert classification.distance(TEACHER, TEACHER, CLASSES).abs().max() < 1e-12


def test_regression_is_half_the_squared_error():
    z, y = LOGITS[:, :1], VALUES.targets
    torch.testing.assert_close(
        regression.loss(z, VALUES), rows(lambda i: 0.5 * float(z[i, 0] - y[i]) ** 2)
    )
    torch.testing.assert_close(regression.margin(z, VALUES), rows(lambda i: float(z[i, 0] - y[i])))
    far = regression.distance(z, TEACHER[:, :1], VALUES, temperature=9.0)
    torch.testing.assert_close(far, rows(lambda i: 0.5 * float(z[i, 0] - TEACHER[i, 0]) ** 2))


@pytest.mark.parametrize("kind", ["classification", "regression"])
@pytest.mark.parametrize("what", ["loss", "margin", "distance"])
def test_under_vmap_as_in_a_loop(kind, what):
    """Other outputs and other rows for each of three members."""
    task = classification if kind == "classification" else regression
    width = C if kind == "classification" else 1
    z = torch.randn(3, B, width, generator=generator(4), dtype=torch.float64)
    targets = (
        torch.randint(C, (3, B), generator=generator(5))
        if kind == "classification"
        else torch.randn(3, B, generator=generator(5), dtype=torch.float64)
    )
    batch = Batch(torch.zeros(3, B, 2), targets, torch.arange(B).expand(3, B))

    def call(z, batch):
        extra = (z.flip(0),) if what == "distance" else ()
        return getattr(task, what)(z, *extra, batch)

    looped = torch.stack([call(z[k], Batch(*(part[k] for part in batch))) for k in range(3)])
    torch.testing.assert_close(torch.func.vmap(call)(z, batch), looped)


@pytest.mark.parametrize("task", [classification, regression])
def test_preparing_changes_nothing_and_outputs_are_the_models(task):
    batch = Batch(LOGITS, LABELS, torch.arange(B))
    assert task.prepare(batch, Draws((0,)), training=True) is batch
    assert torch.equal(task.outputs(lambda x: 2 * x, batch), 2 * LOGITS)


# ---- relabelling


@pytest.mark.parametrize("classes", [2, 5])
def test_another_class_is_never_the_own_and_every_other_is_as_likely(classes):
    """4,000 draws; shares within 5 standard errors."""
    n = 4000
    truth = torch.arange(n) % classes
    batch = Batch(torch.zeros(n, 1), truth, torch.arange(n))
    drawn = Classification(classes).relabel(batch, Draws((0, "r")))
    assert drawn.inputs is batch.inputs
    shift = (drawn.targets - truth) % classes
    shares = shift.bincount(minlength=classes) / n
    assert shares[0] == 0
    p = 1 / (classes - 1)
    assert ((shares[1:] - p).abs() <= 5 * math.sqrt(p * (1 - p) / n) + 1e-9).all()


@pytest.mark.parametrize("task", [classification, regression])
def test_members_relabel_for_themselves(task):
    targets = LABELS if task is classification else VALUES.targets
    many = Batch(torch.zeros(3, B, 2), targets.expand(3, B), torch.arange(B).expand(3, B))
    draws = Draws((0, "r"))
    drawn = task.relabel(many, draws.of([4, 1, 2])).targets
    assert drawn.shape == (3, B)
    assert torch.equal(task.relabel(many, draws.of([1, 1, 1])).targets[0], drawn[1])
    assert len({tuple(d.tolist()) for d in drawn}) > 1
    assert (drawn != targets).all()


@pytest.mark.parametrize("size", [1, 2, 6])
def test_values_are_those_of_other_rows_of_the_batch(size):
    values = torch.arange(float(size))
    batch = Batch(torch.zeros(size, 1), values, torch.arange(size))
    for seed in range(5):
        drawn = regression.relabel(batch, Draws((seed,))).targets
        assert sorted(drawn.tolist()) == values.tolist()
        assert size == 1 or (drawn != values).all()


# ---- refusals


def batch(targets) -> Batch:
    return Batch(torch.zeros(len(targets), 1), targets, torch.arange(len(targets)))


Z = torch.zeros
BAD = {
    "too few logits": (classification, Z(3, 3), batch(Z(3).long()), "outputs of shape (3, 3)"),
    "one axis": (classification, Z(3), batch(Z(3).long()), "outputs of shape (3,)"),
    "three axes": (classification, Z(3, 4, 1), batch(Z(3).long()), "outputs of shape (3, 4, 1)"),
    "other rows": (classification, Z(2, 4), batch(Z(3).long()), "outputs of shape (2, 4)"),
    "whole logits": (classification, Z(3, 4).long(), batch(Z(3).long()), "torch.int64"),
    "float labels": (classification, Z(3, 4), batch(Z(3)), "targets are torch.float32"),
    "label below": (classification, Z(3, 4), batch(torch.tensor([0, -1, 2])), "from -1 to 2"),
    "label above": (classification, Z(3, 4), batch(torch.tensor([0, 4, 2])), "from 0 to 4"),
    "labels of two axes": (classification, Z(3, 4), batch(Z(3, 1).long()), "(3, 1)"),
    "two values": (regression, Z(3, 2), batch(Z(3)), "outputs of shape (3, 2)"),
    "no value axis": (regression, Z(3), batch(Z(3)), "outputs of shape (3,)"),
    "whole values": (regression, Z(3, 1), batch(Z(3).long()), "targets are torch.int64"),
    "values of two axes": (regression, Z(3, 1), batch(Z(3, 1)), "of shape (3, 1)"),
}


@pytest.mark.parametrize(("task", "outputs", "given", "match"), BAD.values(), ids=BAD)
def test_what_does_not_fit_is_refused(task, outputs, given, match):
    with pytest.raises(BadInput, match=re.escape(match)):
        task.check(outputs, given)


@pytest.mark.parametrize("precision", [torch.float64, torch.float16, torch.bfloat16])
def test_what_fits_is_accepted(precision):
    classification.check(Z(3, 4, dtype=precision), batch(torch.tensor([0, 3, 1])))
    regression.check(Z(3, 1, dtype=precision), batch(Z(3, dtype=precision)))


@pytest.mark.parametrize("classes", [1, 0, -3])
def test_one_class_is_none(classes):
    with pytest.raises(BadInput, match=f"classes = {classes}. Expected: classes of at least 2"):
        Classification(classes)


# ---- models that take their inputs by name


class Answer(dict):
    """As models of transformers answer: names, which are attributes too."""

    __getattr__ = dict.__getitem__


NAMED = Batch({"a": LOGITS, "b": torch.ones(B, C)}, LABELS, torch.arange(B))
text = TextClassification(C)


@pytest.mark.parametrize("wrap", [lambda z: z, lambda z: SimpleNamespace(logits=z, other=3)])
def test_inputs_are_passed_by_name_and_logits_are_taken_from_the_answer(wrap):
    found = text.outputs(lambda b, a: wrap(a + 2 * b), NAMED)
    assert torch.equal(found, LOGITS + 2)


def test_text_is_judged_and_relabelled_as_any_classification():
    assert text.kind == "classification"
    for what in ("loss", "margin"):
        assert torch.equal(
            getattr(text, what)(LOGITS, NAMED), getattr(classification, what)(LOGITS, CLASSES)
        )
    drawn = text.relabel(NAMED, Draws((0, "r")))
    assert drawn.inputs is NAMED.inputs
    assert torch.equal(drawn.targets, classification.relabel(CLASSES, Draws((0, "r"))).targets)
    with pytest.raises(BadInput, match="at least 2"):
        TextClassification(1)


ANSWERS = {
    "an output": (Answer(logits=LOGITS, loss=None), "the model gave a Answer with logits, loss"),
    "a tuple": ((LOGITS, LOGITS), "the model gave a tuple"),
    "nothing": (None, "the model gave a NoneType"),
}


@pytest.mark.parametrize("task", [classification, regression])
@pytest.mark.parametrize(("answer", "match"), ANSWERS.values(), ids=ANSWERS)
def test_an_answer_that_is_no_tensor_is_refused_with_the_task_that_reads_it(task, answer, match):
    with pytest.raises(BadInput, match=f"{match}.*needs TextClassification"):
        task.outputs(lambda x: answer, CLASSES)


@pytest.mark.parametrize("answer", [SimpleNamespace(last=LOGITS), (LOGITS,), None])
def test_an_answer_without_logits_is_refused(answer):
    told = f"a model without logits: it gave a {type(answer).__name__}.*ForSequenceClassification"
    with pytest.raises(BadInput, match=told):
        text.outputs(lambda a, b: answer, NAMED)


def test_inputs_that_a_model_does_not_know_by_name_are_refused():
    with pytest.raises(BadInput, match="unexpected keyword argument 'b'.*has the arguments a, b"):
        text.outputs(lambda a: a, NAMED)
    with pytest.raises(BadInput, match="missing a required argument: 'c'.*add those that it needs"):
        text.outputs(lambda a, b, c: a, NAMED)
    with pytest.raises(BadInput, match="inputs of type Tensor for TextClassification"):
        text.outputs(lambda a: a, CLASSES)

    def broken(a, b):
        return a + "text"  # an error of the model's own keeps its kind

    def inside(a, b):
        return torch.relu(a, scale=1)

    with pytest.raises(TypeError, match="unsupported operand"):
        text.outputs(broken, NAMED)
    with pytest.raises(TypeError, match="scale"):
        text.outputs(inside, NAMED)
