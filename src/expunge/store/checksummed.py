"""Files that lie by themselves, outside of a store, with a checksum of their own in them.

A bit that a disk turned round would else be a row that was never forgotten, or another weight.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as decode
from safetensors.torch import save as encode
from torch import Tensor

from expunge import store

CHECKSUM = "expunge.sha256"  # in the header of a safetensors file


def write_checksummed(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON with a checksum of itself, as "seal"."""
    store.write_json(path, {**content, "seal": _seal(content)})


def read_checksummed(path: Path, *, check: bool = True) -> dict[str, Any]:
    """What `write_checksummed` wrote, or JSON that has no seal.

    Args:
        path: of the file.
        check: whether a seal must be of this content.

    Raises:
        ValueError: no dictionary, or a seal of another content.
    """
    content = json.loads(path.read_bytes())
    if not isinstance(content, dict):
        raise ValueError("it is no dictionary")
    seal = content.pop("seal", None)
    if check and seal not in (None, _seal(content)):
        raise ValueError("its seal is of another content")
    return content


def write_checked(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file in one piece, with a checksum of its tensors in its header."""
    store.write_bytes(
        path, encode(store.apart(tensors), metadata={CHECKSUM: store.digest(tensors)})
    )


def read_checked(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; a checksum in its header must be theirs.

    Raises:
        ValueError: it is damaged.
    """
    content = path.read_bytes()
    try:
        tensors = decode(content)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    if header.get("__metadata__", {}).get(CHECKSUM) not in (None, store.digest(tensors)):
        raise ValueError("its checksum is wrong")
    return tensors


def _seal(content: Mapping[str, Any]) -> str:
    read = json.loads(json.dumps(content))  # tuples are lists then, and every name is text
    return store.sha256(store.canonical(read))
