"""Reading CIFAR-10 from parquet files, and the forget sets published for it."""

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
from expunge.zoo.pictures import inputs_of

SOURCE = "CIFAR-10 as parquet files with columns image (PNG or WebP bytes) and label"
TRAIN = ("cifar10/train-00000-of-00002.parquet", "cifar10/train-00001-of-00002.parquet")
TEST = ("cifar10/test-00000-of-00001.parquet",)
FORGET_SETS = range(1, 8)


@dataclass(frozen=True)
class Records:
    """Rows as the files hold them, in their order: the official one."""

    pictures: list[bytes]  # encoded
    targets: Tensor  # int64
    folder: Path  # to name in a message

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
            raise damaged(self.folder, f"has no picture in row {row} ({error})", SOURCE) from error
        if found.shape != (32, 32, 3) or found.dtype != np.uint8:
            what = f"has a picture of shape {found.shape}, {found.dtype}, in row {row}"
            raise damaged(self.folder, what, "32 x 32 pixels in three colours")
        return found


def read(data: Path | str | None, names: Sequence[str]) -> Records:
    """The rows of some files of the data folder, put end to end; pictures stay encoded.

    Raises:
        BadInput: pyarrow or pillow is not installed; a file is missing or damaged.
    """
    try:
        import PIL  # noqa: F401  (asked for before the files are read)
        from pyarrow import parquet
    except ImportError as error:
        raise BadInput(
            f"CIFAR-10 cannot be read without {error.name}",
            expected="pyarrow and pillow",
            cure="run: pip install 'expunge[bench]'",
        ) from error
    pictures: list[bytes] = []
    labels: list[int] = []
    paths = [data_file(data, name, SOURCE) for name in names]
    for path in paths:
        try:
            table = parquet.read_table(path)
        except (OSError, ValueError) as error:  # what pyarrow's own errors are
            raise damaged(path, f"cannot be read ({error})", SOURCE) from error
        missing = {"image", "label"} - set(table.column_names)
        if missing:
            raise damaged(path, f"has no column '{min(missing)}'", SOURCE)
        images, classes = table["image"].to_pylist(), table["label"].to_pylist()
        if not all(isinstance(image, bytes) for image in images):
            raise damaged(path, "holds images that are no bytes", SOURCE)
        if not all(isinstance(label, int) and 0 <= label <= 9 for label in classes):
            raise damaged(path, "holds labels that are no numbers from 0 to 9", SOURCE)
        pictures += images
        labels += classes
    return Records(pictures, torch.tensor(labels, dtype=torch.int64), paths[0].parent)


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
            cure="see published_rows for what each holds",
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
