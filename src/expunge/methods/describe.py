"""What is to be said about a method, for the command line, its page and programs."""

import inspect
import re
import sys
from dataclasses import dataclass
from typing import Any

from expunge.methods.method import Method
from expunge.methods.validate_class import NEEDS
from expunge.registry import Setting, described


@dataclass(frozen=True)
class About:
    """A method on paper; texts are plain, of one paragraph or several."""

    name: str
    what: str  # in one line, from the class
    claim: str
    needs: tuple[str, ...]  # of NEEDS; empty: the model and its data suffice
    source: str  # in one line
    settings: tuple[Setting, ...]
    # from the header of its file; "" where it does not say
    title: str
    origin: str  # the source with its title, section or equation
    differs: str  # from the source
    cost: str


def about(kind: type[Method]) -> About:
    """All that a method's class and the header of its file say."""
    said = _header(inspect.getdoc(sys.modules[kind.__module__]) or "")
    return About(
        kind.name,
        (inspect.getdoc(kind) or "").partition("\n")[0],
        str(kind.claim),
        tuple(need for need in NEEDS if need in kind.needs),
        kind.source,
        tuple(described(kind)),
        **said,
    )


def _header(text: str) -> dict[str, Any]:
    """The parts of a file's header; each begins with its word and a colon, in this order."""
    words = {"Source": "origin", "Differs": "differs", "Cost": "cost"}
    parts = re.split(rf"(?:^|\s)({'|'.join(words)}):\s", text)
    pairs = zip(parts[1::2], parts[2::2], strict=True)
    said = {words[word]: " ".join(part.split()) for word, part in pairs}
    title = re.sub(r"(?<!\n)\n(?!\n)", " ", parts[0].strip())
    return {"title": title, "origin": "", "differs": "", "cost": "", **said}
