"""Evidence: the arrays that a verdict rests on, read from a folder and checked as a whole.

The folder's layout is described in docs/audit_json.md.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from expunge.audit.evidence.chunks import Array
from expunge.audit.evidence.groups import GROUPS, MARGIN, MARGINS
from expunge.audit.evidence.manifest import PEOPLE, TEXTS, array_files, checksums, file_sha256
from expunge.audit.evidence.manifest import manifest as manifest
from expunge.audit.evidence.tensor_file import filed, require_same, stamp
from expunge.audit.evidence.validate import (
    check_models,
    check_pictures,
    check_targets,
    check_texts,
    check_untrained,
)
from expunge.audit.evidence.views import Concat, LazyMargins
from expunge.errors import BadInput, nearest

METHOD = "unlearned-"
SUFFIX = ".safetensors"
REQUIRED = ("original", "oracle", "targets")
OPTIONAL = ("null", "pictures", "untrained")

T = TypeVar("T")
Outputs = Mapping[str, Array]  # group of rows -> (members, rows, C) or (members, rows)


@dataclass(frozen=True, eq=False)
class Evidence:
    """Arrays that fit together, in the dtype in which they were stored.

    What models said stays in its files, which may be larger than memory; pieces are read where
    they are looked at.

    Attributes:
        original: what models answered before forgetting, for the groups "forget", "retain" and
            "test": (members, rows, K) answers, and (members, rows) margins as `<group>.margin`.
            Of a classification or regression the latter may be missing, or stand alone as
            `<group>`.
        oracle: the same of models retrained without the forget rows.
        null: a second group of oracles, or None.
        unlearned: method -> the same of the models that it returned.
        targets: of each group, rows first, where the task has any; the int64 row numbers
            "forget_rows", "retain_rows" and perhaps "test_rows".
        pictures: {"forget": uint8 (rows, H, W) or (rows, H, W, 3)}, or None.
        kind: of the task: "classification", "regression" or any other word.
        texts: the forgotten rows in words, one a row, or None.
        people: ids of the forgotten rows or their keyed hashes, one a row, or None; rows of one id
            are of one person.
        untrained: outputs of one untrained model on the forgotten rows, (1, rows, C), or None.
    """

    original: Outputs
    oracle: Outputs
    null: Outputs | None
    unlearned: dict[str, Outputs]
    targets: dict[str, Tensor]
    pictures: dict[str, Tensor] | None
    kind: str
    texts: list[str] | None = None
    people: list[str] | None = None
    untrained: Array | None = None

    @property
    def sizes(self) -> list[int]:
        """Rows in each group."""
        return [self.original[group].shape[1] for group in GROUPS]

    @property
    def second(self) -> Outputs:
        """The second group of oracles; the first, where there is no other."""
        return self.null or self.oracle

    @property
    def pool(self) -> Array:
        """Margins of all oracles on the rows of all groups."""
        first = self.margins(self.oracle)
        return Concat([first, self.margins(self.null)], 0) if self.null else first

    @cached_property
    def emptied(self) -> Tensor:
        """Classes of forgotten rows of which nothing is retained, int64.

        The evidence says so; else they are the classes that no retained row of it has.
        """
        if "emptied" in self.targets:
            return self.targets["emptied"]
        gone = self.targets["forget"].unique()
        return gone[~torch.isin(gone, self.targets["retain"])]

    def once(self, make: Callable[[Outputs, "Evidence"], T], file: Outputs) -> T:
        """`make(file, self)`, computed once for each file: what several metrics share."""
        key = make, id(file)
        if key not in self._made:
            self._made[key] = file, make(file, self)  # with the file, so that its id stays its own
        return self._made[key][1]

    @cached_property
    def _made(self) -> dict[Any, Any]:
        return {}

    def margins(self, file: Outputs, group: str | None = None) -> Array:
        """Margins of a file's models, float64, worked out where they are looked at.

        Args:
            file: one of those above.
            group: of rows; None for the rows of all groups side by side.
        """
        if group is None:
            return Concat([self.margins(file, one) for one in GROUPS], 1)
        kept = file.get(group + MARGIN, file[group])
        return LazyMargins(kept, self.targets.get(group), self.kind)


def read(folder: Path | str, kind: str, *, verify_manifest: bool, alone: bool = False) -> Evidence:
    """Check an evidence folder, and load what is small of it.

    Args:
        folder: where the arrays lie.
        kind: of the task: "classification", "regression" or any other word.
        verify_manifest: compare every file with `manifest.json`, which must then exist. Without
            it, arrays from any framework will do.
        alone: whether it may hold no method at all.

    Returns:
        The evidence.

    Raises:
        BadInput: a file is missing, unknown, damaged or not the one in the manifest; a tensor is
            missing, of a wrong shape or dtype, or not finite; a class is out of range.
    """
    folder = Path(folder)
    names = _names(folder, alone)
    promised = checksums(folder) if verify_manifest else None
    small = [name for name in ("targets", "pictures") if name in names]
    files = {
        name: _opened(folder / (name + SUFFIX), promised, _loaded if name in small else filed)
        for name in names
    }
    models = {name: f for name, f in files.items() if name not in (*small, "untrained")}
    check_models(models, kind)
    check_targets(files["targets"], models["original"], kind)
    if "untrained" in files:
        check_untrained(files["untrained"], models["original"])
    if "pictures" in files:
        check_pictures(files["pictures"], files["targets"])
    texts = None
    if (folder / TEXTS).is_file():
        texts = _texts(folder / TEXTS, promised)
        check_texts(texts, files["targets"])
    people = None
    if (folder / PEOPLE).is_file():
        people = _texts(folder / PEOPLE, promised)
        check_texts(people, files["targets"], "id")
    groups = {
        name: {key: file[key] for key in (*GROUPS, *MARGINS, "relearning") if key in file}
        for name, file in models.items()
    }
    return Evidence(
        original=groups["original"],
        oracle=groups["oracle"],
        null=groups.get("null"),
        unlearned={n.removeprefix(METHOD): groups[n] for n in names if n.startswith(METHOD)},
        targets=files["targets"],
        pictures=files.get("pictures"),
        kind=kind,
        texts=texts,
        people=people,
        untrained=files["untrained"]["forget"] if "untrained" in files else None,
    )


def _names(folder: Path, alone: bool) -> list[str]:
    if not folder.is_dir():
        raise BadInput(
            f"{folder} is not a folder",
            expected="a folder of .safetensors files",
            fix="give the folder, not one of its files",
        )
    names = [name.removesuffix(SUFFIX) for name in array_files(folder)]
    there = f"there: {', '.join(n + SUFFIX for n in names) or 'no .safetensors file'}"
    for needed in REQUIRED:
        if needed not in names:
            raise BadInput(
                f"{needed}{SUFFIX} is missing in {folder}",
                expected=f"at least {', '.join(REQUIRED)} and one {METHOD}<method> ({there})",
                fix="write the missing arrays, or give another folder",
            )
    if not alone and not any(name.startswith(METHOD) and name != METHOD for name in names):
        raise BadInput(
            f"{METHOD}<method>{SUFFIX} is missing in {folder}",
            expected=f"the outputs of at least one method ({there})",
            fix="write what the unlearned models say, one file a method",
        )
    known = (*REQUIRED, *OPTIONAL)
    for name in names:
        if name not in known and (not name.startswith(METHOD) or name == METHOD):
            raise BadInput(
                f"{name}{SUFFIX} in {folder} has no known name{nearest(name, [*known, METHOD])}",
                expected=f"{', '.join(known)} or {METHOD}<method>",
                fix="rename it or move it elsewhere, so that nothing is left out unseen",
            )
    return names


def _opened(path: Path, promised: dict[str, str] | None, how: Callable[[Path], Any]) -> Any:
    try:
        with _checked(path, promised):
            return how(path)
    except SafetensorError as error:
        raise BadInput(
            f"{path.name} is damaged ({error})",
            expected="a whole safetensors file",
            fix="write or fetch it again",
        ) from error


def _loaded(path: Path) -> dict[str, Tensor]:
    return load(path.read_bytes())


def _texts(path: Path, promised: dict[str, str] | None) -> Any:
    with _checked(path, promised):
        content = path.read_bytes()
    try:
        return json.loads(content)["forget"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{path.name} cannot be understood ({error!r})",
            expected='JSON: {"forget": ["one text", "a forgotten row"]}',
            fix="write it so, or leave the file out",
        ) from error


@contextmanager
def _checked(path: Path, promised: dict[str, str] | None) -> Iterator[None]:
    """Inside, a file is read that is the one whose checksum was looked at."""
    seen = stamp(path)
    if promised is not None and file_sha256(path) != promised[path.name]:
        raise BadInput(
            f"{path.name} has another SHA-256 than the manifest says",
            expected=promised[path.name],
            fix="fetch the file again; if it was changed on purpose, the evidence is void",
        )
    yield
    require_same(path, stamp(path), seen)
