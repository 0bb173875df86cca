"""The one error for bad input: what was given, what was expected, and the fix."""

import difflib
from collections.abc import Iterable


class BadInput(ValueError):
    """Raised when the user's input cannot be used; nothing half-written is left behind.

    The command line prints it without a traceback and exits with 2; any other exception is a
    bug of this package (or of the user's own code) and keeps its traceback.

    Args:
        given: what was found, with its value, e.g. "row 1500 is out of range".
        expected: what would have been right, e.g. "row numbers from 0 to 1436".
        fix: what to do about it, as an imperative sentence.
    """

    def __init__(self, given: str, *, expected: str, fix: str) -> None:
        super().__init__(f"{given}. Expected: {expected}. Fix: {fix}.")
        self.given, self.expected, self.fix = given, expected, fix

    def __reduce__(self):
        # Exceptions are rebuilt from `args` alone, which would lose the keywords between processes.
        return _rebuild, (self.given, self.expected, self.fix)


def _rebuild(given: str, expected: str, fix: str) -> BadInput:
    return BadInput(given, expected=expected, fix=fix)


def first_line(error: Exception) -> str:
    """What an error says, in one line: its kind where it says nothing."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def nearest(name: str, names: Iterable[str]) -> str:
    """The known name most like `name`, as the phrase " (did you mean 'x'?)", or "" if none is."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f" (did you mean '{close[0]}'?)" if close else ""
