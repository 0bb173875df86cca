"""Work as tasks of a real Ray cluster of two workers; and what is refused before it begins."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from expunge.api.compare import compare
from expunge.contract.cases import same_bits
from expunge.contract.problems import mlp, tiny
from expunge.errors import BadInput
from expunge.fanout import cluster, cluster_worker, connecting, spread
from expunge.fanout.cluster import Cluster, Tried, gpus_of, require_backend
from expunge.fanout.cluster_worker import Failed
from expunge.fanout.runtime import Runtime
from expunge.methods import method
from expunge.store import Store
from expunge.training.model_cache import ModelCache

HERE = os.getpid()
ROLES = {"original": 5, "oracle": 4, "subset": 6}


@pytest.fixture(scope="module")
def two_workers():
    """A cluster of this machine, until the end of these tests."""
    ray = pytest.importorskip("ray")
    connecting.connect(None, 2)
    yield
    ray.shutdown()


@pytest.fixture
def on(tmp_path, two_workers):
    """`spread` on the cluster."""

    def run(function, count=5, names=None, jobs=2):
        tasks = [(n,) for n in range(count)]
        settings = {"jobs": 1, "label": "Testing", "progress": False, "names": names}
        return spread(function, tasks, **settings, cluster=Cluster(None, tmp_path, jobs))

    return run


@pytest.mark.parametrize(
    ("outcome", "attempts"),
    [(Failed("it broke", ""), 3), (Failed("its machine was lost", "", lost=True), 20)],
)
def test_a_task_fails_three_times_or_loses_twenty_machines(outcome, attempts):
    one = Tried(5)
    for _ in range(attempts - 1):
        with pytest.warns(UserWarning, match=f"oracle 3 failed .{outcome.error}.*tried again"):
            one = one.again("oracle 3", outcome)
    with pytest.raises(BadInput, match=f"oracle 3 failed {attempts} times, .*{outcome.error}"):
        one.again("oracle 3", outcome)


# ---- what is refused before any cluster is asked


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"backend": "rays"}, "backend 'rays'. Expected: processes or ray"),
        ({"address": "head:6379"}, "--address head:6379 without a cluster. .* add --backend ray"),
        ({"gpus_per_task": 0.5}, "--gpus-per-task 0.5 without a cluster"),
        ({"backend": "ray", "device": "cuda:1"}, "--device cuda:1 with .* leave the number out"),
        ({"backend": "ray", "gpus_per_task": 0.5}, "--gpus-per-task 0.5 with --device cpu"),
        ({"backend": "ray", "device": "cuda", "gpus_per_task": 2.0}, "at most 1, as a group"),
        ({"backend": "ray", "device": "cuda", "gpus_per_task": 0.0}, "--gpus-per-task 0. .*0.25"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, told, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)  # as if it were installed
    given = {"backend": "processes", "address": None, "gpus_per_task": None, "device": "cpu"}
    with pytest.raises(BadInput, match=told):
        require_backend(**given | settings)


def test_without_ray_the_cure_is_told_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"Ray is not installed.*pip install 'expunge\[ray\]'"):
        Runtime(Store(tmp_path), backend="ray")
    Runtime(Store(tmp_path))


def test_a_task_takes_a_whole_gpu_unless_told_otherwise():
    assert gpus_of("cuda", None) == 1.0
    assert gpus_of("cuda", 0.25) == 0.25
    assert gpus_of("cpu", None) == 0.0


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("127.0.0.1:1", "no Ray cluster can be reached at 127.0.0.1:1 .*refused.*docs/ray.md"),
        ("nowhere", "--address nowhere. Expected: host:port"),
    ],
)
def test_an_address_that_does_not_answer_is_told_at_once(address, told, tmp_path):
    ray = pytest.importorskip("ray")
    assert not ray.is_initialized()
    runtime = Runtime(Store(tmp_path), backend="ray", address=address, progress=False)
    start = time.monotonic()
    with pytest.raises(BadInput, match=told):
        ModelCache(tiny(), runtime).make({"original": 1})
    assert time.monotonic() - start < 3 * connecting.PATIENCE


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (SystemExit(15), "something else listens there"),  # Ray takes minutes, and then leaves
        (ConnectionError("No running Ray instance\nMore."), "No running Ray instance"),
        (RuntimeError("Version mismatch: here 3.11"), "Version mismatch: here 3.11"),
    ],
)
def test_what_ray_says_of_an_address_is_told(error, told, monkeypatch):
    ray = pytest.importorskip("ray")

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(ray, "init", fail)
    with pytest.raises(BadInput, match=rf"can be reached at auto \({told}\)\. .* same"):
        connecting.connect("auto", None)


def test_a_worker_that_does_not_see_the_store_names_itself_and_it(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster_worker, "PATIENCE", 0.0)
    place = (str(tmp_path / "store/locks/shared-1.lock"), str(tmp_path), cluster_worker.versions())
    refused = cluster_worker.attempt(place, None, 0)
    told = f"does not see the store {tmp_path}/store. .* put --store on a shared disk"
    with pytest.raises(BadInput, match=told):
        raise refused.error


def test_a_worker_of_another_version_names_itself_and_it(tmp_path):
    place = ("mark", str(tmp_path), {"expunge": "0.0.1"})
    refused = cluster_worker.attempt(place, None, 0)
    with pytest.raises(BadInput, match="has expunge .*Expected: 0.0.1, .*the same versions"):
        raise refused.error


# ---- on the cluster


def threads(n):
    return torch.get_num_threads(), os.getpid(), os.getcwd()


@pytest.mark.slow
def test_results_come_in_the_order_of_the_tasks_from_two_workers_with_one_thread(on):
    shift = 10
    assert on(lambda n: (time.sleep(0.1 * (n == 0)), n + shift)[1], 7) == list(range(10, 17))
    found = on(lambda n: (time.sleep(0.5), threads(n))[1], 6)
    assert {count for count, _, _ in found} == {1}
    assert len({pid for _, pid, _ in found} - {HERE}) == 2
    assert {folder for _, _, folder in found} == {os.getcwd()}


@pytest.mark.slow
def test_no_more_tasks_run_at_once_than_jobs_say(on):
    def between(n):
        start = time.time()
        time.sleep(0.2)
        return start, time.time()

    on(lambda n: time.sleep(1), 8)  # until both workers are there
    spans = sorted(on(between, 4, jobs=1))
    assert all(one[1] <= two[0] for one, two in zip(spans, spans[1:], strict=False))


def die_once(folder, n):
    """The worker is killed at its first attempt of task 2."""
    flag = folder / f"tried-{n}"
    first = not flag.exists()
    flag.touch()
    if n == 2 and first:
        os.kill(os.getpid(), signal.SIGKILL)
    return n * n


@pytest.mark.slow
def test_a_task_whose_worker_is_killed_is_done_again(on, tmp_path):
    with pytest.warns(UserWarning, match="oracle 2 failed .*WorkerCrashedError.* tried again"):
        found = on(partial(die_once, tmp_path), names=[f"oracle {n}" for n in range(5)])
    assert found == [0, 1, 4, 9, 16]


def count_and(what, folder, n):
    """Notes each attempt; task 1 does what it is told to."""
    with open(folder / f"attempts-{n}", "a") as file:
        file.write("+")
    if n == 1:
        what()
    return n


def divide():
    return 1 / 0


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def refuse():
    raise BadInput("row 2 is odd", expected="even rows", fix="drop it")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*it is tried again")
@pytest.mark.parametrize(
    ("what", "attempts", "told"),
    [
        (divide, 3, r"oracle 4 to 7 failed 3 times, at last with ZeroDivisionError: division by "
         r"zero \(test_cluster.py, line \d+\)\. .*what is finished is kept"),
        (die, 3, "oracle 4 to 7 failed 3 times, at last with WorkerCrashedError"),
        (refuse, 1, "row 2 is odd. Expected: even rows. Fix: drop it"),
    ],
)  # fmt: skip
def test_after_three_failures_members_and_error_are_named(on, tmp_path, what, attempts, told):
    names = ["oracle 0 to 3", "oracle 4 to 7", "oracle 8 to 9"]
    with pytest.raises(BadInput, match=told) as failed:
        on(partial(count_and, what, tmp_path), 3, names)
    assert (tmp_path / "attempts-1").read_text() == "+" * attempts
    if what is divide:
        assert "return 1 / 0" in str(failed.value.__cause__)
    assert not list((tmp_path / "locks").iterdir())  # no mark is left behind
    assert on(partial(count_and, int, tmp_path), 3) == [0, 1, 2]  # and the next work goes on


@pytest.mark.slow
def test_what_is_running_is_cancelled_when_something_else_fails(on, tmp_path):
    def sleep_or_refuse(n):
        if n == 0:
            (tmp_path / "pid").write_text(str(os.getpid()))
            time.sleep(300)
        while not (tmp_path / "pid").exists():
            time.sleep(0.05)
        refuse()

    with pytest.raises(BadInput, match="row 2 is odd"):
        on(sleep_or_refuse, 2)
    assert gone(int((tmp_path / "pid").read_text()))


def gone(pid):
    """Whether a process ends within ten seconds."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


