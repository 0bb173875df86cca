"""The files of CIFAR-10, and the forget sets published for it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from expunge.errors import BadInput
from expunge.zoo.cifar_files import Records, read_cifar
from expunge.zoo.data_folder import damaged, data_file

SOURCE = "CIFAR-10 as parquet files with columns image (PNG or WebP bytes) and label"
TRAIN = ("cifar10/train-00000-of-00002.parquet", "cifar10/train-00001-of-00002.parquet")
TEST = ("cifar10/test-00000-of-00001.parquet",)
FORGET_SETS = range(1, 8)


def read(data: Path | str | None, names: Sequence[str]) -> Records:
    """The rows of some files of the data folder; see `read_cifar`."""
    return read_cifar(data, names, "CIFAR-10", SOURCE, label="label", classes=10)


def published_rows(number: int, data: Path | str | None = None) -> Tensor:
    """A published forget set, official row numbers, int64; give them to `cifar10(keep=...)`.

    Source: the sets used for CIFAR-10 by Georgiev et al. 2024, arXiv 2410.23232. 1, 2, 3: 10, 100,
    1,000 random rows. 4, 5: the top 10 and 100 of the first principal component of attribution.
    6: 250 from its top and 250 from its bottom. 7: the top 10 of the second.

    Raises:
        BadInput: no such set; a file that is missing or damaged.
    """
    if number not in FORGET_SETS:
        raise BadInput(
            f"published forget set {number}",
            expected=f"a number from {FORGET_SETS[0]} to {FORGET_SETS[-1]}",
            fix="see published_rows for what each holds",
        )
    expected = "a list of different row numbers from 0 to 49999, int64"
    path = data_file(data, f"cifar10/forget_sets/{number}.npy", expected)
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise damaged(path, f"cannot be read ({error})", expected) from error
    usable = isinstance(rows, np.ndarray) and rows.dtype == np.int64 and rows.ndim == 1
    if not usable or len(np.unique(rows)) < len(rows) or rows.min() < 0 or rows.max() > 49_999:
        raise damaged(path, "is no list of row numbers", expected)
    return torch.from_numpy(rows)
