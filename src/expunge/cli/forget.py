"""`expunge forget`: one model without some rows, or what that would cost."""

from pathlib import Path
from typing import Any

import typer

from expunge.cli.where import Address, Backend, GpusPerTask, Jobs, placed


def forget(
    context: typer.Context,
    problem: str = typer.Option(..., help="FILE.py:NAME of an expunge.Problem, or a known name."),
    model: Path = typer.Option(..., help="Trained weights, .safetensors or .pt (a state dict)."),
    rows: Path = typer.Option(..., help="Text or CSV: row numbers, or a column `row` or `id`."),
    method: str = typer.Option(
        None, help="See `expunge methods`; default: chosen by cost. With --help: its settings."
    ),
    out: Path = typer.Option(Path("forgotten"), help="Folder for the new model and its card."),
    estimate: bool = typer.Option(
        False, "--estimate", help="Only say what each method would cost."
    ),
    budget: float = typer.Option(None, help="Largest cost, as a share of one retraining."),
    mask: str = typer.Option(
        "", help="saliency:0.5 moves only the half of the weights that matter most to the rows."
    ),
    half_models: int = typer.Option(1000, min=20, help="For methods that need an attribution."),
    history: Path = typer.Option(
        None, help="Folder that `expunge train` wrote; default that of --model."
    ),
    seed: int = typer.Option(0, help="Decides every random draw."),
    store: Path = typer.Option(Path(".expunge"), help="Where made models are kept for later."),
    jobs: Jobs = None,
    backend: Backend = "processes",
    address: Address = None,
    gpus_per_task: GpusPerTask = None,
    device: str = typer.Option("cpu", help="e.g. cuda."),
) -> None:
    """Remove training rows from a trained model.

    Writes OUT/model.safetensors and its card, which says what is gone; give that model to forget
    more later. Settings of the method are flags too, e.g. --lr 0.01: `--method NAME --help`
    explains those of each method.
    """
    from rich.console import Console

    from expunge.api.card import after_card, require_free
    from expunge.api.estimate import estimate as price
    from expunge.api.forget import as_module
    from expunge.api.forget import forget as run
    from expunge.api.provenance import shell_command
    from expunge.cli.inputs import load_problem, load_rows, method_settings
    from expunge.methods import masked
    from expunge.methods import method as choose

    console = Console(highlight=False)
    asked, build = load_problem(problem)
    chosen = method_settings(context.args)
    named = load_rows(rows)
    runtime = placed(store, device, jobs, backend, address, gpus_per_task, seed=seed)
    if estimate:
        module, card = as_module(model, asked, build)
        question = after_card(asked, card).forgetting(**named)
        found = price(
            question,
            module,
            runtime,
            half_models=half_models,
            budget=budget,
            method=masked(choose(method, **chosen), mask) if method else None,
            history=history or model.parent,
        )
        _print_estimate(console, found)
        return
    require_free(out)
    command = shell_command(
        *("expunge", "forget"),
        problem=problem,
        model=model,
        rows=rows,
        method=method,
        budget=budget,
        mask=mask,
        history=history,
        seed=seed,
        out=out,
        store=store,
        device=device,
        half_models=half_models,
        **chosen,
    )
    done = run(
        model,
        asked,
        **named,
        method=method,
        seed=seed,
        runtime=runtime,
        device=device,
        half_models=half_models,
        budget=budget,
        mask=mask,
        build=build,
        history=history,
        command=command,
        **chosen,
    )
    path = done.save(out)
    relative = done.card.cost["relative_to_retrain"]
    share = "" if relative is None else f", {relative:.3g} of one retraining"
    console.print(
        f"{len(done.card.forgotten)} rows forgotten with {done.card.method} "
        f"({done.card.claim}); {len(done.card.gone())} rows gone in all."
    )
    if done.card.people is not None:
        console.print(_persons(done.card.people))
    units = done.card.cost["row_units"]
    rows_read = "Cost in rows not known" if units is None else f"Cost {units:,} row units"
    console.print(f"{rows_read}, {done.cost.seconds:.2f} s{share}.")
    console.print(f"Wrote {path} and its card. Judge it with `expunge audit`.", soft_wrap=True)


def _persons(people: dict[str, Any]) -> str:
    """Whose rows they were, and how many of these persons keep others."""
    count, partly = people["persons"], people["partly"]
    kept = f"; {partly} of them {'has' if partly == 1 else 'have'} rows that stay" if partly else ""
    return f"These are rows of {count} {'person' if count == 1 else 'persons'}{kept}."


def _print_estimate(console: Any, found: Any) -> None:
    from rich.table import Table

    table = Table(box=None, title="What forgetting would cost one model", title_justify="left")
    table.add_column("method", no_wrap=True)
    for heading in ("row units", "seconds", "of a retraining", "made before", "in all"):
        table.add_column(heading, justify="right", no_wrap=True)
    for price in found.prices:
        if price.possible:
            table.add_row(price.method.name, "-", "-", "-", "-", f"no price: {price.possible}")
            continue
        whole = found.retraining
        own = f"{price.own.row_units / whole.row_units:.3g}" if whole else "not known"
        table.add_row(
            price.method.name,
            f"{price.own.row_units:,}",
            f"{price.own.seconds:.2f}",
            own,
            _shared(price),
            "not known" if price.relative is None else f"{price.relative:.3g}",
        )
    console.print(table)
    if found.retraining is not None:
        console.print(
            f"One retraining: {found.retraining.row_units:,} row units, "
            f"about {found.retraining.seconds:.1f} s. Shares are of that."
        )
    for price in found.prices:
        if price.shared and not price.reused:
            pays = price.shared["requests_to_pay"]
            console.print(
                f"Before {price.method.name}: {price.shared['what']}, "
                + (f"which pay from {pays:,} requests on." if pays else "for this request alone.")
            )
    if found.recommended is None:
        console.print(f"No recommendation: {found.because}.")
    else:
        from expunge.methods import settings

        flags = " ".join(f"--{n} {v}" for n, v in settings(found.recommended).items())
        console.print(f"Recommended: --method {found.recommended.name} {flags}".rstrip())
        console.print(f"  because {found.because}.", soft_wrap=True)


def _shared(price: Any) -> str:
    if price.shared is None:
        return ""
    return "made already" if price.reused else f"{price.shared['relative_to_retrain']:.3g}"
