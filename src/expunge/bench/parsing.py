"""The TOML file of a benchmark, checked before anything is made."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from expunge.audit.metrics.distance import MIN_ORACLES
from expunge.bench.config import RULES, SECOND, Candidate, Config, ForgetSet, Stopping, Tuning
from expunge.bench.content import ORACLE, ORIGINAL, RETRAIN
from expunge.bench.scores import columns
from expunge.errors import BadInput, nearest
from expunge.forget_sets import FORGET_SETS

FIGURES = ("frontier", "shares", "spread")
TYPES = {
    **dict.fromkeys(("name", "problem"), str),
    **dict.fromkeys(("seeds", "metrics", "figures"), list),
    **dict.fromkeys(("members", "judged_rows", "relearning", "half_models"), int),
    **dict.fromkeys(("options", "tuning", "stopping"), dict),
}
LEAST = {  # of a number, or of entries in a list
    **dict.fromkeys(("members", "judged_rows", "trials", "seeds", "metrics", "rules"), 1),
    "half_models": 20,
}
WORDS = {str: "a word", int: "a whole number", float: "a number", dict: "a table", list: "a list"}


def read(path: Path) -> Config:
    """The benchmark that a file describes.

    Raises:
        BadInput: no such file, no TOML, an unknown or missing key, methods with unequal numbers of
            trials, settings that their method refuses.
    """
    if not path.is_file():
        raise BadInput(f"there is no file {path}", expected="a TOML file", fix="check the path")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{path} is no TOML ({error})", expected="key = value", fix="correct that line"
        ) from error
    return parse(content, str(path))


def parse(content: Mapping[str, Any], where: str = "the config") -> Config:
    """The benchmark that a mapping describes; see `read`."""
    keys = [*Config.__dataclass_fields__, "method"]
    keys.remove("candidates")
    _require(content, keys, ("name", "problem", "forget", "method"), where)
    _check_types(content, TYPES, where)
    forget = tuple(_forget_set(entry, where) for entry in _tables(content, "forget", where))
    candidates = tuple(_candidate(entry, where) for entry in _tables(content, "method", where))
    tuning = _tuning(content["tuning"], where) if "tuning" in content else None
    tables = ("forget", "method", "tuning", "stopping")
    plain = {k: v for k, v in content.items() if k not in tables}
    lists = {k: tuple(v) for k, v in plain.items() if k in ("seeds", "metrics", "figures")}
    config = Config(
        **{**plain, **lists},
        forget=forget,
        candidates=candidates,
        tuning=tuning,
        stopping=_stopping(content, forget, candidates, where),
    )
    _check_distinct([entry.name for entry in forget], f"forget sets of {where}")
    _check_distinct([entry.label for entry in candidates], f"methods of {where}")
    _check_free([entry.label for entry in candidates], where)
    _check_words(config.metrics, columns(), f"metrics of {where}")
    _check_distinct(list(config.metrics), f"metrics of {where}")
    _check_words(config.figures, FIGURES, f"figures of {where}")
    _check_trials(config, where)
    _check_judges(config, where)
    return config


def _forget_set(entry: Mapping[str, Any], where: str) -> ForgetSet:
    given = f"a [[forget]] of {where}"
    for key in ("name", "kind"):
        if key not in entry:
            raise BadInput(f"{given} without `{key}`", expected="name and kind", fix="add it")
    rest = {k: v for k, v in entry.items() if k not in ("name", "kind")}
    FORGET_SETS.make(entry["kind"], rest)
    return ForgetSet(entry["name"], entry["kind"], rest)


def _candidate(entry: Mapping[str, Any], where: str) -> Candidate:
    given = f"a [[method]] of {where}"
    _require(entry, ("name", "label", "mask", "settings"), ("name",), given)
    _check_types(entry, {"settings": dict, "mask": str, "label": str, "name": str}, given)
    name, mask = entry["name"], entry.get("mask", "")
    label = entry.get("label", f"{name} + mask" if mask else name)
    settings = entry.get("settings", {})
    grid = {k: v for k, v in settings.items() if isinstance(v, list)}
    fixed = {k: v for k, v in settings.items() if not isinstance(v, list)}
    made = Candidate(label, name, mask, fixed, grid)
    made.trials(made.size)  # so that every point is one that the method takes
    return made


def _tuning(entry: Mapping[str, Any], where: str) -> Tuning:
    given = f"[tuning] of {where}"
    _require(entry, list(Tuning.__dataclass_fields__), ("trials", "seed"), given)
    _check_types(entry, {"trials": int, "seed": int, "budget": (int, float), "rules": list}, given)
    _check_words(entry.get("rules", RULES), RULES, f"rules of {given}")
    return Tuning(**{**entry, "rules": tuple(entry.get("rules", RULES))})


def _stopping(
    content: Mapping[str, Any],
    forget: tuple[ForgetSet, ...],
    candidates: tuple[Candidate, ...],
    where: str,
) -> Stopping | None:
    if "stopping" not in content:
        return None
    entry, given = content["stopping"], f"[stopping] of {where}"
    _require(entry, list(Stopping.__dataclass_fields__), ("methods",), given)
    _check_words(entry["methods"], [c.label for c in candidates], f"methods of {given}")
    names = [f.name for f in forget]
    _check_words([entry.get("forget", names[0])], names, f"forget of {given}")
    if content.get("members", 1) <= MIN_ORACLES:
        raise BadInput(
            f"{given} with members = {content.get('members', 1)}",
            expected=f"more than {MIN_ORACLES} oracles, for a spread of each row and its null",
            fix="raise members, or leave [stopping] out",
        )
    return Stopping(tuple(entry["methods"]), entry.get("forget", names[0]))


def _check_trials(config: Config, where: str) -> None:
    """Every method gets as many trials as the others, or none at all."""
    allowed = config.tuning.trials if config.tuning else 1
    for entry in config.candidates:
        if entry.size != 1 and entry.size < allowed:
            raise BadInput(
                f"{entry.label} of {where} has {entry.size} settings to try",
                expected=f"at least {allowed}, the number of trials of every method",
                fix="add values to its lists, or lower trials",
            )
        if entry.size > 1 and config.tuning is None:
            raise BadInput(
                f"{entry.label} of {where} has lists of values, and there is no [tuning]",
                expected="one value a setting, or a [tuning] table with trials and seed",
                fix="add [tuning]",
            )


def _check_judges(config: Config, where: str) -> None:
    """Who chooses does not judge."""
    tuning = config.tuning
    if tuning and tuning.seed in config.seeds and config.members < SECOND:
        raise BadInput(
            f"[tuning] of {where} with the judged seed {tuning.seed}, members = {config.members}",
            expected=f"a seed that is not judged, or at least {SECOND} members: then there are two "
            "groups of retrained models, one to choose and one to judge",
            fix="give tuning.seed another value, e.g. 100",
        )


def _tables(content: Mapping[str, Any], key: str, where: str) -> list[Mapping[str, Any]]:
    found = content[key]
    if not isinstance(found, list) or not found:
        raise BadInput(
            f"`{key}` of {where} is a {type(found).__name__}",
            expected=f"one [[{key}]] table or more",
            fix=f"write [[{key}]] with two brackets",
        )
    return found


def _require(
    entry: Mapping[str, Any], known: list[str] | tuple[str, ...], needed: tuple, given: str
) -> None:
    for key in entry:
        if key not in known:
            raise BadInput(
                f"{given} has an unknown key '{key}'{nearest(key, known)}",
                expected=f"one of {', '.join(known)}",
                fix="correct the key; docs/bench.md explains each one",
            )
    for key in needed:
        if key not in entry:
            raise BadInput(
                f"{given} has no `{key}`",
                expected=f"at least {', '.join(needed)}",
                fix="add it; docs/bench.md has an example",
            )


def _check_types(entry: Mapping[str, Any], types: Mapping[str, Any], given: str) -> None:
    for key in types.keys() & entry.keys():
        value, least = entry[key], LEAST.get(key, float("-inf"))
        kinds = types[key] if isinstance(types[key], tuple) else (types[key],)
        fits = isinstance(value, kinds) and not isinstance(value, bool)
        size = len(value) if fits and isinstance(value, list) else value
        if not fits or (isinstance(size, int | float) and size < least):
            enough = f", at least {least}" if key in LEAST else ""
            raise BadInput(
                f"`{key}` of {given} is {value!r}",
                expected=" or ".join(WORDS[kind] for kind in kinds) + enough,
                fix="correct the value; docs/bench.md explains each key",
            )


def _check_words(words: Any, known: Any, given: str) -> None:
    for word in words:
        if word not in known:
            raise BadInput(
                f"{given}: '{word}'{nearest(word, known)}",
                expected=f"one of {', '.join(known)}",
                fix="correct the word",
            )


def _check_free(labels: list[str], where: str) -> None:
    for label in labels:
        if label in (ORIGINAL, RETRAIN, ORACLE):
            raise BadInput(
                f"methods of {where}: '{label}' is a line of every benchmark",
                expected=f"a label other than {ORIGINAL}, {RETRAIN} and {ORACLE}",
                fix="give the method a `label`, or leave it out",
            )


def _check_distinct(names: list[str], given: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadInput(
            f"{given}: '{twice[0]}' is there twice",
            expected="distinct names",
            fix="name it once, or give it another `label` (methods) or `name` (forget sets)",
        )
