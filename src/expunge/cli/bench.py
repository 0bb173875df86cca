"""`expunge bench`: compare methods on a grid of forget sets and seeds."""

from pathlib import Path

import typer

from expunge.cli.where import Address, Backend, GpusPerTask, Jobs, placed


def bench(
    config: Path = typer.Argument(
        None, help="TOML file; docs/bench.md explains it. Not needed with --draw."
    ),
    out: Path = typer.Option(Path("expunge-bench"), help="Folder of the results."),
    data: Path = typer.Option(
        None, help="Folder of the data sets; default the one that EXPUNGE_DATA names."
    ),
    store: Path = typer.Option(None, help="Where made models are kept; default OUT/store."),
    jobs: Jobs = None,
    backend: Backend = "processes",
    address: Address = None,
    gpus_per_task: GpusPerTask = None,
    group: int = typer.Option(
        None, min=1, help="Models trained at once; default chosen by a short timing."
    ),
    device: str = typer.Option("cpu", help="Where models are trained, e.g. cuda."),
    only_draw: bool = typer.Option(
        False, "--draw", help="Only make tables and figures again from OUT/bench.json."
    ),
) -> None:
    """Tune, forget and judge with every method of a config, and write tables and figures.

    Every method gets the same number of trials; settings are chosen without retrained models, and
    by retrained models that do not judge. Writes evidence/ (what every model answered on every
    row), bench.json, tables.md, tables.tex, figures and index.html. Killed at any moment, the
    same command goes on where it was. `expunge verify OUT` recomputes every score.
    """
    from time import perf_counter

    from rich.console import Console

    from expunge.api.provenance import shell_command
    from expunge.bench.parsing import read
    from expunge.bench.render import render
    from expunge.bench.rescore import load
    from expunge.bench.run import run
    from expunge.cli.inputs import load_problem
    from expunge.errors import BadInput

    start, console = perf_counter(), Console(highlight=False)
    if only_draw:
        content = load(out)
    elif config is None:
        raise BadInput(
            "no config was given", expected="a TOML file, or --draw", fix="see docs/bench.md"
        )
    else:
        asked = read(config)
        base, _ = load_problem(asked.problem, data, asked.options)
        runtime = placed(
            store or out / "store", device, jobs, backend, address, gpus_per_task, group=group
        )
        command = shell_command(
            *("expunge", "bench", config),
            out=out,
            store=store,
            group=group,
            device=None if device == "cpu" else device,
        )
        content = run(asked, base, out, runtime, command=command)
    written = render(content, out)
    tables = next(path for path in written if path.name == "tables.md")
    console.print(tables.read_text(), markup=False, soft_wrap=True)
    console.print(f"Took {perf_counter() - start:.0f} s. Open {out / 'index.html'} to read it all;")
    console.print(f"`expunge verify {out}` recomputes every score.")
