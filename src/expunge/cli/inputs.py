"""Reading what the user names on the command line: a problem in a Python file, a list of rows."""

import csv
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from expunge.errors import BadInput, nearest


def load_problem(
    named: str, data: Path | None = None, options: Mapping[str, Any] = {}
) -> tuple[Any, Any]:
    """The problem of `FILE.py:NAME`, and the file's `build` function if it has one.

    NAME is a Problem, or a function without arguments that returns one. Problems of the zoo and of
    other packages go by their name.

    Args:
        named: e.g. "mine.py:problem", or "fashion:rows=500".
        data: the data folder for a problem that goes by its name.
        options: more settings of such a problem.

    Raises:
        BadInput: no such file or name, or something else than a Problem.
    """
    import cloudpickle

    from expunge.problem import Problem
    from expunge.zoo.problems import PROBLEMS

    if ".py" not in named and not Path(named).exists():
        return PROBLEMS.make(named, options)(data), None
    # from the right, and only before a name: a Windows path has a colon of its own
    file, colon, name = named.rpartition(":")
    if not colon or not name.isidentifier():
        file, name = named, "problem"
    path = Path(file)
    if not path.is_file():
        raise BadInput(
            f"there is no file {path}",
            expected="--problem FILE.py:NAME",
            fix="check the path; see examples/bring_your_own.py for what the file holds",
        )
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.resolve().parent))  # its own imports, as when it is run
    spec.loader.exec_module(module)
    # Other processes cannot import the file by its name, so its functions travel by value.
    cloudpickle.register_pickle_by_value(module)
    if name not in vars(module):
        raise BadInput(
            f"{path} has no '{name}'{nearest(name, vars(module))}",
            expected=f"a Problem called {name}, or a function that returns one",
            fix=f"write `{name} = expunge.Problem(...)` in it",
        )
    found = vars(module)[name]
    problem = found if isinstance(found, Problem) else found() if callable(found) else found
    if not isinstance(problem, Problem):
        raise BadInput(
            f"{named} is a {type(problem).__name__}",
            expected="an expunge.Problem, or a function that returns one",
            fix="return the Problem",
        )
    return problem, vars(module).get("build")


def load_rows(path: Path) -> dict[str, Any]:
    """Rows or ids from a text or CSV file: one row number a line, or a column `row` or `id`.

    Returns:
        {"rows": row numbers, int64} or {"ids": texts}, as `Problem.forgetting` takes them.

    Raises:
        BadInput: no such file, or an entry that is no row number.
    """
    import torch

    if not path.is_file():
        raise BadInput(f"there is no file {path}", expected="a list of rows", fix="check the path")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # as spreadsheets write it, too
            lines = [line for line in csv.reader(file) if any(cell.strip() for cell in line)]
    except UnicodeDecodeError:
        raise BadInput(
            f"{path} is not UTF-8 text", expected="a text or CSV file", fix="save it as UTF-8"
        ) from None
    if not lines:
        raise BadInput(f"{path} is empty", expected="at least one row", fix="name the rows in it")
    header = [cell.strip().lower() for cell in lines[0]]
    if "id" in header:
        column = header.index("id")
        return {"ids": [_cell(path, k, lines, column) for k in range(1, len(lines))]}
    named = "row" in header
    if not named and any(len([c for c in line if c.strip()]) > 1 for line in lines):
        raise BadInput(
            f"{path} has several columns and no header",
            expected="one row number on each line, or a header with a column `row` or `id`",
            fix="name the column, or put each number on a line of its own",
        )
    column = header.index("row") if named else 0
    numbers = []
    for k in range(1 if named else 0, len(lines)):
        cell = _cell(path, k, lines, column)
        if not cell.removeprefix("-").isdecimal() or len(cell) > 18:
            raise _bad_line(path, k, lines)
        numbers.append(int(cell))
    return {"rows": torch.tensor(numbers, dtype=torch.int64)}


def _cell(path: Path, k: int, lines: list[list[str]], column: int) -> str:
    if column >= len(lines[k]) or not lines[k][column].strip():
        raise _bad_line(path, k, lines)
    return lines[k][column].strip()


def _bad_line(path: Path, k: int, lines: list[list[str]]) -> BadInput:
    return BadInput(
        f"line {k + 1} of {path} is '{','.join(lines[k])}'",
        expected="a row number on each line, or a header with a column `row` or `id`",
        fix="correct the line, or name the column",
    )


def method_settings(words: list[str]) -> dict[str, str]:
    """Settings of a method from the words that are no options of the command: --lr 0.01 --steps=80.

    Raises:
        BadInput: a word that is no setting, or a setting without a value.
    """
    chosen, rest = {}, list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or (not equals and not rest):
            raise BadInput(
                f"'{word}' is neither an option nor a setting with a value",
                expected="options of this command, or settings of the method such as --lr 0.01",
                fix="see `expunge forget --help` and `expunge methods`",
            )
        chosen[name.replace("-", "_")] = value if equals else rest.pop(0)
    return chosen
