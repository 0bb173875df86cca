"""Reading CIFAR-10 and CIFAR-100 from parquet files: encoded pictures of 32 x 32 pixels."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from expunge.data import TensorData
from expunge.errors import BadInput
from expunge.zoo.data_folder import damaged, data_file
from expunge.zoo.parquet import columns, require_readers
from expunge.zoo.pictures import inputs_of


@dataclass(frozen=True)
class Records:
    """Rows as the files hold them, in their order."""

    pictures: list[bytes]  # encoded
    targets: Tensor  # int64
    paths: dict[Path, int]  # of the files, and how many rows each holds
    source: str  # what the files are, for a message

    def decoded(self, rows: Tensor) -> TensorData:
        """Some rows: inputs float32 (rows, 3, 32, 32) in [0, 1]. Takes 0.2 ms a row.

        Raises:
            BadInput: a picture that cannot be decoded, or is not 32 x 32 in colour.
        """
        pixels = np.stack([self._picture(row) for row in rows.tolist()])
        return TensorData(inputs_of(torch.from_numpy(pixels)), self.targets[rows])

    def _picture(self, row: int) -> np.ndarray:
        from PIL import Image

        try:
            with Image.open(io.BytesIO(self.pictures[row])) as picture:
                found = np.asarray(picture)
        # a broken PNG is a SyntaxError to pillow
        except (OSError, SyntaxError, ValueError, RuntimeError) as error:
            raise self._damaged(row, f"no picture ({type(error).__name__})") from error
        if found.shape != (32, 32, 3) or found.dtype != np.uint8:
            raise self._damaged(row, f"a picture of shape {found.shape}, {found.dtype},")
        return found

    def _damaged(self, row: int, what: str) -> BadInput:
        """The error for one row, which is named by its place in its file."""
        places = [(path, n) for path, count in self.paths.items() for n in range(count)]
        path, place = places[row]
        expected = f"{self.source}, of 32 x 32 pixels in three colours"
        return damaged(path, f"has {what} in row {place}", expected)


def read_cifar(
    data: Path | str | None,
    names: Sequence[str],
    what: str,
    source: str,
    *,
    label: str,
    classes: int,
) -> Records:
    """The rows of some files of the data folder, put end to end; pictures stay encoded.

    Args:
        data: the data folder; see `data_file`.
        names: the files' places in it.
        what: the data set, for messages.
        source: what the files are, for messages.
        label: name of the column with the labels.
        classes: labels are numbers from 0 to one below.

    Raises:
        BadInput: pyarrow or pillow is not installed; a file is missing or damaged.
    """
    require_readers(what, "PIL")
    pictures: list[bytes] = []
    labels: list[int] = []
    paths = {data_file(data, name, source): 0 for name in names}
    for path in paths:
        images, targets = columns(path, ("image", label), source)
        if not all(isinstance(image, bytes) for image in images):
            raise damaged(path, "holds images that are no bytes", source)
        if not all(isinstance(one, int) and 0 <= one < classes for one in targets):
            said = f"holds labels that are no numbers from 0 to {classes - 1}"
            raise damaged(path, said, source)
        pictures += images
        labels += targets
        paths[path] = len(targets)
    return Records(pictures, torch.tensor(labels, dtype=torch.int64), paths, source)
