"""The command line in this process: a new one would spend seconds on imports at every command."""

import io
import sys
from contextlib import ExitStack, chdir, redirect_stderr, redirect_stdout
from types import SimpleNamespace
from unittest.mock import patch

from expunge.cli import main


def run(*words, cwd):
    """What a command in a folder prints, and its exit code."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with ExitStack() as inside:
        inside.enter_context(patch.object(sys, "argv", ["expunge", *map(str, words)]))
        inside.enter_context(patch.object(sys, "path", [*sys.path]))
        inside.enter_context(patch.dict("os.environ", {"COLUMNS": "200"}))
        inside.enter_context(chdir(cwd))
        inside.enter_context(redirect_stdout(out))
        inside.enter_context(redirect_stderr(err))
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
    sys.modules.pop("mine", None)
    return SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())
