"""KLoM with its jackknife of 2,000 and 2,000 models on 12,000 rows, read piece by piece.

Each side's outputs (12,000 rows x 10 logits in float32) are a file of 0.96 GB, as in an evidence
folder. `streamed` judges the files as `expunge audit` does; `one_shot` loads both files, makes all
margins, and leaves blocks of models out of whole tables. Both must give the same bits. Not in it:
the null's 200 splits, which stream in the same way and take ten times as long. Each piece runs in a
process of its own, with one thread; working memory is beyond imports.

Run: python -m benchmarks.scale.klom_streaming (seven minutes and 2 GB of disk; needs Linux).
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from benchmarks import measured, result
from expunge.audit.evidence import chunks as pieces
from expunge.audit.evidence.groups import GROUPS
from expunge.audit.evidence.margin import margins
from expunge.audit.evidence.tensor_file import filed
from expunge.audit.evidence.views import Concat, LazyMargins
from expunge.audit.metrics.klom_table import klom_table
from expunge.store.streaming_writer import streaming_writer

FULL = {"models": 2000, "forget": 1000, "retain": 9000, "test": 2000, "classes": 10, "times": 3}
QUICK = {"models": 60, "forget": 50, "retain": 300, "test": 100, "classes": 3, "times": 1}
SIDES = ("unlearned", "oracle")
GROUP = 50
CEILING = 1024  # MiB


def repeat(folder: Path, size: dict[str, int]) -> dict[str, Any]:
    """One run of both."""
    if not (folder / "size.json").exists():
        invent(folder, size)
    return {part: measured.alone(part, folder) for part in PARTS}


def invent(folder: Path, size: dict[str, int]) -> None:
    """Outputs of both sides, the unlearned models a little surer of the forgotten rows."""
    (folder / "size.json").write_text(json.dumps(size))
    generator = torch.Generator().manual_seed(0)
    truth = {g: torch.randint(size["classes"], (size[g],), generator=generator) for g in GROUPS}
    torch.save(truth, folder / "truth.pt")
    for side in SIDES:
        surer = {"forget": 0.3 if side == "unlearned" else 0.0}
        like = {g: torch.empty(0, size[g], size["classes"]) for g in GROUPS}
        with streaming_writer(folder / side, like, size["models"]) as append:
            for start in range(0, size["models"], GROUP):
                count = min(GROUP, size["models"] - start)
                append(
                    {
                        g: torch.randn(count, size[g], size["classes"], generator=generator)
                        + (2 + surer.get(g, 0.0)) * torch.nn.functional.one_hot(y, size["classes"])
                        for g, y in truth.items()
                    }
                )


def streamed(folder: Path) -> dict[str, Any]:
    truth = torch.load(folder / "truth.pt")
    sides = []
    for side in SIDES:
        files = filed(folder / side)
        sides.append(Concat([LazyMargins(files[g], truth[g], "classification") for g in GROUPS], 1))
    return {"table": klom_table(*sides, sizes(truth))}


def one_shot(folder: Path) -> dict[str, Any]:
    truth = torch.load(folder / "truth.pt")
    files = [load_file(folder / side) for side in SIDES]
    sides = [
        torch.cat([margins(file[g], truth[g], "classification") for g in GROUPS], dim=1)
        for file in files
    ]
    pieces.NUMBERS = 1 << 62  # from here on everything is one piece
    return {"table": klom_table(*sides, sizes(truth))}


def sizes(truth: dict[str, torch.Tensor]) -> list[int]:
    return [len(truth[group]) for group in GROUPS]


def claims(runs: list[dict[str, Any]]) -> list[dict]:
    ours, whole = ([run[part] for run in runs] for part in ("streamed", "one_shot"))
    apart = sum(a["table"] != b["table"] for a, b in zip(ours, whole, strict=True))
    seconds = [a["seconds"] / b["seconds"] for a, b in zip(ours, whole, strict=True)]
    memory = [a["mib"] / b["mib"] for a, b in zip(ours, whole, strict=True)]
    return [
        measured.peak_claim(
            "working memory of KLoM and its jackknife, MiB", [a["mib"] for a in ours], CEILING
        ),
        result.claim("runs in which a bit differs from the one-shot computation", apart, 0.5),
        measured.claim("working memory, of the one-shot computation's", memory, 0.5),
        measured.claim("seconds, of the one-shot computation's", seconds, 1.0),
    ]


PARTS = {f.__name__: f for f in (streamed, one_shot)}

if __name__ == "__main__":
    measured.main("klom_streaming", PARTS, (FULL, QUICK), repeat, claims)
