"""Results kept by what made them: atomic, checksummed, resumable.

A result is a dictionary of tensors (`.safetensors`) beside a dictionary of facts (`.json`). Its
key is a hash of everything that decided it. The facts are written last, so a killed run leaves
either a whole result or none; a file that does not match its checksum is dropped and made again.
"""

import hashlib
import json
import os
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from safetensors.torch import load as decode
from safetensors.torch import save as encode
from torch import Tensor

from expunge.errors import BadInput
from expunge.store.disk import writable
from expunge.store.locks import acquire, write_owner

UMASK = os.umask(0)  # which can be read only by setting it
os.umask(UMASK)
# Part of every key; to be raised when a change makes kept results differ from new ones.
FORMAT = 1
PARTIAL = ".partial-"  # how names begin of files that are being written

# A list of numbers as json.dumps indents it; within a string there is no line break.
_NUMBERS = re.compile(r"\[(\n(?:\s*(?:[-+.\deE]+|null|true|false),?\n)+\s*)\]")


class Stored(NamedTuple):
    """What lies under a key."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Store:
    """A folder of results; safe to share between processes and to kill at any moment."""

    root: Path

    def save(self, key: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Keep a result under `key`; a reader sees all of it or nothing."""
        content = encode(apart(tensors))
        write_bytes(self._path(key, "safetensors"), content)
        write_json(self._path(key, "json"), _sealed({"facts": facts, "sha256": sha256(content)}))

    def load(self, key: str) -> Stored | None:
        """The result under `key`, or None where there is none or where its checksum is wrong."""
        try:
            content, facts = self._read(key)
        except FileNotFoundError:
            return None
        except ValueError:
            return self._dropped(key)
        # the decoder gives names in another order at every read
        return Stored(dict(sorted(decode(content).items())), facts)

    def facts(self, key: str) -> dict[str, Any] | None:
        """The facts of the result under `key`; None where there is none, or a damaged one."""
        try:
            return self._read(key)[1]
        except (FileNotFoundError, ValueError):
            return None

    def has(self, key: str) -> bool:
        """Whether a result lies under `key`; it is not read, so it may be damaged."""
        return all(path.is_file() for path in self.paths(key))

    def remove(self, key: str) -> None:
        """Drop the result under `key`, if there is one.

        Raises:
            BadInput: the store cannot be written.
        """
        for path in self.paths(key):
            if path.exists():  # a store that can only be read refuses even what changes nothing
                with writable(path, "remove"):
                    path.unlink(missing_ok=True)

    @contextmanager
    def making(self, key: str) -> Iterator[bool]:
        """Inside, this process alone makes the result under `key`; yields whether it is yet to be.

        Another process of this machine that is making it is waited for; one that was killed holds
        nothing. A store that can only be read will do, where it holds the result.

        Raises:
            BadInput: the store cannot be written.
        """
        path = self.root / "locks" / f"{key.replace('/', '-')}.lock"
        try:
            lock = acquire(path, f"makes {key}")
        except BadInput:
            if not self.has(key):
                raise
            yield False
            return
        try:
            if needed := not self.has(key):
                write_owner(path)
            yield needed
        finally:
            lock.release()

    def keys(self, kind: str) -> Iterator[str]:
        """Keys of all whole results of a kind, sorted."""
        for path in sorted((self.root / kind).glob("*.json")):
            yield f"{kind}/{path.stem}"

    def identify(self, kind: str, numbers: Tensor, facts: Mapping[str, Any]) -> str:
        """A name for something that is known only by what it does.

        Two things are the same when their facts are equal and their numbers (any shape) agree
        to 1e-4 of their size; rounding between machines then changes no name.
        """
        numbers = numbers.to(torch.float64)
        facts = json.loads(canonical(facts))
        for key in self.keys(kind):
            known = self.load(key)
            if known is None or known.facts != facts or known.tensors["n"].shape != numbers.shape:
                continue
            if torch.allclose(known.tensors["n"], numbers, rtol=1e-4, atol=1e-4, equal_nan=True):
                return key.rpartition("/")[2]
        name = sha256(canonical(facts) + encode({"n": numbers}))[:20]
        self.save(f"{kind}/{name}", {"n": numbers}, facts)
        return name

    def paths(self, key: str) -> list[Path]:
        """The files of the result under `key`, the facts first: without them there is no result."""
        return [self._path(key, ending) for ending in ("json", "safetensors")]

    def _read(self, key: str) -> tuple[bytes, dict[str, Any]]:
        """Tensors as bytes, and facts; ValueError where they do not match their checksums."""
        sealed = json.loads(self._path(key, "json").read_bytes())
        content = self._path(key, "safetensors").read_bytes()
        whole = isinstance(sealed, dict) and sealed == _sealed(sealed)
        if not whole or sha256(content) != sealed["sha256"]:
            raise ValueError("a checksum is wrong")
        return content, sealed["facts"]

    def _path(self, key: str, ending: str) -> Path:
        return self.root / f"{key}.{ending}"

    def _dropped(self, key: str) -> None:
        warnings.warn(
            f"the stored result {key} is damaged (its checksum is wrong); it is made again",
            stacklevel=3,
        )
        self.remove(key)


def key(kind: str, **made_by: Any) -> str:
    """The place of a result: its kind, and a hash of everything that decides it (JSON values)."""
    return f"{kind}/{sha256(canonical({**made_by, 'format': FORMAT}))[:32]}"


def sha256(content: bytes) -> str:
    """The SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def digest(tensors: Mapping[str, Tensor]) -> str:
    """The SHA-256 of named tensors: names, shapes, types and values."""
    return sha256(encode(apart(dict(sorted(tensors.items())))))


def canonical(facts: Any) -> bytes:
    """JSON with sorted keys: the same bytes for the same facts."""
    return json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that other processes see the old content or the new, never a part."""
    with writing(path) as file:
        file.write(content)


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A file to write bytes into, which takes its place whole on exit, or not at all.

    Raises:
        BadInput: a place that cannot be written.
    """
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=PARTIAL)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
            os.chmod(temporary, 0o666 & ~UMASK)  # mkstemp's own is for the owner alone
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise


def require_writable(folder: Path) -> None:
    """Raise BadInput, before any work, unless files can be written into a folder; makes it."""
    probe = folder / ".writable"
    write_bytes(probe, b"")
    probe.unlink(missing_ok=True)  # another run may have asked at the same moment


def write_json(path: Path, content: Any) -> None:
    """Write JSON in one piece: indented, but a list of numbers on one line."""
    text = json.dumps(content, indent=2, allow_nan=False)
    flat = _NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", text)
    write_bytes(path, (flat + "\n").encode())


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file in one piece."""
    write_bytes(path, encode(apart(tensors)))


def apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU: safetensors refuses tensors that share memory."""
    return {
        name: t.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, t in tensors.items()
    }


def _sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    body = {"facts": record.get("facts"), "sha256": record.get("sha256")}
    return {**body, "seal": sha256(canonical(body))}
