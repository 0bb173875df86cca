"""What a class must have to be a method, be it ours or another package's."""

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from typing import Any, NamedTuple

from expunge.errors import BadInput
from expunge.methods.method import Claim
from expunge.methods.setting import Setting, described

NEEDS = {  # what a method may be handed, see `MethodInputs`
    "recipe": "a recipe or Trainer in the problem",
    "change": "an attribution (of the model itself, or from half-data models)",
    "teachers": "a retrained model as teacher",
    "history": "how a Recipe trained the model (`expunge train`)",
}
RESERVED = {  # what `forget` and its command line call something else
    *("problem", "model", "rows", "method", "out", "estimate", "budget", "half_models", "seed"),
    *("store", "jobs", "device", "help", "runtime", "build", "command", "mask", "history"),
    *("backend", "address", "gpus_per_task"),
}
KINDS = (int, float, str, bool)
CALL = "def __call__(self, problem, models, inputs=MethodInputs(), *, seed)"
PRICE = "def price(self, problem)"


class Fault(NamedTuple):
    """What a class lacks, and what to write."""

    what: str
    fix: str


def validate_class(kind: Any) -> list[Fault]:
    """Everything that keeps a class from being a method; the contract suite tests what it does."""
    if not isinstance(kind, type):
        return [Fault(f"it is {type(kind).__name__} and no class", "name the class itself")]
    found = [*_of_the_class(kind)]
    if is_dataclass(kind):
        found += _of_the_fields(kind)
    return found


def _of_the_class(kind: Any) -> Iterator[Fault]:
    if not getattr(getattr(kind, "__dataclass_params__", None), "frozen", False):
        yield Fault("it is no frozen dataclass", "write @dataclass(frozen=True) above the class")
    doc = kind.__doc__ or ""
    if not doc or doc.startswith(f"{kind.__name__}("):  # as dataclass writes it
        yield Fault("it has no docstring", "say in one line what it does")
    name = getattr(kind, "name", None)
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        yield Fault(
            f"its name is {_shown(name)}",
            'write name: ClassVar[str] = "...", lower-case words with hyphens',
        )
    if not isinstance(source := getattr(kind, "source", None), str) or not source.strip():
        yield Fault(
            f"its source is {_shown(source)}",
            'write source: ClassVar[str] = "Author and Author year, arXiv number"',
        )
    if not isinstance(claim := getattr(kind, "claim", None), Claim):
        yield Fault(
            f"its claim is {_shown(claim)}",
            f"write claim: ClassVar[Claim] = Claim.APPROXIMATE, or {_one_of(Claim)}",
        )
    needs = getattr(kind, "needs", None)
    if not isinstance(needs, frozenset) or not needs <= NEEDS.keys():
        yield Fault(
            f"its needs are {_shown(needs)}",
            f"write needs: ClassVar[frozenset[str]] = frozenset(), or some of {', '.join(NEEDS)}",
        )
    for member, wanted in (("__call__", CALL), ("price", PRICE)):
        if not _takes(_defined(kind, member), wanted):
            yield Fault(f"its {member} is not as a method's", f"write {wanted}")
    if not _words(exempt := getattr(kind, "exempt", {})):
        yield Fault(f"its exempt is {_shown(exempt)}", 'write {"law": "the reason why"}')


def _of_the_fields(kind: Any) -> list[Fault]:
    try:
        known = described(kind)
    except Exception as error:  # any name may be missing in an annotation
        return [Fault(f"its annotations cannot be read: {error}", "import what they name")]
    found = []
    for s in known:
        if s.kind not in KINDS:
            found.append(Fault(f"{s.name} is no number, word or truth", "annotate it with one"))
        if s.name in RESERVED:
            found.append(Fault(f"`forget` has a {s.name} of its own", f"rename {s.name}"))
        if not s.what:
            found.append(
                Fault(
                    f"{s.name} does not say what it means",
                    f'write {s.name}: {getattr(s.kind, "__name__", s.kind)} = setting(default, "'
                    'meaning", unit="...", typical="...", least=...)',
                )
            )
    short, names = getattr(kind, "short", {}), {s.name for s in known}
    if not isinstance(short, dict) or not short.keys() <= names:
        found.append(Fault(f"its short is {_shown(short)}", "give some of its own settings"))
    return found or _of_the_values(kind, known, short)


def _of_the_values(kind: Any, known: list[Setting], short: dict[str, Any]) -> list[Fault]:
    for chosen, which in (({}, "default settings"), (short, "`short` settings")):
        try:
            kind(**chosen)
        except (BadInput, TypeError) as error:
            return [Fault(f"it refuses its own {which}: {error}", "correct the value")]
    return [
        Fault(
            f"it takes {s.name} = {value}, which is not {s.allowed}",
            "write def __post_init__(self): check(self)",
        )
        for s in known
        for value in _useless(s)
        if not _refuses(kind, s.name, value)
    ]


def _useless(known: Setting) -> Iterator[Any]:
    """Values that must be refused."""
    if known.choices:
        yield "no such word"
    if known.least is not None:
        yield known.kind(known.least - 1)
    if known.most is not None:
        yield known.kind(known.most + 1)
    if known.kind is float:
        yield float("nan")


def _refuses(kind: Any, name: str, value: Any) -> bool:
    try:
        kind(**{name: value})
    except BadInput:
        return True
    return False


def _defined(kind: type, member: str) -> Any:
    """What a class itself or a parent other than `object` and `type` defines under a name."""
    return next((vars(c)[member] for c in kind.__mro__[:-1] if member in vars(c)), None)


def _takes(function: Callable[..., Any] | None, wanted: str) -> bool:
    """Whether a function has the parameters of `wanted`."""
    if not inspect.isfunction(function):
        return False
    inputs = inspect.signature(function).parameters
    if list(inputs) != re.findall(r"\w+", wanted.replace("=MethodInputs()", "").partition("(")[2]):
        return False
    if "seed" not in inputs:
        return True
    optional = inputs["inputs"].default is not inspect.Parameter.empty
    return optional and inputs["seed"].kind is inspect.Parameter.KEYWORD_ONLY


def _words(exempt: Any) -> bool:
    return isinstance(exempt, dict) and all(
        isinstance(word, str) and word.strip() for pair in exempt.items() for word in pair
    )


def _shown(value: Any) -> str:
    return "missing" if value is None else repr(value)


def _one_of(claims: type[Claim]) -> str:
    return ", ".join(f"Claim.{claim.name}" for claim in claims if claim is not Claim.APPROXIMATE)
