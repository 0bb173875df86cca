"""Forget sets from a file of row numbers."""

from dataclasses import replace

import numpy as np
import pytest

from expunge.bench.parsing import parse
from expunge.bench.runs import runs
from expunge.contract.problems import tiny
from expunge.errors import BadInput
from expunge.fanout.runtime import Runtime
from expunge.forget_sets import listed
from expunge.store import Store


@pytest.fixture
def path(tmp_path):
    np.save(tmp_path / "rows.npy", np.array([40, 3, 12]))
    return str(tmp_path / "rows.npy")


def test_numbers_are_rows_or_ids_where_there_are_any(problem, path):
    assert listed(problem, path).tolist() == [3, 12, 40]
    named = replace(problem, ids=[f"{60 - row}" for row in range(60)])
    assert listed(named, path).tolist() == [20, 48, 57]
    persons = replace(problem, ids=[row % 50 for row in range(60)])
    assert listed(persons, path).tolist() == [3, 12, 40, 53]
    assert listed(persons.without([3]), path).tolist() == [12, 40, 53]


def test_a_row_that_is_not_there_is_named(problem, path):
    with pytest.raises(BadInput, match=r"lists row 12, .* \(1 of 3 are not\).* its 59 train rows"):
        listed(problem.without([12]), path)
    np.save(path, np.array([5, 60, -1]))
    with pytest.raises(BadInput, match=r"row 60, .*\(2 of 3 are not\).* counted from 0"):
        listed(problem, path)
    with pytest.raises(BadInput, match=r"row 5, .* by their ids.*published = \[5\]"):
        listed(replace(problem, ids=[f"x{row}" for row in range(60)]), path)


@pytest.mark.parametrize("bad", [[[1]], [1.0], [1, 1], []], ids=str)
def test_an_array_that_is_no_list_of_rows(bad, problem, path):
    np.save(path, np.array(bad))
    with pytest.raises(BadInput, match=r"rows\.npy is no list of row numbers"):
        listed(problem, path)


def test_a_file_that_is_missing_or_damaged(problem, tmp_path):
    with pytest.raises(BadInput, match=r"there is no file .*no\.npy.* EXPUNGE_DATA"):
        listed(problem, str(tmp_path / "no.npy"))
    (tmp_path / "text.npy").write_text("3, 4")
    with pytest.raises(BadInput, match=r"text\.npy cannot be read"):
        listed(problem, str(tmp_path / "text.npy"))


def test_a_benchmark_finds_the_file_in_the_data_folder(path, tmp_path, monkeypatch):
    base, runtime = tiny(forget=()), Runtime(Store(tmp_path / "store"))

    def rows(path):
        forget = [{"name": "published", "kind": "file", "path": path}]
        content = {"name": "tiny", "problem": "tiny", "forget": forget}
        config = parse({**content, "method": [{"name": "gradient-ascent"}]})
        (made,) = runs(config, base, runtime, (0,), None)
        return made.problem.forget.tolist()

    monkeypatch.delenv("EXPUNGE_DATA", raising=False)
    assert rows(path) == [3, 12, 40]  # an absolute path
    with pytest.raises(BadInput, match="no data folder is named.*set EXPUNGE_DATA"):
        rows("rows.npy")
    monkeypatch.setenv("EXPUNGE_DATA", str(tmp_path))
    assert rows("rows.npy") == [3, 12, 40]
    with pytest.raises(BadInput, match=r"there is no file .*no\.npy.*EXPUNGE_DATA"):
        rows("no.npy")
