"""Small invented evidence: arrays of random models, in memory and as a folder."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from expunge.audit.evidence.folder import Evidence, manifest, read

ROWS = {"forget": 8, "retain": 12, "test": 10}
CLASSES = 3


def targets(kind="classification") -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(1)
    made = {
        group: torch.randint(CLASSES, (rows,), generator=g)
        if kind == "classification"
        else torch.randn(rows, generator=g)
        for group, rows in ROWS.items()
    }
    return made | {
        "forget_rows": torch.arange(8),
        "retain_rows": torch.arange(20, 32),
        "test_rows": torch.arange(10),
    }


def outputs(members: int, seed: int, surer: float = 0.0, kind="classification"):
    """Outputs of models that are surer of the forget rows' truth by `surer`."""
    g = torch.Generator().manual_seed(seed)
    truth, made = targets(kind), {}
    for group, rows in ROWS.items():
        extra = surer if group == "forget" else 0.0
        if kind == "classification":
            noise = torch.randn(members, rows, CLASSES, generator=g)
            made[group] = noise + extra * torch.nn.functional.one_hot(truth[group], CLASSES)
        else:
            noise = torch.randn(members, rows, 1, generator=g)
            made[group] = truth[group].unsqueeze(-1) + noise / (1 + extra)
    return made


def files(kind="classification", members=12, methods=("dmm",)) -> dict[str, dict[str, Tensor]]:
    made = {
        "original": outputs(members, 2, 6.0, kind),
        "oracle": outputs(members, 3, kind=kind),
        "null": outputs(members, 4, kind=kind),
        "targets": targets(kind),
        "pictures": {"forget": torch.zeros(8, 5, 5, dtype=torch.uint8)},
    }
    return made | {f"unlearned-{name}": outputs(members, 5, kind=kind) for name in methods}


def write(folder: Path, made: dict[str, dict[str, Tensor]], sealed=True) -> Path:
    for name, tensors in made.items():
        save_file(tensors, folder / f"{name}.safetensors")
    if sealed:
        (folder / "manifest.json").write_text(json.dumps(manifest(folder)))
    return folder


def evidence(folder: Path, kind="classification", **given) -> Evidence:
    return read(write(folder, files(kind, **given)), kind, verify_manifest=True)


def declared(methods=("dmm",), kind="classification", **method):
    stated = {
        "claim": "approximate",
        "claim_detail": {},
        "changed": 0.5,
        "reason": "",
        "settings": {"lr": 1e-3},
        "cost": {"row_units": 10, "seconds": 0.5},
        "shared_cost": None,
    }
    return {
        "problem": {"kind": kind, "judged_on": "test", "duplicates": [], "name": "invented"},
        "run": {"seed": 0},
        "methods": {name: stated | method for name in methods},
    }