INTERRUPTED = """
import os, signal, time
from pathlib import Path
from expunge.fanout.cluster import Cluster
from expunge.fanout import spread

# whoever runs the tests in the background may have had it ignored
signal.signal(signal.SIGINT, signal.default_int_handler)

def nap(n):
    Path(f"pid-{n}").write_text(str(os.getpid()))
    time.sleep(300)

spread(nap, [(0,), (1,)], jobs=1, label="", progress=False, cluster=Cluster(None, Path("."), 2))
"""


@pytest.mark.slow
def test_ctrl_c_ends_the_tasks(tmp_path):
    pytest.importorskip("ray")
    driver = subprocess.Popen([sys.executable, "-c", INTERRUPTED], cwd=tmp_path)
    pids = [tmp_path / f"pid-{n}" for n in range(2)]
    for _ in range(600):
        if all(path.exists() and path.read_text() for path in pids):
            break
        time.sleep(0.1)
    driver.send_signal(signal.SIGINT)
    assert driver.wait(timeout=30) not in (0, None)
    assert all(gone(int(path.read_text())) for path in pids)
    assert not list((tmp_path / "locks").iterdir())


@pytest.mark.slow
def test_a_task_that_finds_no_room_is_refused_and_not_waited_for(tmp_path, two_workers):
    with pytest.raises(BadInput, match="1 CPU and 0.5 GPU, and no machine .*the largest 2 and 0"):
        list(Cluster(None, tmp_path, 2, gpus=0.5).run(divide, [()], ["one"]))


