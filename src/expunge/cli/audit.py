"""`expunge audit`: how close an unlearned model is to retrained ones."""

from pathlib import Path

import typer

from expunge.cli.where import Address, Backend, GpusPerTask, Jobs, placed


def audit(
    problem: str = typer.Option(None, help="FILE.py:NAME of an expunge.Problem, or a known name."),
    model: Path = typer.Option(None, help="The original weights, before forgetting."),
    unlearned: Path = typer.Option(None, help="The weights to judge."),
    rows: Path = typer.Option(None, help="The forgotten rows, where the card does not say them."),
    oracles: int = typer.Option(20, help="Models to retrain and judge by; at least 10."),
    evidence: Path = typer.Option(None, help="Judge the arrays in this folder instead of a model."),
    kind: str = typer.Option(
        "classification", help="Of the task; any but classification and regression needs margins."
    ),
    out: Path = typer.Option(Path("audit"), help="Folder for audit.json, evidence/, report.html."),
    seed: int = typer.Option(0, help="Decides every random draw of the oracles."),
    store: Path = typer.Option(Path(".expunge"), help="Where oracles are kept for later."),
    jobs: Jobs = None,
    backend: Backend = "processes",
    address: Address = None,
    gpus_per_task: GpusPerTask = None,
    device: str = typer.Option("cpu", help="e.g. cuda."),
) -> None:
    """Judge an unlearned model, or arrays alone, against models retrained without the rows.

    Either --problem, --model and --unlearned, or --evidence with outputs or margins of original,
    oracle and unlearned models from any framework (layout: docs/audit_json.md).
    """
    from rich.console import Console

    from expunge.api.audit import audit as judge
    from expunge.api.audit import audit_evidence
    from expunge.api.provenance import shell_command
    from expunge.cli.inputs import load_problem, load_rows
    from expunge.errors import BadInput
    from expunge.report import table

    if evidence is not None:
        command = shell_command("expunge", "audit", evidence=evidence, kind=kind, out=out)
        judged = audit_evidence(evidence, out=out, kind=kind, command=command)
    elif problem is None or model is None or unlearned is None:
        named = {"--problem": problem, "--model": model, "--unlearned": unlearned}
        raise BadInput(
            f"{', '.join(flag for flag, value in named.items() if value is None)} not given",
            expected="--problem, --model and --unlearned, or --evidence",
            fix="see `expunge audit --help`",
        )
    else:
        asked, build = load_problem(problem)
        if rows is not None:
            asked = asked.forgetting(**load_rows(rows))
        command = shell_command(
            *("expunge", "audit"),
            problem=problem,
            model=model,
            unlearned=unlearned,
            rows=rows,
            oracles=oracles,
            seed=seed,
            out=out,
            store=store,
            device=device,
        )
        runtime = placed(store, device, jobs, backend, address, gpus_per_task, seed=seed)
        judged = judge(
            asked,
            model,
            unlearned,
            oracles=oracles,
            out=out,
            seed=seed,
            runtime=runtime,
            device=device,
            build=build,
            command=command,
        )
    console = Console()
    console.print(table(judged, console.width))
    for name, entry in judged["methods"].items():
        console.print(f"{name}: {entry['verdict']}. {' '.join(entry['verdict_reasons'])}")
    console.print(f"Open {out / 'report.html'} to read the report.")
