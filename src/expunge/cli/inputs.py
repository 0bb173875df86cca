"""Reading what the user names on the command line: a problem in a Python file, a list of rows."""

import csv
import importlib.util
import sys
from pathlib import Path
from typing import Any

from expunge.errors import BadInput, nearest


def load_problem(named: str) -> tuple[Any, Any]:
    """The problem of `FILE.py:name`, and the file's `build` function if it has one.

    The name is a Problem, or a function without arguments that returns one.

    Raises:
        BadInput: no such file or name, or something else than a Problem.
    """
    import cloudpickle

    from expunge.problem import Problem

    file, _, name = named.partition(":")
    path, name = Path(file), name or "problem"
    if not path.is_file():
        raise BadInput(
            f"there is no file {path}",
            expected="--problem FILE.py:NAME",
            cure="check the path; see examples/bring_your_own.py for what the file holds",
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
            cure=f"write `{name} = expunge.Problem(...)` in it",
        )
    found = vars(module)[name]
    problem = found if isinstance(found, Problem) else found() if callable(found) else found
    if not isinstance(problem, Problem):
        raise BadInput(
            f"{named} is a {type(problem).__name__}",
            expected="an expunge.Problem, or a function that returns one",
            cure="return the Problem",
        )
    return problem, vars(module).get("build")


def load_rows(path: Path, problem: Any) -> Any:
    """Row numbers from a text or CSV file: one number a line, or a column `row` or `id`.

    Raises:
        BadInput: no such file, an entry that is no row number, ids that the problem does not know.
    """
    import torch

    if not path.is_file():
        raise BadInput(f"there is no file {path}", expected="a list of rows", cure="check the path")
    with path.open(newline="") as file:
        lines = [line for line in csv.reader(file) if any(cell.strip() for cell in line)]
    if not lines:
        raise BadInput(f"{path} is empty", expected="at least one row", cure="name the rows in it")
    header = [cell.strip().lower() for cell in lines[0]]
    if "id" in header:
        column = header.index("id")
        return problem.rows_of([line[column].strip() for line in lines[1:]])
    column, body = (header.index("row"), lines[1:]) if "row" in header else (0, lines)
    numbers = []
    for number, line in enumerate(body, start=len(lines) - len(body) + 1):
        try:
            numbers.append(int(line[column].strip()))
        except (ValueError, IndexError):
            raise BadInput(
                f"line {number} of {path} is '{','.join(line)}'",
                expected="a row number on each line, or a header with a column `row` or `id`",
                cure="correct the line, or name the column",
            ) from None
    return torch.tensor(numbers, dtype=torch.int64)


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
                cure="see `expunge forget --help` and `expunge methods`",
            )
        chosen[name.replace("-", "_")] = value if equals else rest.pop(0)
    return chosen
