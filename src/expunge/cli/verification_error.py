"""`expunge verification-error`: it and its proxy along the training of some originals."""

from pathlib import Path
from typing import Any

import typer

from expunge.cli.where import Address, Backend, GpusPerTask, Jobs, placed


def verification_error(
    problem: str = typer.Option(..., help="FILE.py:NAME of an expunge.Problem with a Recipe."),
    rows: Path = typer.Option(..., help="Text or CSV: row numbers, or a column `row` or `id`."),
    members: int = typer.Option(10, min=1, help="Originals, each trained twice."),
    measurements: int = typer.Option(8, min=1, help="How often to look along each training."),
    hessian_rows: int = typer.Option(512, min=0, help="Rows for the Hessian; 0 takes all."),
    out: Path = typer.Option(
        Path("verification-error"), help="Folder for verification_error.json and figures."
    ),
    seed: int = typer.Option(0, help="Decides every random draw."),
    store: Path = typer.Option(Path(".expunge"), help="Where measurements are kept."),
    jobs: Jobs = None,
    backend: Backend = "processes",
    address: Address = None,
    gpus_per_task: GpusPerTask = None,
    device: str = typer.Option("cpu", help="e.g. cuda."),
) -> None:
    """Measure how well models of this recipe can be unlearned, and whether the proxy foretells it.

    Trains each original on all rows, and naively without the forgotten ones (same beginning, same
    order, the rows left out of their steps). The verification error is the distance of weights that
    single-gradient unlearning leaves between the two (Thudi et al. 2022). Killed, the same command
    goes on where it was.
    """
    from rich.console import Console

    from expunge.api.provenance import shell_command
    from expunge.api.verification_error import verification_error as measure
    from expunge.cli.inputs import load_problem, load_rows

    console = Console(highlight=False, soft_wrap=True)
    asked, _ = load_problem(problem)
    command = shell_command(
        *("expunge", "verification-error"),
        problem=problem,
        rows=rows,
        members=members,
        measurements=measurements,
        hessian_rows=hessian_rows,
        out=out,
        seed=seed,
        store=store,
        device=device,
    )
    found = measure(
        asked.forgetting(**load_rows(rows)),
        runtime=placed(store, device, jobs, backend, address, gpus_per_task, seed=seed),
        members=members,
        measurements=measurements,
        hessian_rows=hessian_rows,
        out=out,
        command=command,
    )
    _print(console, found)
    console.print(f"Wrote {out / 'verification_error.json'} and two figures beside it.")


def _print(console: Any, found: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(
        box=None, title="Distance of weights from naive retraining, +- two standard errors"
    )
    table.title_justify = "left"
    for heading in ("steps", "as it is", "single-gradient", "unlearning error", "accuracy, %"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in found["measurements"]:
        table.add_row(
            str(one["steps"]),
            *(_spread(one[name]) for name in ("nothing", "verification", "strict")),
            _spread(one["accuracy"]) if "accuracy" in one else "",
        )
    console.print(table)
    r = found["correlation"]["strict"]
    if r["value"] is not None:
        between = "" if r["low"] is None else f" ({r['low']:.2f} to {r['high']:.2f})"
        console.print(f"Correlation of the two over members and looks: {r['value']:.2f}{between}.")


def _spread(values: list[float]) -> str:
    n, mean = len(values), sum(values) / len(values)
    if n < 2:
        return f"{mean:.3g}"
    se = (sum((v - mean) ** 2 for v in values) / (n - 1) / n) ** 0.5
    return f"{mean:.3g} +- {2 * se:.2g}"
