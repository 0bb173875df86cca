"""The panel: the fixed rows on which models are judged, and their outputs there."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from expunge import store
from expunge.audit.evidence.folder import manifest
from expunge.audit.evidence.groups import MARGIN
from expunge.audit.evidence.manifest import PEOPLE, TEXTS, checksums
from expunge.audit.evidence.validate import check_pictures, check_texts
from expunge.data import Data, walk
from expunge.data.fingerprints import fingerprints
from expunge.engine.answers import answers
from expunge.engine.ensemble import Ensemble, Models
from expunge.errors import BadInput
from expunge.probes.relearn import relearn
from expunge.problem import Problem
from expunge.rng import Draws
from expunge.store.disk import writable
from expunge.store.streaming_writer import streaming_writer
from expunge.training.from_recipe import untrained
from expunge.training.model_cache import ModelCache

VERSION = 2  # of what `read` gives: the store keeps it under another name when it changes
LARGEST = 2000  # rows of retain and of test that are judged; all forgotten rows always are


@dataclass(frozen=True)
class Panel:
    """Row numbers judged, by group; "test" rows are of the problem's `judge` data."""

    rows: dict[str, Tensor]
    relearning: int = 0  # epochs of the relearning probe; 0: it is not made
    _digested: list[Any] = field(default_factory=lambda: [None, ""], compare=False, repr=False)

    @classmethod
    def of(
        cls,
        problem: Problem,
        largest: int = LARGEST,
        *,
        validation: bool = False,
        relearning: int = 0,
    ) -> "Panel":
        """All forgotten rows and a fixed sample of the retained and the test rows.

        Args:
            problem: with rows to forget.
            largest: rows of retain, of test and of validation at most.
            validation: judge a sample of the validation rows as a group of its own, too.
            relearning: epochs of the relearning probe.
        """
        draws = Draws((0, "panel"))
        rows = {
            "forget": problem.forget,
            "retain": _sample(problem.retain, largest, draws.at("retain")),
            "test": _sample(torch.arange(len(problem.judge)), largest, draws.at("test")),
        }
        if validation:
            every = torch.arange(len(problem.validation))
            rows["validation"] = _sample(every, largest, draws.at("validation"))
        return cls(rows, relearning)

    def data(self, problem: Problem, group: str) -> Data:
        """The data that a group's rows are of."""
        judge = "validation" if problem.test is None else "test"
        split = {"test": judge, "validation": "validation"}.get(group, "train")
        return problem.served(split)

    def answers(self, problem: Problem, models: Models) -> dict[str, Tensor]:
        """By group answers (members, rows, K); as `<group>.margin` margins (members, rows)."""
        found = {}
        for group, rows in self.rows.items():
            data = self.data(problem, group)
            outputs = models.outputs(problem.task, data, rows)
            found[group], found[group + MARGIN] = answers(problem.task, data, rows, outputs)
        return found

    def read(self, problem: Problem, models: Models, seed: int) -> dict[str, Tensor]:
        """The answers, and as "relearning" the curves of the probe, (members, epochs + 1).

        Models whose weights stay (shifted outputs) have no curves.
        """
        found = self.answers(problem, models)
        if self.relearning and isinstance(models, Ensemble):
            found["relearning"] = relearn(problem, models, seed=seed, epochs=self.relearning)
        return found

    def digest(self, cache: ModelCache) -> str:
        """The SHA-256 of the row numbers and of what the rows hold.

        It is computed once a cache: train rows have their hashes there, others are read here.
        """
        known, digest = self._digested
        if known is cache:
            return digest
        problem = cache.problem
        content = {
            f"content of {group}": cache.content[rows]
            if self.data(problem, group) is problem.train
            else fingerprints(self.data(problem, group), rows)
            for group, rows in self.rows.items()
        }
        more = {"version": torch.tensor(VERSION), "relearning": torch.tensor(self.relearning)}
        self._digested[:] = cache, store.digest({**self.rows, **content, **more})
        return self._digested[1]

    def targets(self, problem: Problem) -> dict[str, Tensor]:
        """Targets by group, rows first, and the row numbers as `<group>_rows`.

        A group whose targets are no tensors, as those of an unlabelled task, has none.
        """
        found = {f"{group}_rows": rows for group, rows in self.rows.items()}
        for group, rows in self.rows.items():
            batches = self.data(problem, group).batches(walk(rows))
            targets = [batch.targets for batch in batches]
            if all(isinstance(part, Tensor) for part in targets):
                found[group] = torch.cat([part.cpu() for part in targets])
        if problem.task.kind == "classification" and {"forget", "retain"} <= found.keys():
            found["emptied"] = _emptied(problem, found["forget"], found["retain"])
        return found

    def untrained(self, cache: ModelCache) -> Tensor | None:
        """Answers of one untrained model on the forgotten rows; None where none can be made."""
        problem, rows = cache.problem, self.rows["forget"]
        if not problem.training.ensembles:
            return None
        try:
            module = untrained(problem, cache.template, Draws((0, "untrained")).seeds()[0])
        except BadInput:  # a Trainer whose layers cannot be drawn again
            return None
        models = Ensemble.of(module).to(cache.runtime.device)
        outputs = models.outputs(problem.task, problem.served(), rows)
        return answers(problem.task, problem.served(), rows, outputs)[0]


