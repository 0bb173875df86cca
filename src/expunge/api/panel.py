"""The panel: the fixed rows on which models are judged, and their outputs there."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from expunge import store
from expunge.audit.evidence import manifest
from expunge.data import Data, fingerprints, walk
from expunge.ensemble import Models
from expunge.problem import Problem
from expunge.rng import Draws

LARGEST = 2000  # rows of retain and of test that are judged; all forgotten rows always are


@dataclass(frozen=True)
class Panel:
    """Row numbers judged, by group; "test" rows are of the problem's `judge` data."""

    rows: dict[str, Tensor]

    @classmethod
    def of(cls, problem: Problem) -> "Panel":
        """All forgotten rows and a fixed sample of the retained and the test rows."""
        test = torch.arange(len(problem.judge))
        draws = Draws((0, "panel"))
        return cls(
            {
                "forget": problem.forget,
                "retain": _sample(problem.retain, draws.at("retain")),
                "test": _sample(test, draws.at("test")),
            }
        )

    def data(self, problem: Problem, group: str) -> Data:
        """The data that a group's rows are of."""
        return problem.judge if group == "test" else problem.train

    def outputs(self, problem: Problem, models: Models) -> dict[str, Tensor]:
        """Outputs by group, (members, rows, C)."""
        return {
            group: models.outputs(problem.task, self.data(problem, group), rows)
            for group, rows in self.rows.items()
        }

    def digest(self, problem: Problem) -> str:
        """The SHA-256 of the row numbers and of what the rows hold."""
        content = {
            f"content of {group}": fingerprints(self.data(problem, group), rows)
            for group, rows in self.rows.items()
        }
        return store.digest({**self.rows, **content})

    def targets(self, problem: Problem) -> dict[str, Tensor]:
        """Targets by group, (rows,), and the row numbers as `<group>_rows`."""
        found = {f"{group}_rows": rows for group, rows in self.rows.items()}
        for group, rows in self.rows.items():
            batches = self.data(problem, group).batches(walk(rows))
            found[group] = torch.cat([batch.targets.cpu() for batch in batches])
        return found


def write_evidence(
    folder: Path,
    outputs: Mapping[str, Mapping[str, Tensor]],
    targets: Mapping[str, Tensor],
    pictures: Tensor | None = None,
) -> None:
    """Write an evidence folder, its manifest last; arrays of an earlier run there are removed.

    Args:
        folder: made if missing.
        outputs: file name without ending ("original", "oracle", "null", "unlearned-<method>")
            -> group -> (members, rows, C).
        targets: as `Panel.targets` gives them.
        pictures: of the forgotten rows, uint8, (rows, H, W) or (rows, H, W, 3).
    """
    files: dict[str, Mapping[str, Tensor]] = {**outputs, "targets": targets}
    if pictures is not None:
        files["pictures"] = {"forget": pictures}
    for name, tensors in files.items():
        store.write_tensors(folder / f"{name}.safetensors", tensors)
    (folder / "manifest.json").unlink(missing_ok=True)
    for old in folder.glob("*.safetensors"):
        if old.stem not in files:
            old.unlink()
    store.write_json(folder / "manifest.json", manifest(folder))


def _sample(rows: Tensor, draws: Draws) -> Tensor:
    if len(rows) <= LARGEST:
        return rows
    return rows[draws.permutation(len(rows))[:LARGEST]].sort().values
