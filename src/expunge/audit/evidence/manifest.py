"""The manifest of an evidence folder: which files belong to it, with their SHA-256."""

import hashlib
import json
from pathlib import Path
from typing import Any

from expunge.errors import BadInput

SCHEMA = "expunge.evidence/1"
NAME = "manifest.json"
TEXTS = "texts.json"
PEOPLE = "people.json"


def array_files(folder: Path) -> list[str]:
    """Names of all array files of a folder, sorted; hidden ones are unfinished and do not count."""
    return sorted(p.name for p in folder.glob("*.safetensors") if not p.name.startswith("."))


def evidence_files(folder: Path) -> list[str]:
    """Names of all files that are evidence: arrays, and texts and ids where there are any."""
    lists = [name for name in (TEXTS, PEOPLE) if (folder / name).is_file()]
    return sorted([*array_files(folder), *lists])


def manifest(folder: Path) -> dict[str, Any]:
    """The content that `manifest.json` should have for the evidence now in a folder.

    Args:
        folder: where the `.safetensors` files lie, and perhaps `texts.json` and `people.json`.

    Returns:
        {"schema": ..., "files": {name: sha256 in hexadecimal}}.
    """
    folder = Path(folder)
    files = {name: file_sha256(folder / name) for name in evidence_files(folder)}
    return {"schema": SCHEMA, "files": files}


def file_sha256(path: Path) -> str:
    """Checksum of a file in hexadecimal; it is read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksums(folder: Path) -> dict[str, str]:
    """The checksums that `manifest.json` promises, for exactly the files that are there.

    Args:
        folder: an evidence folder.

    Returns:
        {name: sha256 in hexadecimal}; the contents are not compared yet.

    Raises:
        BadInput: there is no manifest, it cannot be understood, or its list of files is not that
            of the folder.
    """
    try:
        sealed = json.loads((folder / NAME).read_bytes())
    except FileNotFoundError:
        raise BadInput(
            f"no {NAME} in {folder}",
            expected="a manifest written together with the arrays",
            fix="read without verification, if you trust the arrays as they are",
        ) from None
    except ValueError:
        sealed = None
    sealed = sealed if isinstance(sealed, dict) else {}
    files = sealed.get("files")
    if sealed.get("schema") != SCHEMA or not isinstance(files, dict):
        raise BadInput(
            f"{NAME} in {folder} is not a manifest of this version",
            expected=f'JSON with "schema": "{SCHEMA}" and "files"',
            fix="fetch the evidence again, or use the version of expunge that wrote it",
        )
    present = set(evidence_files(folder))
    if absent := sorted(set(files) - present):
        raise BadInput(
            f"{', '.join(absent)} of {NAME} not in {folder}",
            expected="every file that the manifest lists",
            fix="fetch the whole evidence folder again",
        )
    if unlisted := sorted(present - set(files)):
        raise BadInput(
            f"{', '.join(unlisted)} in {folder} but not in {NAME}",
            expected="no files of evidence beyond those listed",
            fix="move them elsewhere: nothing vouches for them",
        )
    return files
