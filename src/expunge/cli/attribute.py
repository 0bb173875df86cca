"""`expunge attribute`: half-data models, fitted once for every later request; how well it predicts."""

from pathlib import Path

import typer


def attribute(
    problem: str = typer.Option(..., help="FILE.py:NAME of an expunge.Problem."),
    kind: str = typer.Option(
        "datamodels", help="What predicts: linearised, combined, datamodels, difference, ..."
    ),
    models: int = typer.Option(1000, min=20, help="Half-data models; some hundreds predict well."),
    out: Path = typer.Option(None, help="The file; forget --attribution FILE uses it."),
    seed: int = typer.Option(0, help="Decides every random draw."),
    store: Path = typer.Option(Path(".expunge"), help="Where made models are kept for later."),
    jobs: int = typer.Option(None, help="Processes; default one a core."),
    device: str = typer.Option("cpu", help="e.g. cuda."),
) -> None:
    """Learn what each training row does to the outputs, once for any later forget set.

    Trains models on random halves of the rows and keeps what they say. Kinds that read the trained
    model itself (linearised, influence, ek-fac) need no fitting.
    """
    from rich.console import Console

    from expunge.api.attribute import attribute as fit
    from expunge.cli.inputs import load_problem
    from expunge.maker import Workshop
    from expunge.store import Store
    from expunge.train import retrain_units

    console = Console(highlight=False, soft_wrap=True)
    asked, _ = load_problem(problem)
    workshop = Workshop(Store(store), seed=seed, device=device, jobs=jobs)
    target = Path("attribution.zip") if out is None else out
    made = fit(asked, out=target, workshop=workshop, kind=kind, models=models)
    whole = retrain_units(asked)
    share = f", {made.count * made.one.row_units / whole:.3g} retrainings" if whole else ""
    console.print(
        f"{made.count:,} half-data models{share}"
        + (", found in the store." if made.reused else ".")
    )
    console.print(f"Wrote {target}. Use it: expunge forget --method dmm --attribution {target} ...")
