"""The result file of a benchmark: claims with their targets, and everything behind them."""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from math import hypot
from pathlib import Path
from typing import Any

import torch
from scipy.stats import t

import expunge
from expunge import store

FOLDER = Path(__file__).parent
Name = str | Callable[[Any], str]  # of a result file; from the flags where they decide it
Scored = tuple[float, float]  # a value and its standard error


def arguments(
    name: Name, *, plots: bool = False, problems: tuple[str, ...] = ()
) -> argparse.Namespace:
    """The flags that every benchmark takes; some draw, some have several problems."""
    made = parser(name, plots=plots)
    if problems:
        made.add_argument("--problem", choices=problems, default=problems[0])
    return made.parse_args()


class Parser(argparse.ArgumentParser):
    """Of a benchmark's flags; `name` gives the result file that is the default."""

    name: Callable[[Any], str]

    def parse_args(self, *given: Any, **more: Any) -> Any:
        """The flags."""
        flags = super().parse_args(*given, **more)
        flags.out = flags.out or FOLDER / "results" / f"{self.name(flags)}.json"
        return flags


def parser(name: Name, *, plots: bool = False) -> Parser:
    """The parser of `arguments`, for a benchmark that takes flags of its own."""
    layout = argparse.RawDescriptionHelpFormatter
    what = sys.modules["__main__"].__doc__
    made = Parser(prog=command(), description=what, formatter_class=layout)
    made.name = name if callable(name) else lambda _: name
    made.add_argument("--out", type=Path, help="the result file")
    made.add_argument("--store", type=Path, default=FOLDER / "results" / ".store")
    made.add_argument("--quick", action="store_true", help="ten seconds, proves nothing")
    made.add_argument("--jobs", type=int, default=None)
    if plots:
        again = "only make the tables and figures again"
        made.add_argument("--plot", action="store_true", help=again)
    return made


def script() -> list[str]:
    """What follows `python` in the command that runs this benchmark."""
    spec = sys.modules["__main__"].__spec__
    assert spec is not None, "run it from the repository's root: python -m benchmarks.AREA.NAME"
    return ["-m", spec.name]


def command(*words: object) -> str:
    """The command that runs this benchmark, with these words."""
    return " ".join(["python", *script(), *map(str, words)])


def claim(
    name: str, value: float | None, target: float, interval: list[float] | None = None
) -> dict:
    """A claim that a value is at most a target; one that fails stays in the file.

    Where there is an interval and the target lies within, `holds` is None: undecided. So it is
    where there is no value, because something was not measured.
    """
    low, high = interval or (value, value)
    decided = low is not None and high is not None and not low <= target < high
    return {
        "name": name,
        "value": value,
        "interval": interval,
        "target": target,
        "holds": high <= target if decided else None,
    }


def near(name: str, value: float | None, target: float, se: float | None) -> dict:
    """A claim whose interval is two standard errors each way."""
    known = value is not None and se is not None
    return claim(name, value, target, [value - 2 * se, value + 2 * se] if known else None)


def difference(name: str, ours: Scored | None, theirs: Scored | None, target: float = 0.0) -> dict:
    """A claim that ours less theirs is at most a target; each is a value with its standard error.

    Where one of them was not measured, there is no value.
    """
    if ours is None or theirs is None:
        return claim(name, None, target)
    return near(name, ours[0] - theirs[0], target, hypot(ours[1], theirs[1]))


def interval(values: torch.Tensor) -> tuple[float, float, float]:
    """The mean of some numbers and the ends of its 95 % interval, by Student's t."""
    reach = float(t.ppf(0.975, len(values) - 1)) * float(values.std()) / len(values) ** 0.5
    mean = float(values.mean())
    return mean, mean - reach, mean + reach


def before(path: Path) -> dict[str, Any]:
    """A result file that is there, for claims to be made again of what it holds.

    Its "measured_at" is the commit that measured; "commit" that which wrote it last.
    """
    content = json.loads(path.read_text())
    return {"measured_at": content["commit"], **content}


def write(path: Path, claims: list[dict], **facts: Any) -> None:
    """Write the result file and print the claims."""
    content = {
        "claims": claims,
        **facts,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "versions": {"expunge": expunge.__version__, "torch": torch.__version__},
        "commit": commit(),
    }
    store.write_json(path, json.loads(json.dumps(content)))
    for entry in claims:
        word = {True: "holds", False: "FAILS", None: "undecided"}[entry["holds"]]
        value = "not measured" if entry["value"] is None else f"{entry['value']:.2f}"
        print(f"{word}: {entry['name']}: {value} (target {entry['target']:.2f})")


def commit() -> str:
    """The commit that ran, with "-dirty" if code or configs were changed since; results aside."""

    def git(*words: str) -> str:
        found = subprocess.run(["git", *words], cwd=FOLDER, capture_output=True, text=True)
        return found.stdout.strip()

    changed = git("status", "--porcelain", "--", "../src", ".", ":(exclude)results")
    return (git("describe", "--always") or "unknown") + ("-dirty" if changed else "")
