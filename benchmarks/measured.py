"""Seconds and working memory of a piece of work, in a process of its own.

Working memory is the largest resident memory of the process, less what is resident when libraries
are imported and warm and the work begins. Files that are read do not count, but where they are
mapped.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from benchmarks import result
from expunge import store
from expunge.store import Store

Size = dict[str, int]


def main(
    name: str,
    parts: dict[str, Callable[..., dict[str, Any]]],
    sizes: tuple[Size, Size],
    repeat: Callable[[Path, Size], Any],
    claims: Callable[[list[Any]], list[dict]],
) -> None:
    """A benchmark in parts, for each of which the script calls itself.

    Args:
        name: of the result file.
        parts: the pieces of work by name; they take a folder, and numbers that follow the name.
        sizes: of the run, and with `quick`.
        repeat: runs all parts once.
        claims: of all repetitions.
    """
    parser = result.parser(name)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.part:
        part, *numbers = flags.part.split(":")
        tell(partial(parts[part], flags.folder, *map(int, numbers)))
        return
    size = sizes[flags.quick]
    with tempfile.TemporaryDirectory() as folder:
        runs = repeated(flags.store, name, size, partial(repeat, Path(folder), size))
    result.write(flags.out, claims(runs), size=size, runs=runs, threads=1)


def repeated(folder: Path, name: str, size: Size, work: Callable[[], Any]) -> list[Any]:
    """What `work` gives, `size["times"]` times; each is kept, so that a killed run goes on."""
    kept, found = Store(folder), []
    for run in range(size["times"]):
        made = {"size": {**size, "times": 0}, "run": run}  # more may follow later
        key = store.key(name, **made, code=result.commit(), where=where())
        if kept.load(key) is None:
            kept.save(key, {}, {"found": work()})
        found.append((kept.facts(key) or {})["found"])
    return found


def where() -> list[str]:
    """What decides beside the code how long something takes."""
    return [platform.node(), platform.python_version(), torch.__version__]


def alone(part: str, folder: Path) -> dict[str, Any]:
    """What a part of the script that runs prints as JSON in its last line."""
    words = [sys.executable, *result.script(), "--part", part, "--folder", str(folder)]
    one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    env = {**os.environ, **one}
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, env=env)
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"{part}: {found['seconds']:.1f} s, {found['mib']:,.0f} MiB", flush=True)
    return found


def tell(work: Callable[[], dict[str, Any]]) -> None:
    """Do the work and print its facts, seconds and mebibytes."""
    torch.set_num_threads(1)
    warm = torch.randn(300, 300, dtype=torch.float64)
    torch.linalg.eigh(warm @ warm.T)
    before, start = mebibytes("VmRSS"), perf_counter()
    facts = work()
    used = mebibytes("VmHWM") - before
    print(json.dumps({**facts, "seconds": perf_counter() - start, "mib": used}))


def claim(name: str, values: list[float], target: float) -> dict:
    """A claim on a ratio: its geometric mean over repetitions, with its interval if several."""
    if len(values) == 1:
        return result.claim(name, values[0], target)
    logs = torch.tensor(values, dtype=torch.float64).log()
    mean, *ends = torch.tensor(result.interval(logs), dtype=torch.float64).exp().tolist()
    return result.claim(name, mean, target, ends)


def peak_claim(name: str, values: list[float], target: float) -> dict:
    """A claim on the largest of some peaks of memory; its interval is the smallest and largest."""
    return result.claim(name, max(values), target, [min(values), max(values)])


def mebibytes(name: str) -> float:
    """Of this process: resident now, or at most; `ru_maxrss` would count its parent, too."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no /proc/self/status: this benchmark runs on Linux")
