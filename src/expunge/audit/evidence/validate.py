"""Refusals of evidence whose arrays do not fit together, so that no metric meets them."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from expunge.audit.evidence.chunks import Array, member_cuts
from expunge.audit.evidence.groups import GROUPS, MARGIN
from expunge.audit.evidence.margin import MADE_HERE
from expunge.errors import BadInput, nearest

Tensors = Mapping[str, Tensor]
Arrays = Mapping[str, Array]


def check_models(files: Mapping[str, Arrays], kind: str) -> None:
    """Check what models said: all files must hold the same rows (and classes), all finite.

    Args:
        files: name of the file -> its tensors; one is called "original".
        kind: of the task; margins may be missing for "classification" and "regression" alone.

    Raises:
        BadInput: margins that are missing; a tensor that is missing, of a wrong shape or dtype,
            shaped unlike the original's, or not finite.
    """
    _check_margins(files, kind)
    for name, tensors in files.items():
        _require(name, tensors, GROUPS)
        for group in GROUPS:
            _check_shape(f"{group} in {name}.safetensors", tensors[group], kind)
        counts = {group: len(tensors[group]) for group in GROUPS}
        if len(set(counts.values())) > 1:
            raise BadInput(
                f"{name}.safetensors holds different numbers of models: {counts}",
                expected="the same models in every group",
                fix="write the outputs of all models on all rows",
            )
    for name, tensors in files.items():
        for group in GROUPS:
            given, wanted = tensors[group].shape[1:], files["original"][group].shape[1:]
            if given != wanted and not (
                name.startswith("unlearned-") and _grown(given, wanted, kind)
            ):
                raise BadInput(
                    f"{group} in {name}.safetensors has shape (members, {_csv(given)})",
                    expected=f"(members, {_csv(wanted)}) as in original.safetensors",
                    fix="compute all files on the same rows, all as outputs or all as margins",
                )
            _check_finite(f"{group} in {name}.safetensors", tensors[group])


def _grown(given: torch.Size, wanted: torch.Size, kind: str) -> bool:
    """Whether a classification has got more classes, as a method may add some."""
    both = kind == "classification" and len(given) == len(wanted) == 2
    return both and given[0] == wanted[0] and given[1] > wanted[1]


def _check_margins(files: Mapping[str, Arrays], kind: str) -> None:
    """All files hold the task's margins, or none where they can be made of the outputs."""
    wanted = [(name, group + MARGIN) for name in files for group in GROUPS]
    lacking = [f"{key} in {name}.safetensors" for name, key in wanted if key not in files[name]]
    if lacking and (kind not in MADE_HERE or len(lacking) < len(wanted)):
        known = " or ".join(f'"{name}"' for name in MADE_HERE)
        raise BadInput(
            f"{lacking[0]} is missing, of kind {kind!r}{nearest(kind, MADE_HERE)}",
            expected=f"margins (members, rows) of each group in each file; none at all only of "
            f"kind {known}, whose margins are made of the outputs",
            fix="write what the task's `margin` gives beside the answers, or correct the kind",
        )
    for name, key in [] if lacking else wanted:
        what, values = f"{key} in {name}.safetensors", files[name][key]
        group = key.removesuffix(MARGIN)
        rows = files[name][group].shape[:2] if group in files[name] else values.shape
        if tuple(values.shape) != tuple(rows) or not values.dtype.is_floating_point:
            raise BadInput(
                f"{what} is {values.dtype} of shape ({_csv(values.shape)})",
                expected=f"floats of shape ({_csv(rows)}), one for each model and row of {group}",
                fix="write one margin for each model and row",
            )
        _check_finite(what, values)


def check_targets(targets: Tensors, models: Arrays, kind: str) -> None:
    """Check true classes or values, and row numbers, against what one file of models holds.

    Args:
        targets: the tensors of targets.safetensors.
        models: the tensors of a file that `check_models` accepts.
        kind: of the task; only "classification" and "regression" need targets.

    Raises:
        BadInput: a tensor that is missing, of a wrong shape or dtype, not finite or out of range;
            a row that is both forgotten and retained.
    """
    needed = GROUPS if kind in MADE_HERE else ()
    _require("targets", targets, (*needed, "forget_rows", "retain_rows"))
    for group in GROUPS:
        rows, values = models[group].shape[1], targets.get(group)
        what = f"{group} in targets.safetensors"
        if values is not None:
            axes = 1 if kind in MADE_HERE else max(values.ndim, 1)
            _check_rows(what, values, rows, axes)
            if kind == "classification":
                classes = models[group].shape[2] if len(models[group].shape) == 3 else None
                _check_classes(what, values, classes)
            elif values.is_floating_point() or kind == "regression":
                _check_finite(what, values)
        numbers = targets.get(f"{group}_rows")
        if numbers is not None:
            _check_rows(f"{group}_rows in targets.safetensors", numbers, rows)
            if numbers.dtype != torch.int64 or len(numbers.unique()) < rows:
                raise BadInput(
                    f"{group}_rows in targets.safetensors is {numbers.dtype} or repeats a row",
                    expected="each row number once, int64",
                    fix="write the numbers that the rows have in their data set",
                )
    both = torch.isin(targets["forget_rows"], targets["retain_rows"])
    if both.any():
        raise BadInput(
            f"row {int(targets['forget_rows'][both][0])} is both forgotten and retained",
            expected="forget_rows and retain_rows without a common row",
            fix="leave forgotten rows out of the retained ones",
        )


