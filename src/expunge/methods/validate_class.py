"""What a class must have to be a method, be it ours or another package's."""

from typing import Any

from expunge.methods.method import Claim
from expunge.registry import Fault, class_faults
from expunge.registry.faults import shown

NEEDS = {  # what a method may be handed, see `MethodInputs`
    "recipe": "a recipe or Trainer in the problem",
    "change": "an attribution (of the model itself, or from half-data models)",
    "teachers": "a retrained model as teacher",
    "history": "how a Recipe trained the model (`expunge train`)",
    "recording": "the steps as they were recorded (`expunge train --record`)",
}
RESERVED = {  # what `forget` and its command line call something else
    *("problem", "model", "rows", "method", "out", "estimate", "budget", "half_models", "seed"),
    *("store", "jobs", "device", "help", "runtime", "build", "command", "mask", "history"),
    *("backend", "address", "gpus_per_task", "ids"),
}
MEMBERS = {
    "__call__": "def __call__(self, problem, models, inputs=MethodInputs(), *, seed)",
    "price": "def price(self, problem)",
}


def validate_class(kind: Any) -> list[Fault]:
    """Everything that keeps a class from being a method; the contract suite tests what it does."""
    found = class_faults(kind, MEMBERS)
    if not isinstance(kind, type):
        return found
    if not isinstance(source := getattr(kind, "source", None), str) or not source.strip():
        wanted = 'write source: ClassVar[str] = "Author and Author year, arXiv number"'
        found.append(Fault(f"its source is {shown(source)}", wanted))
    if not isinstance(claim := getattr(kind, "claim", None), Claim):
        wanted = f"write claim: ClassVar[Claim] = Claim.APPROXIMATE, or {_one_of(Claim)}"
        found.append(Fault(f"its claim is {shown(claim)}", wanted))
    needs = getattr(kind, "needs", None)
    if not isinstance(needs, frozenset) or not needs <= NEEDS.keys():
        wanted = (
            f"write needs: ClassVar[frozenset[str]] = frozenset(), or some of {', '.join(NEEDS)}"
        )
        found.append(Fault(f"its needs are {shown(needs)}", wanted))
    elif "recording" in needs and "history" not in needs:
        found.append(Fault("it needs a recording without its history", "add 'history' to needs"))
    if (closer := getattr(kind, "closer", None)) is not None and not _is_closer(closer):
        found.append(Fault(f"its closer is {shown(closer)}", "write (0.5, {settings})"))
    if not _words(exempt := getattr(kind, "exempt", {})):
        found.append(Fault(f"its exempt is {shown(exempt)}", 'write {"law": "the reason why"}'))
    found += [
        Fault(f"`forget` has a {name} of its own", f"rename {name}")
        for name in sorted(RESERVED & getattr(kind, "__dataclass_fields__", {}).keys())
    ]
    return found


def _words(exempt: Any) -> bool:
    return isinstance(exempt, dict) and all(
        isinstance(word, str) and word.strip() for pair in exempt.items() for word in pair
    )


def _is_closer(closer: Any) -> bool:
    return isinstance(closer, tuple) and [type(part) for part in closer] == [float, dict]


def _one_of(claims: type[Claim]) -> str:
    return ", ".join(f"Claim.{claim.name}" for claim in claims if claim is not Claim.APPROXIMATE)
