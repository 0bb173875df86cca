"""`expunge verify`: recompute an audit from its evidence."""

from pathlib import Path

import typer


def verify(
    folder: Path = typer.Argument(..., help="Folder with audit.json and evidence/."),
) -> None:
    """Recompute every number of audit.json, except declared costs, from the evidence beside it.

    Exit code 0 if all agree, 1 if some do not, 2 if the evidence is missing or damaged.
    """
    from expunge.api.verify import verify as recompute

    differences = recompute(folder)
    for line in differences:
        print(line)
    if differences:
        print(
            f"{len(differences)} numbers of {folder / 'audit.json'} do not follow from evidence/."
        )
        raise typer.Exit(1)
    print(f"The evidence is whole, and every number of {folder / 'audit.json'} follows from it.")
    print("Declared, and not checked: claims, costs, settings, changes of weights, the run.")
