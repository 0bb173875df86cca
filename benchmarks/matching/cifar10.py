"""Datamodel Matching on CIFAR-10 with ResNet-9 and published forget sets: the config and claims.

On both sets, doing nothing scores 9 to 10 on the forgotten rows in the public figure. On 5 no
method without attribution moves that; on 7 descent and ascent come furthest (about 3). So 7 is the
hardest for the claims, and 5 is the largest. Settings are the published ones and moderate others; a
second group of retrained models chooses. Claims, on each set: KLoM (mean of the three 95th
percentiles) of dmm is at most that of the best trial of any method without attribution; that of
oracle matching is at most dmm's; the cost of dmm is at most 0.05 of a retraining. KLoM in the
paper's convention is beside ours.
"""

import json
from pathlib import Path
from typing import Any

from benchmarks import grid
from benchmarks.grid import Content
from benchmarks.matching import klom
from benchmarks.matching.rivals import ALONE
from expunge import store

SETS, TRIAL_SETS = [5, 7], [7]
QUICK = {"gradient-ascent", "oracle-matching", "dmm"}
TRIAL = {*QUICK, "scrub", "dm-direct"}
SMALL = {
    **{"epochs": 1, "ascent_epochs": 1, "samples": 20, "iterations": 1, "steps": 5},
    **{"batch_size": 32, "forget_batch_size": 8, "retain_batch_size": 8},
}
ATTRIBUTION = "linearised:samples=20,iterations=1"
FACTS = ("measured", "attribution", "device", "precision")


def asked(flags: Any, config: Content) -> Content:
    """The config that is run."""
    sets = flags.sets or (TRIAL_SETS if flags.rows else SETS)
    members = flags.members or (50 if flags.quick else 1 if flags.rows else 100)
    options = {"precision": flags.precision or "fp32", "published": sets}
    config |= {"members": members, "forget": [published(n) for n in sets]}
    if flags.half_models:
        (like,) = [e for e in config["method"] if e.get("label") == ALONE]
        config["half_models"] = flags.half_models
        config["method"] += [halved(like, kind) for kind in ("combined", "datamodels")]
    if flags.quick:
        forget = [
            {"name": "one way to write a seven", "kind": "principal", "label": 7, "count": 30}
        ]
        config["method"] = [e for e in config["method"] if e["name"] in QUICK]
        return small({**config, "problem": "digits", "options": {}, "forget": forget})
    if flags.rows:
        few = [e for e in config["method"] if e["name"] in TRIAL]
        config["method"] = [e for e in few if "defaults" not in e.get("label", "")]
        return small({**config, "options": {**options, "rows": flags.rows, "epochs": 2}})
    return {**config, "options": options}


def published(number: int) -> dict[str, Any]:
    """A published set as a config has it."""
    path = f"cifar10/forget_sets/{number}.npy"
    return {"name": f"published set {number}", "kind": "file", "path": path}


def halved(like: dict, kind: str) -> dict[str, Any]:
    """A contestant like another, with an attribution that is made from half-data models."""
    return {**like, "label": f"dmm, {kind}", "settings": {**like["settings"], "attribution": kind}}


def small(config: Content) -> Content:
    """The first value of each list, few steps, few judged rows, and little curvature."""
    methods = []
    for entry in config["method"]:
        first = {
            key: SMALL.get(key, value[0] if isinstance(value, list) else value)
            for key, value in entry.get("settings", {}).items()
        }
        if first.get("attribution") == "linearised":
            first["attribution"] = ATTRIBUTION
        methods.append({**entry, "settings": first})
    untuned = {key: value for key, value in config.items() if key != "tuning"}
    return {**untuned, "method": methods, "judged_rows": 100}


def judged(flags: Any, content: Content) -> tuple[list[dict], Content]:
    """The claims, and facts beside them; klom.md contains the tables."""
    folder: Path = flags.out.with_suffix("")
    if flags.plot:  # the evidence may not be here
        old = json.loads(flags.out.read_text())
        facts = {key: old[key] for key in FACTS}
    else:
        found = klom.records(content, folder), attributions(content, flags.quick)
        facts = dict(zip(FACTS, (*found, flags.device, flags.precision or "fp32"), strict=True))
    names = grid.names(content)
    tables = [klom.table(facts["measured"], name) for name in names]
    text = "\n".join([*tables, klom.NOTE])
    store.write_bytes(folder / "klom.md", text.encode())
    print(text)
    claims = [c for name in names for c in klom.claims(facts["measured"], name)]
    return claims, {"members": content["config"]["members"], "seeds": [0], **facts}


def attributions(content: Content, quick: bool) -> Content:
    """By forget set and label, what predicting the change costs one model, as audit.json has it."""
    base = grid.trained(content, quick)
    found: Content = {name: {} for name in grid.names(content)}
    for cell in content["cells"]:
        name, label, settings = cell["forget_set"], cell["method"], cell["settings"]
        if cell["rules"] and "attribution" in settings:
            found[name][label] = grid.attribution(content, name, base, label, settings)
    return found
