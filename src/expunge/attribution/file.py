"""A file of half-data models: fitted once, carried elsewhere, used for any later forget set.

It is a zip of what the store holds of them (the recipe as it was recognised, the fit with the rows
that were present, the blocks of outputs) and `about.json` for people. Reading it puts these back
into a store, one at a time, where `fit` then finds them by what they are; so nothing is trusted
that the store would not trust, and memory holds one block.
"""

import json
import re
import struct
import zlib
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile, ZipInfo

from expunge import store
from expunge.attribution.fit import Fit, find, fit
from expunge.errors import BadInput, first_line
from expunge.training.model_cache import ModelCache

MEMBER = re.compile(r"(recipes|attributions|outputs)/[0-9a-f]+\.(json|safetensors)")
ABOUT, SCHEMA = "about.json", "expunge.attribution/1"
DAMAGED = (  # what zipfile raises; the last two where it thinks of a method or a password
    *(BadZipFile, KeyError, TypeError, AttributeError, ValueError, EOFError, OSError, struct.error),
    *(zlib.error, NotImplementedError, RuntimeError),
)


def write(path: Path, cache: ModelCache, made: Fit, kind: str) -> None:
    """Write the file in one piece; it replaces an older one.

    Args:
        path: the file.
        cache: whose store holds the half-data models.
        made: which they are.
        kind: the attribution that requests with this file use.

    Raises:
        BadInput: a folder that cannot be written.
    """
    key = find(cache, made.count)
    assert key is not None, "made a moment ago"
    kept = cache.kept(key)
    keys = [f"recipes/{cache.recipe_id}", key, *kept.facts["keys"]]
    halves = made.halves
    about = {
        "schema": SCHEMA,
        "problem": cache.problem.name,
        "kind": kind,
        "half_data_models": made.count,
        "rows_present": int(halves.present.sum()),
        "outputs": {name: list(shape) for name, shape in halves.splits.items()},
        "units": "outputs as the model says them (logits, or a regression value)",
        "fit": key,
        **{name: kept.facts[name] for name in ("recipe", "seed", "eval_data_hash", "cost")},
    }
    with store.writing(path) as file, ZipFile(file, "w") as packed:
        packed.writestr(_named(ABOUT), json.dumps(about, indent=2))
        for file_key in keys:
            cache.kept(file_key)  # damage must not travel
            for ending in ("safetensors", "json"):
                name = f"{file_key}.{ending}"
                packed.writestr(_named(name), (cache.runtime.store.root / name).read_bytes())


def read(path: Path, cache: ModelCache) -> tuple[Fit, str]:
    """The half-data models of a file, for the problem at hand, and by which kind they predict.

    Raises:
        BadInput: no such file, another kind of file, a damaged one; one that was fitted with
            another recipe, other rows or other data to judge on.
    """
    about = _unpack(path, cache.runtime.store)
    if find(cache, about["half_data_models"]) is None:
        raise BadInput(
            f"{path} does not belong to this problem: {_difference(about, cache)}",
            expected="an attribution fitted with the same recipe, data and seed, whose rows "
            "include those present now",
            fix="fit it again with `expunge attribute`",
        )
    return fit(cache, about["half_data_models"]), about["kind"]


def _named(name: str) -> ZipInfo:
    """A file of the zip, without its time: the same models make the same bytes on any day."""
    entry = ZipInfo(name)
    entry.external_attr = 0o644 << 16  # else whoever unpacks it cannot read it
    return entry


def _unpack(path: Path, target: store.Store) -> dict[str, Any]:
    if not path.is_file():
        raise BadInput(
            f"there is no file {path}",
            expected="a file of `expunge attribute`, or the name of an attribution",
            fix="check the path",
        )
    try:
        with ZipFile(path) as packed:
            about = json.loads(packed.read(ABOUT))
            known = {"schema", "half_data_models", "recipe", "eval_data_hash", "seed", "kind"}
            if not known <= about.keys() or about["schema"] != SCHEMA:
                raise ValueError("its about.json is of another kind")
            for name in packed.namelist():
                place = target.root / name
                # nothing else may get into a store by this way, least of all models
                if MEMBER.fullmatch(name) and not place.exists():
                    store.write_bytes(place, packed.read(name))  # checked by its CRC
    except BadInput:  # the store cannot be written
        raise
    except DAMAGED as error:
        raise BadInput(
            f"{path} is no attribution, or it is damaged ({first_line(error)})",
            expected="a file that `expunge attribute` wrote",
            fix="copy it again, or fit it again",
        ) from error
    return about


def _difference(about: dict[str, Any], cache: ModelCache) -> str:
    """The first fact that differs, in words."""
    if about["recipe"] != cache.recipe_id:
        return "another recipe, that is another model, optimizer, schedule or number of epochs"
    if about["eval_data_hash"] != cache.eval_data_hash:
        return "other validation or test rows"
    if about["seed"] != cache.runtime.seed:
        return f"seed {about['seed']}, and {cache.runtime.seed} is asked for"
    return "other train rows: some that are present now were not, or had another content"
