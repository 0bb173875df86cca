"""verification_error(): what it measures, that it resumes, and what it refuses."""

import json
import warnings
from dataclasses import replace
from functools import partial
from xml.etree import ElementTree

import pytest
import torch

from expunge.api import verification_error as room
from expunge.api.tracking import FORMS
from expunge.api.verification_error import verification_error
from expunge.audit.metrics import verification_error as metric
from expunge.audit.metrics.correlation import correlation
from expunge.contract.problems import FORGET, ridge, softmax_linear, tiny64
from expunge.data import TensorData
from expunge.errors import BadInput
from expunge.probes.unrolling import curvature, unrolled
from expunge.problem import Classification
from expunge.training.unrolled.history import History

AT = (2, 5, 9)
BY_MEMBER = {"verification", "nothing", "distance", "eigenvalue", "residual", "products", "sigma"}
BY_MEMBER |= {*FORMS, "rate", "spread", "accuracy"}


class Linear(Classification):
    """Minus the true logit: gradients of a linear model do not depend on its weights."""

    def loss(self, outputs, batch):
        return -outputs.gather(-1, batch.targets[..., None]).squeeze(-1)


def ask(runtime, problem=None, **given):
    problem = tiny64() if problem is None else problem
    return verification_error(problem, runtime=runtime, **{"members": 2, "at": AT, **given})


def shifted(data):
    return TensorData(data.inputs + 0.1, data.targets)


def timeless(content):
    return {name: part for name, part in content.items() if name != "run"}


@pytest.fixture
def no_training(monkeypatch):
    """Whatever is to be measured from here on is an error."""

    def refuse(*args):
        raise AssertionError("it was measured already")

    return lambda: monkeypatch.setattr(room, "_measure_member", refuse)


def test_each_look_has_the_numbers_of_each_member(runtime):
    problem, runtime = tiny64(), replace(runtime, seed=5)
    found = ask(runtime, problem, members=[4, 1], hessian_rows=20)
    assert found["problem"]["members"] == 2
    assert found["problem"]["forget_rows"] == len(FORGET)
    assert [look["steps"] for look in found["measurements"]] == list(AT)
    for look in found["measurements"]:
        assert look.keys() == BY_MEMBER | {"steps"}
        assert all(len(look[name]) == 2 for name in BY_MEMBER)
    for k, member in enumerate((4, 1)):
        told, sizes = History(problem, (member,), 5), []
        begin = {n: w.detach().clone() for n, w in told.start().weights().items()}
        for look, stage in zip(
            found["measurements"], unrolled(told, problem.forget, AT), strict=True
        ):
            own = {name: look[name][k] for name in BY_MEMBER}

            def norm(a, b):
                lone = ({n: w[None].detach() for n, w in side.items()} for side in (a, b))
                return float(metric.verification_error(*lone).whole)

            assert own["verification"] == pytest.approx(norm(stage.unlearned, stage.retrained))
            assert own["nothing"] == pytest.approx(norm(stage.original, stage.retrained))
            assert own["distance"] == pytest.approx(norm(stage.original, begin))
            spectrum = curvature(problem, stage.model, 5, 20)
            assert own["eigenvalue"] == pytest.approx(spectrum.value)
            assert own["residual"] == pytest.approx(spectrum.residual / abs(spectrum.value))
            sizes.append(abs(spectrum.value))
            assert own["sigma"] == pytest.approx(sum(sizes) / len(sizes))
            assert own["rate"] == pytest.approx(0.1)
            strict = 0.1 * (stage.steps - 1) / 2 * own["sigma"] * own["distance"]
            assert own["strict"] == pytest.approx(strict)
            assert own["paper"] == pytest.approx(0.1 * strict)
            logits = stage.model(problem.test.inputs).detach()
            assert own["spread"] == pytest.approx(float(logits.std(-1, correction=0).mean()))
            right = (logits.argmax(-1) == problem.test.targets).double().mean()
            assert own["accuracy"] == pytest.approx(100 * float(right))


def test_layers_add_up_to_the_last_look_and_correlations_are_over_members_and_looks(runtime):
    found = ask(runtime, members=3)
    layers = torch.tensor(list(found["layers"].values()))
    assert set(found["layers"]) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    whole = torch.tensor(found["measurements"][-1]["verification"])
    assert torch.allclose(layers.square().sum(0).sqrt(), whole)
    for form in FORMS:
        x, y = (
            torch.tensor([look[name] for look in found["measurements"]]).flatten()
            for name in (form, "verification")
        )
        wanted = correlation(x.double(), y.double(), torch.tensor([0, 1, 2] * 3))
        assert found["correlation"][form] == pytest.approx(wanted.__dict__, rel=1e-5)
    assert found["correlation"]["strict"]["groups"] == 3
    assert found["correlation"]["strict"]["points"] == 9


def test_where_gradients_do_not_depend_on_the_weights_nothing_is_left(runtime):
    problem = replace(tiny64(softmax_linear), task=Linear(3))
    found = ask(runtime, problem)
    for look in found["measurements"]:
        assert max(look["verification"]) < 1e-13 < 1e-3 < min(look["nothing"])
        assert look["strict"] == [0.0, 0.0]  # the Hessian is zero


