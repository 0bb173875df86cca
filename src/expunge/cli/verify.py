"""`expunge verify`: recompute an audit from its evidence."""

from pathlib import Path

import typer


def verify(
    folder: Path = typer.Argument(
        ..., help="Folder of an audit (audit.json, evidence/) or of a benchmark (bench.json)."
    ),
) -> None:
    """Recompute every number, except declared costs, from the arrays beside it.

    Exit code 0 if all agree, 1 if some do not, 2 if the evidence is missing or damaged.
    """
    if (folder / "bench.json").is_file():
        from expunge.bench.rescore import verify as recompute

        written, declared = "bench.json", "trials and what they chose"
    else:
        from expunge.api.verify import verify as recompute

        written, declared = "audit.json", "claims, changes of weights"
    differences = recompute(folder)
    for line in differences:
        print(line)
    if differences:
        print(f"{len(differences)} numbers of {folder / written} do not follow from evidence/.")
        raise typer.Exit(1)
    print(f"The evidence is whole, and every number of {folder / written} follows from it.")
    print(f"Declared, and not checked: {declared}, costs, settings, the run.")
