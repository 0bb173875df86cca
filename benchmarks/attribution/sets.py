"""The sets of rows that `run.py` leaves out, by family."""

from torch import Tensor

from expunge.api.left_out import random_sets
from expunge.data import TensorData
from expunge.forget_sets import principal_end
from expunge.problem import Problem

SIZES = (10, 100)  # rows


def families(problem: Problem, seed: int, sets: int) -> dict[str, list[Tensor]]:
    """Row numbers of each set.

    "random K": K rows at random. "alike K": either end of the first principal component of each
    class's pictures, so that the truth is more than noise. "half": half of the rows at random, as
    the linear datamodelling score is usually taken.
    """
    half = len(problem.present_rows) // 2
    found = {f"random {size}": random_sets(problem, seed, sets, size) for size in SIZES}
    found |= {f"alike {size}": alike(problem, size)[:sets] for size in SIZES}
    return found | {"half": random_sets(problem, seed, sets, half)}


def alike(problem: Problem, size: int) -> list[Tensor]:
    """Both ends of the first principal component of each class in turn."""
    data = problem.train
    assert isinstance(data, TensorData)
    classes = data.targets[problem.present_rows].unique()
    return [
        principal_end(data.inputs, (data.targets == label).nonzero().squeeze(-1), size, top=top)
        for label in classes
        for top in (True, False)
    ]
