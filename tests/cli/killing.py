"""Commands in processes that can be killed: forked from one that has imported everything once.

A command that imports torch spends seconds on it, in which a kill would find nothing to disturb.
"""

import io
import json
import multiprocessing
import os
import resource
import signal
import sys
import time
import traceback
from pathlib import Path
from zipfile import ZipFile

WARM = (
    *("torch", "torch.fx.experimental.proxy_tensor", "sklearn.datasets", "sklearn.linear_model"),
    *("matplotlib.figure", "matplotlib.backends.backend_svg", "pyarrow.parquet", "jinja2", "rich"),
    *("expunge.cli", "expunge.api.audit", "expunge.api.attribute", "expunge.api.evaluate"),
    *("expunge.api.forget", "expunge.api.trained", "expunge.bench.run", "expunge.bench.render"),
    *("expunge.bench.parsing", "expunge.zoo.demo", "expunge.zoo.problems", "expunge.cli.inputs"),
)
EVERY = 60.0  # as the product has it
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(list(WARM))


def begin(words, cwd, every=EVERY, limit=None):
    """Start a command in a session of its own; what it prints goes to CWD/log.

    Args:
        words: of the command.
        cwd: the folder to run it in.
        every: seconds after which a long training is kept.
        limit: bytes that no file may exceed.
    """
    process = context.Process(target=_command, args=([*map(str, words)], str(cwd), every, limit))
    process.start()
    return process


def ended(process, after=300.0):
    """Whether a command has ended well by itself within so many seconds."""
    process.join(after)
    assert process.exitcode in (None, 0), f"exit code {process.exitcode}"
    return process.exitcode == 0


def kill(process, whole=True):
    """Kill a command, with all its processes or only the first; False where it had just ended."""
    try:
        (os.killpg if whole else os.kill)(process.pid, signal.SIGKILL)
    except ProcessLookupError:  # it has ended, or has no session of its own yet
        process.kill()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def until(path, patience=60.0):
    """Wait for a file: an Event of a process that is killed may never be free again."""
    stop = time.monotonic() + patience
    while not Path(path).exists():
        assert time.monotonic() < stop, f"{path} never came"
        time.sleep(0.01)


def _command(words, cwd, every, limit):
    os.setsid()
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    os.chdir(cwd)
    log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.path.insert(0, cwd)
    sys.argv = ["expunge", *words]

    from expunge.cli import main
    from expunge.errors import BadInput
    from expunge.store.checkpoint import Checkpoint

    Checkpoint.__init__.__defaults__ = tuple(
        every if default == EVERY else default for default in Checkpoint.__init__.__defaults__
    )
    code = 0
    try:
        compare(*words[1:]) if words[0] == "compare" else main()
    except SystemExit as stop:
        code = stop.code
    except BadInput as error:  # of what is no command
        print(error, file=sys.stderr)
        code = 2
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # else this kind of process waits for idle workers, for minutes


def kept(folder):
    """All that a command left in a folder, by name, but for what tells of its own run.

    Nor is there what a kill left half-written under a name of its own.
    """
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file() and path.name != ".lock" and not path.name.startswith(".partial-"):
            found[str(path.relative_to(folder))] = _content(path.name, path.read_bytes())
    return found


def _content(name, content):
    if name.endswith(".json"):
        return timeless(json.loads(content))
    if name.endswith(".zip"):
        with ZipFile(io.BytesIO(content)) as packed:
            return {one: _content(one, packed.read(one)) for one in packed.namelist()}
    if name.endswith((".html", "tables.md", "tables.tex")):
        return "written from the other files, and seconds"
    return content


def timeless(part):
    """Facts without seconds, dates and commands, and without checksums that cover them."""
    if isinstance(part, dict):
        hidden = ("seconds", "run", "seal")
        return {name: timeless(value) for name, value in part.items() if name not in hidden}
    return [timeless(value) for value in part] if isinstance(part, list) else part


def compare(file, out, store, jobs):
    """A comparison as a command: three methods on ensembles of the problem of a file."""
    import expunge
    from expunge.cli.inputs import load_problem

    methods = {
        "fine-tune": expunge.method("fine-tune", epochs=2),
        "oracle-matching": expunge.method("oracle-matching", steps=20),
        "dmm": expunge.method("dmm", steps=20, attribution="combined"),
    }
    problem = load_problem(file)[0].forgetting([3, 17, 29])
    runtime = expunge.Runtime(expunge.Store(Path(store)), jobs=int(jobs), group=5, progress=False)
    expunge.compare(problem, methods, out=out, runtime=runtime, members=20, half_models=60)
