"""Tiny files in the form of the real ones, and a mark for tests that need those."""

import io
import os
from pathlib import Path

import numpy as np
import pytest


def needs(name: str) -> pytest.MarkDecorator:
    """Skip unless the data folder holds this file."""
    folder = os.environ.get("EXPUNGE_DATA")
    there = folder is not None and (Path(folder) / name).is_file()
    return pytest.mark.skipif(not there, reason=f"EXPUNGE_DATA has no {name}")


def random_pixels(rows: int, *shape: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (rows, *shape), dtype=np.uint8)


def fashion_arrays(train: int = 40, test: int = 20) -> dict[str, np.ndarray]:
    """So many rows of ten classes in turn."""
    return {
        "x_train": random_pixels(train, 28, 28, 1, seed=0),
        "y_train": np.arange(train, dtype=np.uint8) % 10,
        "x_test": random_pixels(test, 28, 28, 1, seed=1),
        "y_test": np.arange(test, dtype=np.uint8) % 10,
    }


def write_fashion(folder: Path, **changed) -> Path:
    """The file with some arrays changed; None leaves one out."""
    arrays = {**fashion_arrays(), **changed}
    given = {name: array for name, array in arrays.items() if array is not None}
    np.savez(folder / "fashion_mnist.npz", **given)
    return folder


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    from PIL import Image

    target = io.BytesIO()
    Image.fromarray(pixels).save(target, kind, **({"lossless": True} if kind == "WebP" else {}))
    return target.getvalue()


CIFAR_FILES = {  # name: rows, seed
    "train-00000-of-00002": (20, 2),
    "train-00001-of-00002": (30, 3),
    "test-00000-of-00001": (20, 4),
}


def write_parquet(path: Path, **columns) -> None:
    import pyarrow
    from pyarrow import parquet

    path.parent.mkdir(exist_ok=True)
    parquet.write_table(pyarrow.table(columns), path)


def write_cifar10(folder: Path, kind: str = "PNG") -> tuple[np.ndarray, np.ndarray]:
    """50 train rows in two files and 20 test rows, of ten classes in turn; their pixels."""
    found = []
    for name, (rows, seed) in CIFAR_FILES.items():
        pixels = random_pixels(rows, 32, 32, 3, seed=seed)
        images, labels = [encoded(p, kind) for p in pixels], np.arange(rows, dtype=np.uint8) % 10
        write_parquet(folder / "cifar10" / f"{name}.parquet", image=images, label=labels)
        found.append(pixels)
    return np.concatenate(found[:2]), found[2]


def write_cifar100(folder: Path, each: int = 4) -> np.ndarray:
    """So many train rows and two test rows of each of the 25 classes in turn; the train pixels."""
    from expunge.zoo.cifar100 import CLASSES, TEST, TRAIN

    found = []
    for name, rows, seed in ((TRAIN, 25 * each, 8), (TEST, 50, 9)):
        pixels = random_pixels(rows, 32, 32, 3, seed=seed)
        labels = np.array(CLASSES, dtype=np.uint8)[np.arange(rows) % 25]
        write_parquet(folder / name, image=[encoded(p, "PNG") for p in pixels], fine_label=labels)
        found.append(pixels)
    return found[0]


FILMS = ("acting", "plot", "music", "ending", "camera", "script", "cast", "pace", "joke", "tone")


def imdb_columns(each: int = 40) -> dict[str, list]:
    """So many reviews of each split and label, sorted by label as the real ones, distinct."""
    columns = {"text": [], "label": [], "split": []}
    for split in ("train", "test"):
        for label, word in enumerate(("bad", "good")):
            for n in range(each):
                film = f"{FILMS[n % 10]} {FILMS[n // 10]} {split}{n}"
                columns["text"].append(f"A {word} film!<br /><br />The {film} was {word}.")
                columns["label"].append(label)
                columns["split"].append(split)
    return columns


def write_imdb(folder: Path, **changed) -> Path:
    """The file with some columns changed; None leaves one out."""
    columns = {**imdb_columns(), **changed}
    given = {name: column for name, column in columns.items() if column is not None}
    write_parquet(folder / "imdb.parquet", **given)
    return folder
