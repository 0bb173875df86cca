"""Small invented audits: documents of the shape of audit.json, and evidence to go with them."""

import copy
from typing import Any

import torch

from expunge.audit.evidence.folder import Evidence

GROUPS = ("forget", "retain", "test")
NULL = {"forget": 0.66, "retain": 0.65, "test": 0.64}
ORIGINAL = {"forget": 10.2, "retain": 1.9, "test": 3.1}
HALF_DATA = {
    "what": "1,000 half-data models",
    "row_units": 9.9e9,
    "relative_to_retrain": 500.0,
    "requests_to_pay": 501,
}
TEACHERS = {
    "what": "100 teachers",
    "row_units": 2.0e9,
    "relative_to_retrain": 100.0,
    "requests_to_pay": None,
}
# name: claim, KLoM of forget, retain, test, cost in retrainings, verdict, prepared beforehand
METHODS: dict[str, tuple] = {
    "retrain": ("exact", (0.70, 0.71, 0.69), 1.0, "supported", None),
    "oracle-matching": ("approximate", (0.8, 1.1, 0.8), 0.2, "supported", TEACHERS),
    "dmm": ("approximate", (1.6, 1.7, 1.3), 0.2, "inconclusive", HALF_DATA),
    "dm-direct": ("outputs only", (1.2, 0.9, 0.9), 0.0, "supported", HALF_DATA),
    "fine-tune": ("approximate", (8.0, 1.5, 2.5), 0.25, "not supported", None),
    "gradient-ascent": ("approximate", (6.0, 5.0, 5.1), 0.01, "not supported", None),
    "ascent-descent": ("approximate", (5.2, 4.1, 4.0), 0.21, "not supported", None),
    "random-label": ("approximate", (5.0, 5.1, 4.9), 0.05, "not supported", None),
}


def cells(values, name="klom", half=0.12) -> dict[str, Any]:
    statistic = {"klom": "p95", "distance": "rms"}[name]
    table: dict[str, Any] = {
        group: {
            statistic: value,
            "mean": 0.5 * value,
            "se": half / 2,
            "interval": [value - half, value + half],
        }
        for group, value in zip(GROUPS, values, strict=True)
    }
    if name == "klom":
        mean = sum(values) / 3
        table |= {"average_p95": mean, "average_interval": [mean - 0.8 * half, mean + 0.8 * half]}
    return table


def accuracy(forget, retain=0.999, test=0.953) -> dict[str, Any]:
    sd = {"forget": 0.02, "retain": 0.001, "test": 0.004}
    return {"forget": forget, "retain": retain, "test": test, "sd": sd}


def method(claim, values, cost, verdict, prepared, name="klom") -> dict[str, Any]:
    entry: dict[str, Any] = {"klom": None, "distance": None, "accuracy": accuracy(0.81)}
    entry |= {
        name: cells(values, name),
        "cost": {
            "forward_rows": 120_000 * cost,
            "backward_rows": 110_000 * cost,
            "row_units": 340_000 * cost,
            "seconds": 14.2 * cost,
            "relative_to_retrain": cost,
        },
        "shared_cost": copy.deepcopy(prepared),
        "claim": claim,
        "claim_detail": {},
        "changed": 0.0 if claim == "outputs only" else 0.31,
        "reason": "the weights stay as they are; a table of changes is added to the outputs"
        if claim == "outputs only"
        else "",
        "settings": {"lr": 0.001, "epochs": 4},
        "models_used": 100 if name == "klom" else None,
        "verdict": verdict,
        "verdict_metric": name,
        "verdict_reasons": [f"forget: {values[0]} against a limit of 1.66"],
        "overshoot": False,
    }
    return entry


