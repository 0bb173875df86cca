"""Where the work of a command is done: the same options everywhere, and on a cluster the same."""

import os
import subprocess
import sys
from contextlib import contextmanager

import pytest
from typer.main import get_command

from expunge.cli import app
from tests.cli.test_commands import ASK, folder  # noqa: F401 (pytest finds fixtures by their names here)
from tests.shell import run


def test_every_command_with_jobs_has_the_options_of_a_cluster():
    found = {
        name: {option for one in command.params for option in one.opts}
        for name, command in get_command(app).commands.items()
    }
    spread = {name for name, options in found.items() if "--jobs" in options}
    assert spread == {"demo", "forget", "verification-error", "attribute", "audit", "bench"}
    for name in spread:
        assert {"--backend", "--address", "--gpus-per-task"} <= found[name], name


def test_what_does_not_go_together_is_refused_in_the_words_of_the_command(tmp_path):
    refused = run("demo", "--address", "head:6379", cwd=tmp_path)
    assert refused.returncode == 2
    assert "Error: --address head:6379 without a cluster.\n" in refused.stderr
    assert "  Fix:     add --backend ray, or leave --address out.\n" in refused.stderr
    refused = run("demo", "--backend", "rya", cwd=tmp_path)
    assert (refused.returncode, list(tmp_path.iterdir())) == (2, [])
    assert "Error: backend 'rya'.\n" in refused.stderr


HEAD = """
import ray, sys
from expunge.fanout.connecting import connect

connect(None, 2)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""


@contextmanager
def cluster(elsewhere, env):
    """A cluster of two workers, started in another folder; yields its address."""
    words = [sys.executable, "-c", HEAD]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    head = subprocess.Popen(words, cwd=elsewhere, env=env, **pipes)
    try:
        yield head.stdout.readline().strip()
    finally:
        head.communicate(timeout=60)  # ends with its input


MAIN = "from expunge.cli import main; main()"


@pytest.mark.slow
def test_a_cluster_at_an_address_forgets_and_audits_as_one_process_does(folder, tmp_path):  # noqa: F811
    """The user's file travels by value, and relative paths mean the user's folder."""
    pytest.importorskip("ray")
    settings = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
    env = {**os.environ, **settings, "OMP_NUM_THREADS": "1"}

    def command(*words):
        ask = [sys.executable, "-c", MAIN, words[0], *ASK, *words[1:]]
        subprocess.run(ask, cwd=folder, env=env, check=True, timeout=300)

    found = {}
    with cluster(tmp_path, env) as address:
        there = ("--backend", "ray", "--address", address)
        for out, where in (("here", ("--jobs", "1")), ("there", there)):
            kept = ("--store", f"{out}/store", *where)
            dmm = ("--method", "dmm", "--half-models", "20", "--steps", "5")
            command("forget", "--rows", "rows.csv", *dmm, "--out", f"{out}/new", *kept)
            new = ("--unlearned", f"{out}/new/model.safetensors", "--oracles", "10")
            command("audit", *new, "--out", f"{out}/audit", *kept)
            files = [folder / out / "new/model.safetensors"]
            files += sorted((folder / out / "audit/evidence").iterdir())
            found[out] = {path.name: path.read_bytes() for path in files}
    assert len(found["here"]) > 4
    assert found["here"] == found["there"]
