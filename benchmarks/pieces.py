"""What benchmarks that need a GPU share: flags, and work in pieces that end on time and resume.

Everything that is made lies in the store, also the middle of a training, so the same command goes
on where the last one stopped.
"""

import argparse
import signal
from collections.abc import Callable
from typing import Any

from expunge.bench.content import Content
from expunge.bench.parsing import parse
from expunge.bench.run import run
from expunge.fanout.runtime import Runtime
from expunge.problem import Problem
from expunge.store import Store
from expunge.zoo.problems import problem


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Where to run, how precisely, and how long."""
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--minutes", type=float, help="stop cleanly after so many; run it again")


def begin(minutes: float | None) -> None:
    """From now on the process has so many minutes."""
    if minutes:
        signal.signal(signal.SIGALRM, _stop)
        signal.alarm(max(1, round(60 * minutes)))


def content_of(
    flags: argparse.Namespace,
    asked: dict[str, Any],
    command: str,
    shorter: Callable[[Problem], Problem] = lambda base: base,
) -> Content:
    """bench.json of a config, whose files go to a folder beside the result file.

    Args:
        flags: of `result.parser` and `add_flags`.
        asked: the config.
        command: what repeats this.
        shorter: the problem that is trained in the place of the config's.
    """
    config = parse(asked)
    # one process: a piece that ends leaves no others behind
    runtime = Runtime(Store(flags.store), device=flags.device, jobs=flags.jobs or 1)
    base = shorter(problem(config.problem, **config.options))
    return run(config, base, flags.out.with_suffix(""), runtime, command=command)


def _stop(*_: Any) -> None:
    raise SystemExit("The minutes are over; what is done is kept. The same command goes on.")