def document(names=tuple(METHODS), **problem) -> dict[str, Any]:
    """An audit of several methods by KLoM, 100 models on each side."""
    return {
        "schema": "expunge.audit/1",
        "problem": {
            "name": "Digits, a cluster of sevens",
            "kind": "classification",
            "rows": 1437,
            "forget_rows": 40,
            "judged_on": "test",
            "members": 100,
            "duplicates": [17, 903],
            "forgotten_before": 0,
            "description": "Handwritten digits; one contributor withdrew consent.",
        }
        | problem,
        "run": {
            "command": "expunge demo --seed 0 --out digits-sevens",
            "seed": 0,
            "versions": {"expunge": "0.1.0", "python": "3.11.2", "torch": "2.13.0"},
            "machine": "x86_64, 2 cores",
            "date": "2026-01-14T10:12:00+00:00",
            "digests": {"data": "3f5a" * 16, "evidence": "90cc" * 16},
            "seconds": 812.4,
        },
        "groups": {
            "rows": {"forget": 40, "retain": 400, "test": 360},
            "models": {
                "original": 100,
                "oracle": 100,
                "null": 100,
                "unlearned": dict.fromkeys(names, 100),
            },
            "models_used": 100,
        },
        "settings": {
            "bins": 20,
            "floor": 1e-5,
            "delta": {"klom": 1.0, "distance": 0.7},
            "splits": 20,
            "blocks": 10,
        },
        "null": {
            "klom": cells(list(NULL.values()), half=0.06),
            "distance": None,
            "accuracy": accuracy(0.79),
        },
        "original": {
            "klom": cells(list(ORIGINAL.values()), half=0.2),
            "distance": None,
            "accuracy": accuracy(1.0),
        },
        "methods": {name: method(*METHODS[name]) for name in names},
        "not_measured": {"distance": "KLoM was measured; distance is for a single model"},
    }


def single(verdict="supported", values=(1.3, 1.2, 1.1)) -> dict[str, Any]:
    """An audit of one unlearned model by distance, against 20 oracles."""
    made = document((), members=1)
    made["methods"] = {
        "dmm": method("approximate", values, 0.2, verdict, None, name="distance"),
    }
    made["groups"]["models"] = {
        "original": 1,
        "oracle": 20,
        "null": 0,
        "unlearned": {"dmm": 1},
    }
    made["null"] |= {"klom": None, "distance": cells((1.1, 1.1, 1.0), "distance", 0.3)}
    made["original"] |= {"klom": None, "distance": cells((5.6, 1.3, 1.4), "distance", 0.3)}
    made["not_measured"] = {"klom": "it needs at least 50 models on each side; there was 1"}
    return made


def regression() -> dict[str, Any]:
    """An audit of one method where targets are numbers: `error` stands for `accuracy`."""
    made = document(("oracle-matching",), kind="regression")
    for entry in (made["null"], made["original"], made["methods"]["oracle-matching"]):
        entry["error"] = {"forget": 3.1, "retain": 1.2, "test": 2.4, "sd": None}
        del entry["accuracy"]
    return made


def unmeasured() -> dict[str, Any]:
    """An audit in which nothing could be measured, with a verdict that must not be shown."""
    made = document(("fine-tune",))
    for entry in (made["null"], made["original"], made["methods"]["fine-tune"]):
        entry |= {"klom": None, "distance": None, "accuracy": None}
    made["methods"]["fine-tune"] |= {"verdict": "supported", "verdict_metric": None}
    why = "there were no oracles"
    made["not_measured"] = {"klom": why, "distance": why, "accuracy": why}
    return made


def evidence(names=tuple(METHODS), members=100, rows=40, pictures=True, kind="classification"):
    """Margins such that each method stands where its KLoM in METHODS says, roughly."""
    generator = torch.Generator().manual_seed(0)

    def sample(models: int, shift: float, count: int, centre: torch.Tensor) -> torch.Tensor:
        return centre + shift + torch.randn(models, count, generator=generator)

    sizes = {"forget": rows, "retain": 60, "test": 50}
    centres = {g: torch.randn(n, generator=generator) * 2 + 3 for g, n in sizes.items()}

    def models(count: int, shifts: dict[str, float]) -> dict[str, torch.Tensor]:
        return {g: sample(count, shifts[g], sizes[g], centres[g]) for g in GROUPS}

    def shifts(values) -> dict[str, float]:
        return dict(zip(GROUPS, (0.5 * v - 0.35 for v in values), strict=True))

    none = dict.fromkeys(GROUPS, 0.0)
    labels = {g: torch.arange(n) % 10 for g, n in sizes.items()}
    if kind == "regression":
        labels = {g: label / 3 for g, label in labels.items()}
    drawn = torch.randint(0, 256, (rows, 8, 8), dtype=torch.uint8, generator=generator)
    return Evidence(
        original=models(members, shifts(ORIGINAL.values())),
        oracle=models(max(members, 20), none),
        null=None,
        unlearned={name: models(members, shifts(METHODS[name][1])) for name in names},
        targets={
            **labels,
            "forget_rows": 7 * torch.arange(rows) + 100,
            "retain_rows": torch.arange(sizes["retain"]),
        },
        pictures={"forget": drawn} if pictures else None,
        kind=kind,
    )
