"""The card beside every model that is written: where it comes from and what is gone from it."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from expunge import store
from expunge.api.published_ids import published_ids, require_same_ids
from expunge.errors import BadInput
from expunge.problem import Problem
from expunge.store.checksummed import (
    read_checked,
    read_checksummed,
    write_checked,
    write_checksummed,
)
from expunge.store.locks import exclusive

SCHEMA = "expunge.card/1"


@dataclass(frozen=True)
class Card:
    """Facts about one unlearned model; rows are numbers of the train data."""

    parent: str  # SHA-256 of the weights that it was made from
    weights: str  # SHA-256 of its own
    forgotten: list[int]  # by this request
    forgotten_before: list[int]  # by earlier requests
    method: str
    claim: str
    settings: dict[str, Any]
    seed: int
    changed: float  # largest absolute change of a weight
    reason: str
    cost: dict[str, Any]
    shared_cost: dict[str, Any] | None
    problem: str
    claim_detail: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)
    people: dict[str, Any] | None = None  # see `people_facts`

    def gone(self) -> list[int]:
        """All rows that the model was made to forget, by this and earlier requests."""
        return sorted([*self.forgotten_before, *self.forgotten])


def people_facts(problem: Problem) -> dict[str, Any] | None:
    """Whose rows a request forgets, for the card; None if rows have no ids.

    Returns:
        Numbers of "records", of "persons", and of persons "partly" forgotten, who keep other
        records; "ids", one a forgotten row in the order of `forgotten`, and "ids_before".
    """
    count = problem.people()
    if count is None:
        return None
    before = (~problem.present_mask).nonzero().squeeze(-1)
    named = {"ids": problem.forget, "ids_before": before}
    return {
        **count._asdict(),
        **{name: published_ids(problem, rows.tolist()) for name, rows in named.items()},
    }


def weights_digest(model: nn.Module) -> str:
    """The SHA-256 of a model's state: names, shapes, types and values."""
    return store.digest({name: t for name, t in untied(model.state_dict()).items()})


def write_model(model: nn.Module, card: Card, folder: Path) -> Path:
    """Write `model.card.json`, then `model.safetensors`; returns the path of the weights.

    Raises:
        BadInput: the folder holds a model already, which would be lost.
    """
    path = folder / "model.safetensors"
    with exclusive(folder):
        require_free(folder)
        write_checksummed(card_path(path), {"schema": SCHEMA, **asdict(card)})
        write_checked(path, untied(model.state_dict()))
    return path


def require_free(folder: Path) -> None:
    """Raise BadInput if a folder cannot be written, or holds a model that would be lost."""
    found = [name for name in ("model.safetensors", "model.pt") if (folder / name).exists()]
    if found:
        raise BadInput(
            f"{folder / found[0]} exists",
            expected="a folder without a model, so that no earlier one is lost",
            fix="choose another --out",
        )
    existed = folder.exists()
    store.require_writable(folder)
    if not existed:
        folder.rmdir()  # nothing is left behind if the request is refused later


def card_path(weights: Path) -> Path:
    """Where the card of a weights file lies."""
    return weights.with_suffix(".card.json")


def read_card(weights: Path) -> Card | None:
    """The card beside a weights file; None if there is none.

    Raises:
        BadInput: a card that cannot be read, or that belongs to other weights.
    """
    path = card_path(weights)
    if not path.exists():
        return None
    try:
        facts = read_checksummed(path)
        if facts.pop("schema") != SCHEMA:
            raise ValueError("another schema")
        return Card(**facts)
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f"{path} is not a model card ({error})",
            expected=f"the card that expunge wrote, schema {SCHEMA}",
            fix="restore it; without it, nobody knows which rows are gone already",
        ) from error


def load_model(path: Path, template: nn.Module) -> tuple[nn.Module, Card | None]:
    """Weights from a `.safetensors` or `.pt` file put into `template`, and their card if any.

    Raises:
        BadInput: no such file, damaged, holding more than tensors, or not fitting the template;
            a card of other weights.
    """
    if not path.exists():
        raise BadInput(f"there is no file {path}", expected="trained weights", fix="check the path")
    try:
        if path.suffix == ".safetensors":
            state = read_checked(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, LookupError, ValueError, EOFError) as error:
        raise BadInput(
            f"{path} cannot be read as weights ({_first_line(error)})",
            expected="a .safetensors file, or a .pt file that holds only a state dict",
            fix="save it anew: torch.save(model.state_dict(), ...) or safetensors' save_model",
        ) from error
    except Exception as error:  # weights_only refuses foreign classes with pickle's own error
        if type(error).__name__ != "UnpicklingError":
            raise
        raise BadInput(
            f"{path} holds more than tensors, and loading it could run its code",
            expected="a state dict of tensors alone",
            fix="save it anew: torch.save(model.state_dict(), ...)",
        ) from error
    try:
        missing, unexpected = template.load_state_dict(state, strict=False)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise _misfit(path, _first_line(error)) from error
    tied = set(template.state_dict()) - set(untied(template.state_dict()))
    if unexpected or set(missing) - tied:
        raise _misfit(path, f"missing {missing[:3]}, unexpected {unexpected[:3]}")
    card = read_card(path)
    if card is not None and card.weights != weights_digest(template):
        raise BadInput(
            f"the card beside {path} is of other weights",
            expected=f"weights with digest {card.weights[:12]}...",
            fix="put the card and the weights that belong together side by side",
        )
    return template, card


def after_card(problem: Problem, card: Card | None) -> Problem:
    """The problem as the carded model was left: rows that are gone are not present.

    Raises:
        BadInput: see `require_rows`.
    """
    if card is None or not card.gone():
        return problem
    require_rows(problem, card)
    return problem.without(torch.tensor(card.gone(), dtype=torch.int64))


def require_rows(problem: Problem, card: Card) -> None:
    """Raise BadInput if the problem lacks rows of a card, or they belong to other persons here."""
    if not card.gone():
        return
    if card.gone()[0] < 0 or card.gone()[-1] >= len(problem.train):
        raise BadInput(
            f"the model's card says that row {card.gone()[-1]} is gone",
            expected=f"rows of this problem's train data, 0 to {len(problem.train) - 1}",
            fix="use the problem that the model was trained on",
        )
    if card.people is not None:
        require_same_ids(problem, card.forgotten, card.people["ids"])
        require_same_ids(problem, card.forgotten_before, card.people["ids_before"])


def untied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict in which a tensor shared by two names appears once, under the first."""
    seen: set[tuple] = set()
    kept = {}
    for name, tensor in state.items():
        place = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride())
        if tensor.numel() == 0 or place not in seen:
            kept[name] = tensor.detach()
            seen.add(place)
    return kept


def _first_line(error: BaseException) -> str:
    return (
        str(error).strip().splitlines()[-1].strip() if str(error).strip() else type(error).__name__
    )


def _misfit(path: Path, why: str) -> BadInput:
    return BadInput(
        f"{path} does not fit the model ({why})",
        expected="weights of the same architecture that `build` makes",
        fix="build the model as it was when these weights were saved",
    )
