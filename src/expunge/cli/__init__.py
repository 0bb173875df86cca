"""The command line: a file a command: parse, call, print, exit code."""

import sys
import warnings

import typer
from rich.console import Console

from expunge.cli.attribute import attribute
from expunge.cli.audit import audit
from expunge.cli.bench import bench
from expunge.cli.check_method import check_method
from expunge.cli.demo import demo
from expunge.cli.explain import explain
from expunge.cli.forget import forget
from expunge.cli.method_help import MethodHelp
from expunge.cli.methods import methods
from expunge.cli.store import store
from expunge.cli.train import train
from expunge.cli.verification_error import verification_error
from expunge.cli.verify import verify
from expunge.errors import BadInput

app = typer.Typer(
    help="Remove chosen training rows from a trained PyTorch model, and show how well it worked.",
    epilog="Start with `expunge demo`: the whole path on embedded data, in about two minutes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
)
app.command()(demo)
# Settings of methods are flags too, such as --lr 0.01; they are checked by the method.
anything = {"allow_extra_args": True, "ignore_unknown_options": True}
app.command(cls=MethodHelp, context_settings=anything)(forget)
app.command()(train)
app.command()(verification_error)
app.command()(attribute)
app.command()(audit)
app.command()(bench)
app.command()(verify)
app.add_typer(store, name="store")
app.command()(methods)
app.command()(explain)
app.command()(check_method)


def main() -> None:
    """Run the command line; bad input and faulty disks are told without a traceback, code 2."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda said, *_, **__: print(f"Warning: {said}", file=sys.stderr)
            app()
    except BadInput as error:
        _tell(error)
    except OSError as error:
        from expunge.store.disk import told  # with torch, which is late enough

        if (fault := told(error)) is None:
            raise
        _tell(fault)


def _tell(error: BadInput) -> None:
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    console.print(f"Error: {error.given}.")
    console.print(f"  Expected: {error.expected}.")
    console.print(f"  Fix:     {error.fix}.")
    sys.exit(2)