def check_untrained(untrained: Arrays, models: Arrays) -> None:
    """Check the outputs of one untrained model on the forgotten rows.

    Args:
        untrained: the tensors of untrained.safetensors.
        models: the tensors of a file that `check_models` accepts.

    Raises:
        BadInput: no tensor "forget", another shape than (1, rows, C), or not finite.
    """
    _require("untrained", untrained, ("forget",))
    values, rows = untrained["forget"], models["forget"].shape[1]
    what = "forget in untrained.safetensors"
    if len(values.shape) != 3 or tuple(values.shape[:2]) != (1, rows):
        raise BadInput(
            f"{what} has shape ({_csv(values.shape)})",
            expected=f"(1, {rows}, C): one model on the forgotten rows",
            fix="keep an axis of length 1 for the model, or leave the file out",
        )
    _check_finite(what, values)


def check_pictures(pictures: Tensors, targets: Tensors) -> None:
    """Check the pictures of the forgotten rows.

    Args:
        pictures: the tensors of pictures.safetensors.
        targets: targets that `check_targets` accepts.

    Raises:
        BadInput: no tensor "forget", another dtype than uint8, or another shape than
            (rows, H, W) or (rows, H, W, 3).
    """
    _require("pictures", pictures, ("forget",))
    given, rows = pictures["forget"], len(targets["forget_rows"])
    flat = given.ndim == 3 or (given.ndim == 4 and given.shape[3] == 3)
    if given.dtype != torch.uint8 or not flat or len(given) != rows:
        raise BadInput(
            f"forget in pictures.safetensors is {given.dtype} of shape ({_csv(given.shape)})",
            expected=f"uint8 of shape ({rows}, H, W) or ({rows}, H, W, 3)",
            fix="write one picture a forgotten row, or leave the file out",
        )


def check_texts(texts: Any, targets: Tensors, word: str = "text") -> None:
    """Check the texts, or the ids, of the forgotten rows.

    Args:
        texts: what stands for the forgotten rows in texts.json or people.json.
        targets: targets that `check_targets` accepts.
        word: what each of them is, for errors.

    Raises:
        BadInput: no list of texts, another number of them than of forgotten rows, or one that
            cannot be written as UTF-8.
    """
    rows = len(targets["forget_rows"])
    fix = f"pass one {word} a forgotten row, in the order of their numbers, or none at all"
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise BadInput(f"{word}s that are no list of strings", expected=f"{rows} strings", fix=fix)
    if len(texts) != rows:
        raise BadInput(
            f"{len(texts)} {word}s for {rows} forgotten rows", expected=f"{rows} {word}s", fix=fix
        )
    for place, text in enumerate(texts):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise BadInput(
                f"{word} {place} cannot be written as UTF-8 ({error.reason})",
                expected="whole characters",
                fix='read the text again with the right encoding, or errors="replace"',
            ) from error


def _require(name: str, tensors: Arrays, needed: tuple[str, ...]) -> None:
    for key in needed:
        if key not in tensors:
            raise BadInput(
                f"tensor {key!r} is missing in {name}.safetensors",
                expected=f"{', '.join(needed)} (there: {', '.join(sorted(tensors)) or 'none'})",
                fix="write it into the file",
            )


def _check_shape(what: str, values: Array, kind: str) -> None:
    axes = len(values.shape)
    fits = axes == 2 or (axes == 3 and (values.shape[2] == 1) == (kind == "regression"))
    if kind not in MADE_HERE:
        fits = axes >= 2
    if not fits or 0 in values.shape or not values.dtype.is_floating_point:
        last = {"regression": "1", "classification": "C >= 2"}.get(kind, "K")
        raise BadInput(
            f"{what} is {values.dtype} of shape ({_csv(values.shape)})",
            expected=f"floats of shape (members, rows, {last}) or (members, rows), none empty",
            fix="write outputs or margins, models first",
        )


def _check_finite(what: str, values: Array) -> None:
    count, first = 0, []
    for cut in member_cuts(values):
        piece = values[cut]
        # where all is well one pass: NaN and infinity both reach the extremes
        if not torch.stack(piece.aminmax()).isfinite().all():
            bad = ~piece.isfinite()
            place, *rest = bad.nonzero()[0].tolist()
            count, first = count + int(bad.sum()), first or [cut.start + place, *rest]
    if count:
        raise BadInput(
            f"{what} holds {count} NaN or infinite values, first at ({_csv(first)})",
            expected="finite numbers",
            fix="look for a model whose training diverged, and train it again",
        )


def _check_rows(what: str, values: Tensor, rows: int, axes: int = 1) -> None:
    if values.ndim != axes or len(values) != rows:
        raise BadInput(
            f"{what} has shape ({_csv(values.shape)})",
            expected=f"({rows},), one for each row that the models were asked about",
            fix="write the same rows in the same order",
        )


def _check_classes(what: str, values: Tensor, classes: int | None) -> None:
    if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
        raise BadInput(
            f"{what} is {values.dtype}",
            expected="class numbers of an integer dtype",
            fix='convert them to int64, or use kind "regression"',
        )
    if values.min() < 0 or (classes is not None and values.max() >= classes):
        raise BadInput(
            f"{what} ranges from {int(values.min())} to {int(values.max())}",
            expected="class numbers from 0" + (f" to {classes - 1}" if classes else ""),
            fix="number the classes as the outputs do",
        )


def _csv(numbers: Iterable[int]) -> str:
    return ", ".join(str(number) for number in numbers)
