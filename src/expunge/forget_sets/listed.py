"""The rows that a file lists: a forget set that others published, or that was kept from before."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from expunge.errors import BadInput
from expunge.problem import Problem

EXPECTED = "different row numbers in one line, as numpy.save writes them"


def listed(problem: Problem, path: str) -> Tensor:
    """The rows of a .npy file, int64, sorted.

    Args:
        problem: where it has ids, the file holds ids (CIFAR-10: official numbers), each for all
            rows of that person; otherwise the numbers of train rows.
        path: of the file.

    Raises:
        BadInput: no such file; no list of whole numbers without repetition; one that is no train
            row or is not present.
    """
    numbers = _read(Path(path))
    ids = list(range(len(problem.train)) if problem.ids is None else problem.ids)
    known: dict[str, list[int]] = {}  # the rows present of each person
    for row in problem.present_rows.tolist():
        known.setdefault(str(ids[row]), []).append(row)
    missing = [n for n in numbers if str(n) not in known]
    if missing:
        raise BadInput(
            f"{path} lists row {missing[0]}, which is no train row of {problem.name} "
            f"({len(missing)} of {len(numbers)} are not)",
            expected=f"some of its {len(problem.present_rows)} train rows, "
            + ("counted from 0" if problem.ids is None else "by their ids"),
            fix="check that the file belongs to this data; of CIFAR-10, say which published sets "
            "shall be train rows: options = { published = [5] }",
        )
    return torch.tensor(sorted(row for n in numbers for row in known[str(n)]))


def _read(path: Path) -> list[int]:
    if not path.is_file():
        raise BadInput(
            f"there is no file {path}",
            expected=EXPECTED,
            fix="check the path; in a benchmark's config it is one below the folder that "
            "EXPUNGE_DATA names, or absolute",
        )
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise BadInput(
            f"{path} cannot be read ({error})", expected=EXPECTED, fix="fetch or write it again"
        ) from error
    usable = isinstance(found, np.ndarray) and found.dtype.kind in "iu" and found.ndim == 1
    if not usable or not len(found) or len(np.unique(found)) < len(found):
        raise BadInput(f"{path} is no list of row numbers", expected=EXPECTED, fix="write it again")
    return found.tolist()
