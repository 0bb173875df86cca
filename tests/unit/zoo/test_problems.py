"""The table of problems."""

import pytest

from expunge.errors import BadInput
from expunge.problem.sd_penalty import SDPenalty
from expunge.zoo.problems import PROBLEMS, problem

from .files import write_cifar10, write_cifar100, write_fashion, write_imdb

NAMES = {
    "digits": "hand-written digits",
    "fashion": "Fashion-MNIST, conv",
    "fashion-mlp": "Fashion-MNIST, mlp",
    "cifar10": "CIFAR-10, resnet18",
    "cifar10-resnet9": "CIFAR-10, resnet9",
    "cifar10-small": "CIFAR-10, small",
    "cifar100-small": "CIFAR-100, 25 classes, small",
    "imdb": "IMDB reviews",
}


@pytest.mark.parametrize("name", NAMES)
def test_every_problem_by_its_name(name, tmp_path):
    write_fashion(tmp_path)
    write_cifar10(tmp_path)
    write_cifar100(tmp_path)
    write_imdb(tmp_path)
    rows = 25 if name == "cifar100-small" else 20
    found = problem(name, tmp_path, **({} if name == "digits" else {"rows": rows, "epochs": 3}))
    assert found.name == NAMES[name]
    assert not len(found.forget)
    assert found.test is not None
    if name != "digits":
        assert len(found.train) == rows
        assert found.recipe.epochs == 3


@pytest.mark.parametrize("name", NAMES)
def test_every_problem_can_have_an_sd_penalty(name, tmp_path):
    write_fashion(tmp_path)
    write_cifar10(tmp_path)
    write_cifar100(tmp_path)
    write_imdb(tmp_path)
    rows = 25 if name == "cifar100-small" else 20
    options = {} if name == "digits" else {"rows": rows}
    found = problem(name, tmp_path, gamma=5, **options)
    assert found.recipe.penalty == SDPenalty(5)
    assert found.name == f"{NAMES[name]}, SD penalty 5"
    none = problem(name, tmp_path, gamma=0.0, **options)
    assert none.recipe.penalty is None
    assert none.name == NAMES[name]


def test_a_gamma_that_is_none():
    with pytest.raises(BadInput, match="problem digits with gamma = -1"):
        problem("digits", gamma=-1)


def test_the_table_is_whole():
    assert list(PROBLEMS) == list(NAMES)


def test_an_unknown_problem_and_the_nearest():
    with pytest.raises(BadInput, match=r"unknown problem 'fashon' \(did you mean 'fashion'"):
        problem("fashon")


def test_options_that_a_problem_does_not_have(tmp_path):
    with pytest.raises(BadInput, match=r"cifar10 has no setting 'row' \(did you mean 'rows'"):
        problem("cifar10", tmp_path, row=500)
    with pytest.raises(BadInput, match="digits has no setting 'rows'.*one of gamma"):
        problem("digits", rows=500)
    with pytest.raises(BadInput, match="fashion-mlp has no setting 'model'"):  # the name says it
        problem("fashion-mlp", tmp_path, model="conv")