SHARED = """
import os, time, ray
from pathlib import Path
from expunge.fanout.cluster import Cluster

ray.init("local", num_cpus=4, num_gpus=1, include_dashboard=False, log_to_driver=False)

def span(n):
    start = time.time()
    time.sleep(1)
    return start, time.time(), os.environ["CUDA_VISIBLE_DEVICES"]

spans = list(Cluster(None, Path("."), gpus=0.5).run(span, [(n,) for n in range(4)], "abcd"))
most = max(sum(s <= start < e for s, e, _ in spans) for start, _, _ in spans)
print(most, {device for _, _, device in spans})
"""


@pytest.mark.slow
def test_as_many_tasks_run_at_once_as_shares_of_a_gpu_allow(tmp_path):
    """On one GPU that exists in Ray's books only; and a cluster that the user began is used."""
    pytest.importorskip("ray")
    words, pipes = [sys.executable, "-c", SHARED], {"capture_output": True, "text": True}
    env = {**os.environ, "RAY_AUTH_TOKEN": "0" * 64}
    shown = subprocess.run(words, cwd=tmp_path, env=env, check=True, timeout=200, **pipes).stdout
    assert shown.splitlines()[-1] in ("2 {'0'}", "1 {'0'}")  # one, where a machine is very slow


PREEMPTED = """
import json, threading, time, warnings
from pathlib import Path

import ray
from ray.cluster_utils import Cluster as Machines
from expunge.fanout.cluster import Cluster

machines = Machines(True, head_node_args={"num_cpus": 0, "include_dashboard": False})
machine = machines.add_node(num_cpus=1)
ray.init(machines.address, log_to_driver=False)
begun = Path("begun").resolve()
begun.touch()

def waiting(n):
    with open(begun, "a") as file:
        file.write("+")
    while len(begun.read_text()) < 5:
        time.sleep(0.1)
    return n

def run():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = list(Cluster(machines.address, begun.parent).run(waiting, [(7,)], ["oracle 3"]))
    said = [str(one.message) for one in told if "oracle" in str(one.message)]
    Path("found.json").write_text(json.dumps([found, said]))

work = threading.Thread(target=run, daemon=True)
work.start()
for lost in range(4):
    while len(begun.read_text()) <= lost:
        time.sleep(0.1)
    machines.remove_node(machine, allow_graceful=False)
    machine = machines.add_node(num_cpus=1)  # only a main thread may
work.join()
ray.shutdown()
machines.shutdown()
"""


@pytest.mark.slow
def test_machines_that_are_lost_are_no_failures_of_the_task(tmp_path):
    """Four machines are lost under one task, which a fifth one finishes."""
    pytest.importorskip("ray")
    env = {**os.environ, "RAY_AUTH_TOKEN": "0" * 64, "RAY_USAGE_STATS_ENABLED": "0"}
    words = [sys.executable, "-c", PREEMPTED]
    subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, timeout=300)
    found, told = json.loads((tmp_path / "found.json").read_text())
    assert found == [7]
    assert told == ["oracle 3 failed (its machine was lost); it is tried again"] * 4


