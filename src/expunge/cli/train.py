"""`expunge train`: one original by the problem's recipe, and how it arose."""

from pathlib import Path

import typer

from expunge.errors import BadInput

SHOWN = ("strict", "paper", "code", "distance", "sigma", "rate")
LEGEND = (
    "strict: sigma x distance x the learning rates of all pairs of steps, over their sum; at a "
    "fixed rate, rate x (steps - 1) / 2 x sigma x distance. paper: the same with the rate "
    "squared. code: as published, with steps / 2 and the root of sigma. distance: of the "
    "weights from where they began. sigma: largest singular value of the Hessian, mean so far. "
    "To be compared with the same recipe otherwise trained, not with a threshold."
)


def train(
    problem: str = typer.Option(..., help="FILE.py:NAME of an expunge.Problem with a Recipe."),
    out: Path = typer.Option(Path("trained"), help="Folder for the model and its history."),
    track: str = typer.Option(
        None, help="unlearning-error: say along the training how well it could be unlearned."
    ),
    measurements: int = typer.Option(8, min=1, help="With --track: how often."),
    hessian_rows: int = typer.Option(
        512, min=0, help="With --track: training rows for the Hessian; 0 takes all."
    ),
    record: str = typer.Option(
        None,
        help="A list of rows, or all: write down what the steps that read them change, for "
        "--method amnesiac. A file of the size of the model for each step.",
    ),
    member: int = typer.Option(0, min=0, help="Which of the originals of this seed."),
    seed: int = typer.Option(0, help="Decides every random draw."),
    store: Path = typer.Option(Path(".expunge"), help="Where half-done work is kept."),
    device: str = typer.Option("cpu", help="e.g. cuda."),
) -> None:
    """Train one model, and remember how.

    Writes OUT/model.safetensors and its history, which --method single-gradient and --method
    amnesiac need to forget from it. The unlearning error (Thudi et al. 2022) is a proxy, from
    learning rate, steps, way gone and curvature, for how far single-gradient unlearning will end
    from retraining; training with SDPenalty in the recipe lowers it. Killed, the same command goes
    on where it was.
    """
    from rich.console import Console

    from expunge.api.provenance import shell_command
    from expunge.api.trained import train_model
    from expunge.cli.inputs import load_problem, load_rows
    from expunge.fanout.runtime import Runtime
    from expunge.store import Store

    if track not in (None, "unlearning-error"):
        raise BadInput(
            f"--track {track}", expected="--track unlearning-error", fix="correct the word"
        )
    console = Console(highlight=False, soft_wrap=True)
    asked, _ = load_problem(problem)
    rows = None
    if record is not None:
        rows = asked.present_rows if record == "all" else asked.named(**load_rows(Path(record)))
    tracking = {"track": track, "measurements": measurements, "hessian_rows": hessian_rows}
    command = shell_command(
        *("expunge", "train"),
        problem=problem,
        out=out,
        member=member,
        seed=seed,
        store=store,
        device=device,
        **(tracking if track else {}),
        record=record,
    )
    if track:
        console.print("Unlearning error along the training")
        console.print(_line("steps", *SHOWN))
    made = train_model(
        asked,
        out=out,
        runtime=Runtime(Store(store), seed=seed, device=device),
        member=member,
        track=measurements if track else 0,
        told=lambda one: console.print(_line(str(one["steps"]), *(f"{one[n]:.3g}" for n in SHOWN))),
        hessian_rows=hessian_rows,
        record=rows,
        command=command,
    )
    if made.tracked is not None:
        console.print(LEGEND)
        console.print(f"Wrote {out / 'unlearning_error.json'} and a figure beside it.")
    console.print(f"Wrote {out / 'model.safetensors'} and its history.")


def _line(*words: str) -> str:
    return "".join(f"{word:>10}" for word in words)
