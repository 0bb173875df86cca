"""Record ids as files hold them: as they are, or as keyed hashes where a key is set."""

import hmac
import os
from collections.abc import Sequence

import torch

from expunge.errors import BadInput
from expunge.problem import Problem

KEY = "EXPUNGE_ID_KEY"  # in the environment, so that it gets into no file and no other machine
HASHED = "hmac-sha256:"


def published_ids(problem: Problem, rows: Sequence[int]) -> list[str] | None:
    """The ids of some rows for card, evidence and report; None if rows have no ids.

    With EXPUNGE_ID_KEY in the environment they are `keyed_hash` of the ids.
    """
    if problem.ids is None:
        return None
    known = problem.ids.texts(torch.as_tensor(rows, dtype=torch.int64))
    key = os.environ.get(KEY)
    return [keyed_hash(text, key) for text in known] if key else known


def keyed_hash(text: str, key: str) -> str:
    """`hmac-sha256:` and the HMAC-SHA256 of an id in hexadecimal: only the key finds it again."""
    return HASHED + hmac.digest(key.encode(), text.encode(), "sha256").hex()


def require_same_ids(problem: Problem, rows: Sequence[int], written: Sequence[str]) -> None:
    """Check that rows have the ids that a card names for them.

    Args:
        problem: if its rows have no ids, nothing is checked.
        rows: numbers of train rows.
        written: as `published_ids` returned them when the card was written.

    Raises:
        BadInput: a row with another id; keyed hashes without the key.
    """
    if problem.ids is None:
        return
    hashed, key = any(text.startswith(HASHED) for text in written), os.environ.get(KEY)
    if hashed and not key:
        raise BadInput(
            f"the model's card holds keyed hashes of ids, and {KEY} is not set",
            expected="the key that was set when the card was written",
            fix=f"export {KEY}=..., or use a problem without ids",
        )
    known = problem.ids.texts(torch.as_tensor(rows, dtype=torch.int64))
    if hashed:
        known = [keyed_hash(text, str(key)) for text in known]
    pairs = list(zip(rows, known, written, strict=False))
    wrong = [(row, text) for row, here, text in pairs if here != text]
    if wrong or len(rows) != len(written):
        row, text = wrong[0] if wrong else (None, "")
        raise BadInput(
            f"the model's card names {len(written)} ids for {len(rows)} rows"
            if row is None
            else f"{problem.row_name(row)} has the id {text!r} in the model's card "
            f"({len(wrong)} such)",
            expected="the train data of the card, in the same order"
            + (f", and the same {KEY}" if hashed else ""),
            fix="put the rows back in the order that they had for the first request",
        )