@pytest.mark.slow
def test_one_process_has_one_cluster(on, tmp_path):
    import ray

    on(abs)
    there = ray.get_runtime_context().gcs_address
    assert list(Cluster(there, tmp_path).run(abs, [(-3,)], ["one"])) == [3]
    assert list(Cluster("auto", tmp_path).run(abs, [(-3,)], ["one"])) == [3]
    with pytest.raises(BadInput, match=f"10.0.0.1:6379, and .* cluster at {there}"):
        list(Cluster("10.0.0.1:6379", tmp_path).run(abs, [(-3,)], ["one"]))


@pytest.mark.slow
def test_a_worker_that_does_not_see_the_mark_is_told_of(on, monkeypatch):
    monkeypatch.setattr(cluster, "FileLock", nullcontext)  # which writes none
    with pytest.raises(BadInput, match="does not see the store"):
        on(abs)


# ---- the product's work


def finished(store):
    """Results of trainings that a store holds, and when they were written."""
    return {path.name: path.stat().st_mtime_ns for path in store.glob("models/*.json")}


def build_or_die(here, store, deaths):
    """`mlp`; but on the cluster, once three trainings are kept, two builds kill their worker."""
    done = finished(store)
    if os.getpid() != here and len(done) >= 3 and len(list(deaths.iterdir())) < 2:
        (deaths / str(os.getpid())).write_text(json.dumps(done))
        os.kill(os.getpid(), signal.SIGKILL)
    return mlp()


def made(problem, runtime):
    """The tensors of every model of every role."""
    cache = ModelCache(problem, runtime)
    cache.make(ROLES)
    return {
        f"{key}/{name}": tensor
        for role, count in ROLES.items()
        for key in cache.keys(role, count)
        for name, tensor in runtime.store.load(key).tensors.items()
    }


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*it is tried again")
@pytest.mark.parametrize("dying", [False, True])
def test_the_cluster_makes_the_models_of_one_process_and_a_killed_worker_loses_nothing(
    two_workers, tmp_path, dying
):
    (deaths := tmp_path / "deaths").mkdir()
    base = tiny()
    build = partial(build_or_die, os.getpid(), tmp_path / "there", deaths)
    alike = replace(base, recipe=replace(base.recipe, build=build))
    here = Runtime(Store(tmp_path / "here"), jobs=1, group=2, progress=False)
    there = replace(here, store=Store(tmp_path / "there"), jobs=2, backend="ray")
    one = made(base, here)
    two = made(alike if dying else base, there)
    assert len(one) > 20
    assert same_bits(one, two)
    died = [json.loads(path.read_text()) for path in deaths.iterdir()]
    assert len(died) >= 2 if dying else not died
    now = finished(tmp_path / "there")
    assert all(before.items() <= now.items() for before in died)  # nothing was made twice


@pytest.mark.slow
def test_finished_work_stays_in_the_store_when_a_training_fails(two_workers, tmp_path):
    def fail(n):
        raise ArithmeticError("this seed")

    runtime = Runtime(Store(tmp_path), jobs=1, backend="ray", progress=False)
    save = runtime.store.save
    tasks = {"made/a": ("made/a", {}, {"n": 1}), "made/b": ("made/b",), "made/c": ()}
    names = {key: f"original {n}" for n, key in enumerate(tasks)}

    def make(*task):
        return save(*task) if len(task) == 3 else fail(0)

    with (
        pytest.warns(UserWarning, match="original 1 failed"),
        pytest.raises(BadInput, match="original 1 failed 3 times, .* ArithmeticError: this seed"),
    ):
        runtime.make(make, tasks, "Making", dict.fromkeys(tasks, 1), names)
    assert list(runtime.store.keys("made")) == ["made/a"]


@pytest.mark.slow
def test_training_attribution_unlearning_and_outputs_are_those_of_one_process(
    two_workers, tmp_path, no_page
):
    found = []
    for name, settings in (("here", {"jobs": 1}), ("there", {"jobs": 2, "backend": "ray"})):
        store = Store(Path(tmp_path / name / "store"))
        runtime = Runtime(store, group=2, progress=False, **settings)
        methods = {
            "fine-tune": method("fine-tune", epochs=1),
            "dmm": method("dmm", steps=2),
            "retrain": method("retrain"),
        }
        out = tmp_path / name
        compare(tiny(), methods, out=out, runtime=runtime, members=10, half_models=20)
        found.append({p.name: p.read_bytes() for p in (out / "evidence").iterdir()})
    assert len(found[0]) == len(methods) + 6  # original, oracle, null, untrained, targets, manifest
    assert found[0] == found[1]
