"""What differs between two documents, number by number."""

import json
import math
from collections.abc import Iterator
from typing import Any

NOTHING = object()
SMALLEST = 1e-12  # numbers closer than this are equal: sums that are 0 but for rounding


def differences(old: Any, new: Any, tolerance: float = 1e-9) -> list[str]:
    """List where a file and what its evidence gives are not the same.

    Args:
        old: the document in the file.
        new: the document recomputed.
        tolerance: relative difference up to which two numbers are equal.

    Returns:
        Lines such as "methods.dmm.klom.forget.p95: file says 1.2, evidence gives 1.3", in the
        order of the paths; empty if the documents agree.
    """
    return [
        f"{path or 'the document'}: file says {_shown(a)}, evidence gives {_shown(b)}"
        for path, a, b in _walk("", old, new, tolerance)
    ]


def _walk(path: str, old: Any, new: Any, tolerance: float) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            inner = f"{path}.{key}" if path else key
            yield from _walk(inner, old.get(key, NOTHING), new.get(key, NOTHING), tolerance)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, (a, b) in enumerate(zip(old, new, strict=True)):
            yield from _walk(f"{path}[{i}]", a, b, tolerance)
    elif not _equal(old, new, tolerance):
        yield path, old, new


def _equal(old: Any, new: Any, tolerance: float) -> bool:
    if _number(old) and _number(new):
        return math.isclose(old, new, rel_tol=tolerance, abs_tol=SMALLEST)
    return type(old) is type(new) and old == new


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    return "nothing" if value is NOTHING else json.dumps(value)
