"""`expunge attribute`: half-data models for every later request, and how well they predict."""

from pathlib import Path
from typing import Any

import typer

from expunge.cli.where import Address, Backend, GpusPerTask, Jobs, placed


def attribute(
    problem: str = typer.Option(..., help="FILE.py:NAME of an expunge.Problem, or a known name."),
    kind: str = typer.Option(
        "combined",
        help="What predicts. From half-data models: combined, datamodels, difference, ridge, "
        "lasso. With --evaluate also, from the model itself: linearised, influence, ek-fac, trak; "
        "several with + between them.",
    ),
    models: int = typer.Option(1000, min=20, help="Half-data models to train; each on half."),
    out: Path = typer.Option(
        None, help="The file, for forget --attribution; with --evaluate a folder."
    ),
    evaluate: bool = typer.Option(
        False, "--evaluate", help="Retrain without random sets and say how well it predicts."
    ),
    num_sets: int = typer.Option(
        20, help="With --evaluate: how many sets are left out; at least 10."
    ),
    set_fraction: float = typer.Option(
        0.1, help="With --evaluate: share of the rows that each set leaves out."
    ),
    set_size: int = typer.Option(
        None, help="With --evaluate: rows that each set leaves out, in the place of a share."
    ),
    models_per_set: int = typer.Option(
        5, help="With --evaluate: models retrained for each set; 5 x 21 by default."
    ),
    seed: int = typer.Option(0, help="Decides every random draw."),
    store: Path = typer.Option(Path(".expunge"), help="Where made models are kept for later."),
    jobs: Jobs = None,
    backend: Backend = "processes",
    address: Address = None,
    gpus_per_task: GpusPerTask = None,
    device: str = typer.Option("cpu", help="e.g. cuda."),
) -> None:
    """Learn what each training row does to the outputs, once for any later forget set.

    Trains models on random halves of the rows and keeps what they say. Kinds that read the trained
    model itself (linearised, influence, ek-fac, trak) need no fitting. --evaluate judges any kinds,
    named with + between them: the linear datamodelling score, how predicted and true changes are
    related, and pictures of both.
    """
    from rich.console import Console

    from expunge.api.attribute import attribute as fit
    from expunge.api.evaluate import evaluate as judge
    from expunge.api.provenance import shell_command
    from expunge.cli.inputs import load_problem
    from expunge.training.from_recipe import retrain_units

    console = Console(highlight=False, soft_wrap=True)
    asked, _ = load_problem(problem)
    runtime = placed(store, device, jobs, backend, address, gpus_per_task, seed=seed)
    if evaluate:
        folder = Path("attribution") if out is None else out
        size = {"set_fraction": set_fraction} if set_size is None else {"set_size": set_size}
        command = shell_command(
            *("expunge", "attribute", "--evaluate"),
            problem=problem,
            kind=kind,
            models=models,
            num_sets=num_sets,
            **size,
            models_per_set=models_per_set,
            seed=seed,
            out=folder,
            store=store,
            device=device,
        )
        found = judge(
            asked,
            tuple(kind.split("+")),
            out=folder,
            runtime=runtime,
            num_sets=num_sets,
            set_fraction=set_fraction,
            set_size=set_size,
            models_per_set=models_per_set,
            half_models=models,
            command=command,
        )
        _print_evaluation(console, found, folder)
        return
    target = Path("attribution.zip") if out is None else out
    made = fit(asked, out=target, runtime=runtime, kind=kind, models=models)
    whole = retrain_units(asked)
    share = f", {made.count * made.one.row_units / whole:.3g} retrainings" if whole else ""
    console.print(
        f"{made.count:,} half-data models{share}"
        + (", found in the store." if made.reused else ".")
    )
    console.print(f"Wrote {target}. Use it: expunge forget --method dmm --attribution {target} ...")


def _print_evaluation(console: Any, found: Any, folder: Path) -> None:
    from rich.table import Table

    table = Table(
        box=None,
        title=f"{found['sets']} sets of {found['rows_left_out']:,} rows left out, "
        f"{found['models']} models retrained without each",
        title_justify="left",
    )
    headings = (
        "attribution",
        "LDS",
        "by chance",
        "slope, forgotten",
        "slope, test",
        "error / truth",
    )
    for k, heading in enumerate(headings):
        table.add_column(heading, justify="right" if k else "left")
    for kind, scores in found["attributions"].items():
        lds, own, test = scores["lds"], scores["forgotten"], scores["test"]
        table.add_row(
            kind,
            f"{lds['value']:.2f} +- {2 * lds['se']:.2f}",
            f"+- {2 * lds['chance']:.2f}",
            _range(own["slope"]),
            _range(test["slope"]),
            f"{own['error_corrected']['value']:.2f} / {own['truth_corrected']['value']:.2f}",
        )
    console.print(table)
    best = found["ceiling"]
    console.print(
        "LDS: how well the order of the sets is predicted, test row by test row; with the noise "
        f"of so few models at best {_range(best)}. Slope: "
        "of the true on the predicted change of margins; 1 at best. Error and truth: the size of "
        "what is missed and of the true change of the forgotten rows, nats, less the noise of so "
        "few models."
    )
    console.print(f"Wrote {folder / 'evaluation.json'} and figures beside it.")


def _range(estimate: Any) -> str:
    if estimate is None:
        return "no change predicted"
    return f"{estimate['value']:.2f} ({estimate['low']:.2f} to {estimate['high']:.2f})"
