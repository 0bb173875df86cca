"""spread(): order kept, errors passed on, one thread everywhere."""

import os

import pytest
import torch

from expunge.errors import BadInput
from expunge.fanout import jobs_for, one_thread, spread


def square(n: int) -> int:
    return n * n


def threads(n: int) -> tuple[int, int]:
    return torch.get_num_threads(), os.getpid()


def refuse(n: int) -> int:
    if n == 2:
        raise BadInput("row 2 is odd", expected="even rows", fix="drop it")
    return n


def crash(n: int) -> int:
    raise ZeroDivisionError(f"task {n}")


def run(function, count=5, **given):
    settings = {"jobs": 1, "label": "Testing", "progress": False, **given}
    return spread(function, [(n,) for n in range(count)], **settings)


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_the_order_of_the_tasks(jobs):
    assert run(square, 7, jobs=jobs) == [0, 1, 4, 9, 16, 25, 36]


def test_no_tasks_no_results():
    assert run(square, 0, jobs=2) == []


def test_local_functions_and_lambdas_travel():
    shift = 10
    assert run(lambda n: n + shift, 3, jobs=2) == [10, 11, 12]


@pytest.mark.parametrize("jobs", [1, 2])
def test_one_torch_thread_wherever_the_work_is_done(jobs):
    torch.set_num_threads(2)
    try:
        found = run(threads, 4, jobs=jobs)
        assert {count for count, _ in found} == {1}
        assert (os.getpid() in {pid for _, pid in found}) == (jobs == 1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("jobs", [1, 2])
def test_bad_input_keeps_its_three_parts(jobs):
    with pytest.raises(BadInput, match="row 2 is odd. Expected: even rows. Fix: drop it") as told:
        run(refuse, jobs=jobs)
    assert (told.value.given, told.value.expected, told.value.fix) == (
        "row 2 is odd",
        "even rows",
        "drop it",
    )


@pytest.mark.parametrize("jobs", [1, 2])
def test_any_other_error_keeps_its_type(jobs):
    torch.set_num_threads(2)
    try:
        with pytest.raises(ZeroDivisionError, match="task"):
            run(crash, jobs=jobs)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert run(square, 3, jobs=jobs) == [0, 1, 4]  # and the next work is not disturbed


def test_the_bar_goes_to_stderr_and_can_be_silenced(capsys):
    run(square, 3, sizes=[5, 1, 1], progress=True)
    shown = capsys.readouterr()
    assert "Testing" in shown.err
    assert "7/7" in shown.err
    run(square, 3)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("device", "asked", "jobs"),
    [("cpu", 3, 3), ("cpu", 0, 1), ("cuda", None, 1), ("cuda:1", 2, 2)],
)
def test_jobs_are_as_asked_or_one_on_an_accelerator(device, asked, jobs):
    assert jobs_for(device, asked) == jobs


def test_jobs_default_to_the_cores_of_this_machine():
    assert jobs_for("cpu", None) >= 1


def test_one_thread_restores_even_after_an_error():
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
            raise KeyError
    except KeyError:
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
