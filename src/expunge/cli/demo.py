"""`expunge demo`: the main job on embedded data."""

from pathlib import Path

import typer

from expunge.cli.where import Address, Backend, GpusPerTask, Jobs, placed


def demo(
    out: Path = typer.Option(Path("expunge-demo"), help="Folder of the results."),
    members: int = typer.Option(100, min=10, help="Models on each side; KLoM needs at least 50."),
    seed: int = typer.Option(0, help="Decides every random draw."),
    half_models: int = typer.Option(1000, min=20, help="Half-data models for the attribution."),
    jobs: Jobs = None,
    backend: Backend = "processes",
    address: Address = None,
    gpus_per_task: GpusPerTask = None,
    group: int = typer.Option(
        None, min=1, help="Models trained at once; default chosen by a short timing."
    ),
    device: str = typer.Option("cpu", help="Where models are trained, e.g. cuda."),
) -> None:
    """Forget 30 of 1,437 hand-written digits with eight methods, and judge each one.

    Trains originals, retrained models ("oracles") and half-data models, forgets, compares the
    answers with the oracles', and writes audit.json, evidence/ and report.html. Killed at any
    moment, the same command goes on where it was.
    """
    from time import perf_counter

    from rich.console import Console

    from expunge.api.provenance import shell_command
    from expunge.report import table
    from expunge.zoo.demo import run_demo

    start, console = perf_counter(), Console()
    runtime = placed(
        out / "store", device, jobs, backend, address, gpus_per_task, seed=seed, group=group
    )
    command = shell_command(
        *("expunge", "demo"),
        out=out,
        members=members,
        seed=seed,
        half_models=None if half_models == 1000 else half_models,
        group=group,
        device=None if device == "cpu" else device,
    )
    judged = run_demo(out, runtime, members=members, half_models=half_models, command=command)
    console.print(table(judged, console.width))
    console.print(
        f"Took {perf_counter() - start:.0f} s. Open {out / 'report.html'} to read the report;"
    )
    console.print(f"`expunge verify {out}` recomputes every number in it.")
