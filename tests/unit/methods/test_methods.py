"""The table of methods: names, settings and their refusals; what each method is on paper."""

import dataclasses
import inspect
import re
import sys

import pytest

from expunge.errors import BadInput
from expunge.methods import METHODS, method, settings
from expunge.methods.method import Claim, MethodInputs
from expunge.methods.validate_class import NEEDS

every = pytest.mark.parametrize("name", METHODS)


@every
def test_a_method_is_a_frozen_dataclass_of_plain_settings(name):
    kind = METHODS[name]
    made = kind()
    assert kind.name == name
    assert dataclasses.is_dataclass(kind)
    with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):
        made.lr = 1.0
    assert all(f.type in (int, float, str, bool) for f in dataclasses.fields(kind))
    assert all(
        type(v) is f.type
        for f, v in zip(dataclasses.fields(kind), settings(made).values(), strict=True)
    )
    assert method(name) == made


@every
def test_a_method_states_its_source_claim_needs_and_cost(name):
    kind = METHODS[name]
    assert re.search(r"[A-Z][a-z]+.* (19|20)\d\d", kind.source)
    assert isinstance(kind.claim, Claim)
    assert kind.needs <= NEEDS.keys()
    header = sys.modules[kind.__module__].__doc__
    assert "Source:" in header
    assert "Cost:" in header
    assert inspect.getdoc(kind)


def test_a_setting_may_be_text():
    assert method("dmm", steps="7", lr="1e-2", loss="distribution") == method(
        "dmm", steps=7, lr=0.01, loss="distribution"
    )
    assert settings(method("fine-tune", epochs=2))["epochs"] == 2


BAD = {
    "unknown": (("fine-tunes", {}), r"unknown method 'fine-tunes' \(did you mean 'fine-tune'\?\)"),
    "nonsense": (("xyzzy", {}), r"unknown method 'xyzzy'\. Expected: one of retrain, fine-tune"),
    "setting": (("dmm", {"step": 1}), r"dmm has no setting 'step' \(did you mean 'steps'\?\)"),
    "none at all": (("retrain", {"lr": 1}), r"retrain has no setting 'lr'.*no settings at all"),
    "fraction": (
        ("dmm", {"steps": 1.5}),
        "dmm with steps = 1.5. Expected: steps of at least",
    ),
    "fraction as text": (("dmm", {"steps": "1.5"}), "dmm with steps = '1.5'"),
    "words": (("dmm", {"lr": "fast"}), "dmm with lr = 'fast'"),
    "nothing": (("dmm", {"lr": None}), "dmm with lr = None"),
    "truth": (("dmm", {"steps": True}), "dmm with steps = True"),
    "another loss": (("dmm", {"loss": "kl"}), "kl"),
    "loss of matching": (("oracle-matching", {"loss": "kl"}), "kl"),
    "no batch": (("fine-tune", {"batch_size": 0}), "batch.size"),
    "no retained batch": (
        ("dmm", {"retain_batch_size": -1}),
        "retain.batch.size",
    ),
    "negative rate": (("fine-tune", {"lr": -0.1}), "lr"),
    "no number": (("fine-tune", {"lr": "nan"}), "lr"),
    "negative epochs": (("fine-tune", {"epochs": -1}), "epochs"),
}


@pytest.mark.parametrize(("call", "match"), BAD.values(), ids=BAD)
def test_a_wrong_name_or_value_is_refused(call, match):
    name, chosen = call
    with pytest.raises(BadInput, match=match):
        method(name, **chosen)


def test_settings_are_read_from_a_method():
    assert settings(METHODS["fine-tune"](lr=0.5)) == {"epochs": 5, "lr": 0.5, "batch_size": 64}


def test_the_protocol_is_what_every_method_offers():
    for kind in METHODS.values():
        assert callable(kind().price)
        parameters = inspect.signature(kind.__call__).parameters
        assert list(parameters) == ["self", "problem", "models", "inputs", "seed"]
        assert parameters["inputs"].default == MethodInputs()
        assert parameters["seed"].kind is inspect.Parameter.KEYWORD_ONLY