def _emptied(problem: Problem, forget: Tensor, retain: Tensor) -> Tensor:
    """Classes of forgotten rows of which nothing is retained, int64.

    Args:
        problem: a classification.
        forget: classes of the forgotten rows.
        retain: classes of some retained rows; the others are read only while a class is missing.
    """
    gone = forget.unique()
    gone = gone[~torch.isin(gone, retain)]
    batches = iter(problem.train.batches(walk(problem.retain)))
    while len(gone) and (batch := next(batches, None)) is not None:
        gone = gone[~torch.isin(gone, batch.targets.cpu())]
    return gone


def write_evidence(
    folder: Path,
    outputs: Mapping[str, Sequence[Mapping[str, Tensor]]],
    targets: Mapping[str, Tensor],
    pictures: Tensor | None = None,
    texts: Sequence[str] | None = None,
    people: Sequence[str] | None = None,
    untrained: Tensor | None = None,
) -> None:
    """Write an evidence folder with its manifest, block by block.

    Args:
        folder: made if missing; evidence of an earlier run there is replaced as a whole.
        outputs: file name without ending ("original", "oracle", "null", "unlearned-<method>")
            -> blocks of models, of one size but for the last -> tensors, as `Panel.read` gives.
        targets: as `Panel.targets` gives them.
        pictures: of the forgotten rows, uint8, (rows, H, W) or (rows, H, W, 3).
        texts: of the forgotten rows, one a row.
        people: the forgotten rows' ids, as `published_ids` returns them.
        untrained: answers of one untrained model on the forgotten rows, (1, rows, K).
    """
    files: dict[str, Mapping[str, Tensor]] = {"targets": targets}
    if pictures is not None:
        files["pictures"] = {"forget": pictures}
    if untrained is not None:
        files["untrained"] = {"forget": untrained}
    with swapped(folder) as fresh:
        for name, blocks in outputs.items():
            with streaming_writer(fresh / f"{name}.safetensors", *_layout(blocks)) as append:
                for block in blocks:
                    append(_kept(block))
        for name, tensors in files.items():
            store.write_tensors(fresh / f"{name}.safetensors", tensors)
        for name, listed in ((TEXTS, texts), (PEOPLE, people)):
            if listed is not None:
                content = json.dumps({"forget": list(listed)}, indent=0, ensure_ascii=False)
                store.write_bytes(fresh / name, content.encode())


def _kept(block: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a block that evidence holds; validation rows are no evidence."""
    return {name: t for name, t in block.items() if not name.startswith("validation")}


def _layout(blocks: Sequence[Mapping[str, Tensor]]) -> tuple[dict[str, Tensor], int]:
    """Empty tensors as those of a block, and the models of all blocks."""
    first, last = _kept(blocks[0]), blocks[-1]
    count = (len(blocks) - 1) * len(first["forget"]) + len(last["forget"])
    return {name: values.new_empty(0, *values.shape[1:]) for name, values in first.items()}, count


@contextmanager
def swapped(folder: Path) -> Iterator[Path]:
    """A fresh folder to write arrays into; with its manifest it then replaces `folder`."""
    fresh = folder.with_name(f".{folder.name}-partial")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        yield fresh
        store.write_json(fresh / "manifest.json", manifest(fresh))
        with writable(folder, "replace"):
            if folder.exists():
                shutil.rmtree(folder)
            fresh.rename(folder)
    finally:  # what could not be finished takes no room
        shutil.rmtree(fresh, ignore_errors=True)


def require_shown(problem: Problem, pictures: Tensor | None, texts: Sequence[str] | None) -> None:
    """Raise BadInput unless pictures and texts are those of so many forgotten rows."""
    if pictures is not None:
        check_pictures({"forget": pictures}, {"forget_rows": problem.forget})
    if texts is not None:
        check_texts(
            texts if isinstance(texts, str) else list(texts), {"forget_rows": problem.forget}
        )


def require_place(out: Path) -> None:
    """Raise BadInput unless results can be written to `out` without touching anybody's files.

    Evidence of an earlier run may be there, and is replaced; it is known by its manifest.
    """
    store.require_writable(out)
    folder = out / "evidence"
    present = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    listed = {"manifest.json"}
    if "manifest.json" in present:
        listed |= set(checksums(folder))
    if present - listed:
        raise BadInput(
            f"{folder} holds {sorted(present - listed)[0]}, which no run of expunge wrote there",
            expected="an empty folder, or one with the results of an earlier run",
            fix="choose another folder for the results",
        )


def _sample(rows: Tensor, largest: int, draws: Draws) -> Tensor:
    if len(rows) <= largest:
        return rows
    return rows[draws.permutation(len(rows))[:largest]].sort().values