def test_a_second_call_trains_nothing_and_says_the_same(runtime, no_training):
    first = ask(runtime)
    no_training()
    assert timeless(ask(runtime)) == timeless(first)
    assert timeless(ask(runtime, at=[9, 2, 5, 2])) == timeless(first)  # in order, each once


def test_only_members_that_are_missing_are_measured(runtime, monkeypatch):
    ask(runtime, members=[1])
    measured, measure = [], room._measure_member
    monkeypatch.setattr(room, "_measure_member", lambda *a: measured.append(a[1]) or measure(*a))
    both = ask(runtime, members=2)
    assert measured == [0]
    one = ask(runtime, members=[1])
    assert one["measurements"][0]["strict"] == both["measurements"][0]["strict"][1:]


@pytest.mark.parametrize(
    "changed",
    [
        {"problem": tiny64(forget=FORGET[:3])},
        {"problem": tiny64(optimizer=partial(torch.optim.SGD, lr=0.2))},
        {"problem": tiny64().without(torch.tensor([50])).forgetting(list(FORGET))},
        {"problem": replace(tiny64(), train=shifted(tiny64().train))},
        {"problem": replace(tiny64(), test=shifted(tiny64().test))},
        {"at": (3, 9)},
        {"hessian_rows": 20},
        {"seed": 1},
    ],
    ids=["forget", "recipe", "present", "content", "judge", "at", "hessian", "seed"],
)
def test_another_question_is_measured_anew(runtime, no_training, changed):
    ask(runtime, members=1)
    no_training()
    runtime = replace(runtime, seed=changed.pop("seed", 0))
    with pytest.raises(AssertionError, match="measured already"):
        ask(runtime, members=1, **changed)


@pytest.mark.slow
def test_processes_do_not_change_a_number(runtime, tmp_path):
    one = ask(runtime)
    two = ask(replace(runtime, jobs=2, store=replace(runtime.store, root=tmp_path / "other")))
    assert timeless(one) == timeless(two)


def test_files_are_written_whole(runtime, tmp_path):
    found = ask(runtime, out=tmp_path / "out", command="expunge verification-error ...")
    written = json.loads((tmp_path / "out/verification_error.json").read_text())
    assert written == found
    assert written["run"]["command"] == "expunge verification-error ..."
    assert written["run"]["digests"].keys() == {"recipe"}
    for name in ("along", "against"):
        root = ElementTree.fromstring((tmp_path / f"out/{name}.svg").read_bytes())
        assert root.tag.endswith("svg")


def test_looks_are_even_over_the_training(runtime):
    assert [one["steps"] for one in ask(runtime, at=None, measurements=3)["measurements"]] == [
        3,
        6,
        9,
    ]
    assert [one["steps"] for one in ask(runtime, at=None, measurements=50)["measurements"]] == [
        *range(1, 10)
    ]


def test_one_training_and_one_look_have_no_correlation(runtime, tmp_path):
    found = ask(runtime, members=1, at=[9], out=tmp_path / "out")
    assert found["correlation"]["strict"]["value"] is None


def test_a_regression_has_no_accuracy(runtime):
    found = ask(runtime, ridge(epochs=4), at=[2, 4])
    assert "accuracy" not in found["measurements"][0]
    assert found["measurements"][0]["spread"] == [0.0, 0.0]  # of one number


def test_rates_that_fall_are_counted_step_by_step(runtime):
    problem = tiny64(schedule=lambda progress: 1.0 - progress)
    rates = [0.1 * (1 - k / 9) for k in range(9)]
    look = ask(runtime, problem, members=1)["measurements"][1]  # after five steps
    pairs = sum(rates[i] * sum(rates[:i]) for i in range(5)) / sum(rates[:5])
    assert look["rate"][0] == pytest.approx(sum(rates[:5]) / 5)
    assert look["strict"][0] == pytest.approx(pairs * look["sigma"][0] * look["distance"][0])


def test_momentum_is_warned_about_and_plain_sgd_is_not(runtime):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ask(runtime, members=1)
    momentum = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
    with pytest.warns(UserWarning, match=r"assumes plain SGD.*momentum 0\.9"):
        ask(runtime, tiny64(optimizer=momentum), members=1)


def trainer(data, rows, *, seed, device):
    return softmax_linear()


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"problem": tiny64(forget=())}, "there are no rows to forget"),
        ({"problem": replace(tiny64(), recipe=trainer)}, "models that a function trained"),
        ({"problem": replace(tiny64(), recipe=None)}, "no recipe, which is needed to tell how"),
        ({"at": [3, 10]}, "looks after 10 steps.*numbers from 1 to 9"),
        ({"at": [0]}, "looks after 0 steps"),
        ({"at": []}, "looks after no steps"),
        ({"at": None, "measurements": 0}, "looks after no steps.*with at least one look"),
        ({"members": 0}, r"originals \[\].*at least one"),
        ({"members": [2, 2]}, r"originals \[2, 2\].*each once"),
        ({"members": [-1]}, r"originals \[-1\].*counted from 0"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_any_work(runtime, no_training, given, match):
    no_training()
    with pytest.raises(BadInput, match=match):
        ask(runtime, **given)


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(runtime, tmp_path, no_training):
    (tmp_path / "file").write_text("in the way")
    no_training()
    with pytest.raises(BadInput, match="cannot write"):
        ask(runtime, out=tmp_path / "file")
