"""What a class must have to be registered: settings, a name, and members by their signatures."""

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from typing import Any, NamedTuple

from expunge.errors import BadInput
from expunge.registry.setting import REQUIRED, Setting, described, others

KINDS = (int, float, str, bool, tuple)


class Fault(NamedTuple):
    """What a class lacks, and what to write."""

    what: str
    fix: str


def class_faults(
    kind: Any, members: Mapping[str, str], inputs: frozenset[str] = frozenset()
) -> list[Fault]:
    """Everything that keeps a class from being registered.

    Args:
        kind: ought to be a frozen dataclass with a `name` and settings.
        members: the signature of each method that it must have.
        inputs: fields that it may have beside its settings.
    """
    if not isinstance(kind, type):
        return [Fault(f"it is {type(kind).__name__} and no class", "name the class itself")]
    found = [*_of_the_class(kind, members)]
    if is_dataclass(kind):
        found += _of_the_fields(kind, inputs)
    return found


def _of_the_class(kind: Any, members: Mapping[str, str]) -> Iterator[Fault]:
    if not getattr(getattr(kind, "__dataclass_params__", None), "frozen", False):
        yield Fault("it is no frozen dataclass", "write @dataclass(frozen=True) above the class")
    doc = kind.__doc__ or ""
    if not doc or doc.startswith(f"{kind.__name__}("):  # as dataclass writes it
        yield Fault("it has no docstring", "say in one line what it does")
    name = getattr(kind, "name", None)
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        yield Fault(
            f"its name is {shown(name)}",
            'write name: ClassVar[str] = "...", lower-case words with hyphens',
        )
    for member, wanted in members.items():
        if not takes(kind, member, wanted):
            yield Fault(f"its {member} is not as it must be", f"write {wanted}")


def _of_the_fields(kind: Any, inputs: frozenset[str]) -> list[Fault]:
    try:
        known = described(kind)
    except Exception as error:  # any name may be missing in an annotation
        return [Fault(f"its annotations cannot be read: {error}", "import what they name")]
    plain = [kind.__dataclass_fields__[name] for name in others(kind) if name not in inputs]
    found = [
        Fault(
            f"{f.name} does not say what it means",
            f'write {f.name}: {getattr(f.type, "__name__", f.type)} = setting(default, "'
            'meaning", unit="...", typical="...", least=...)',
        )
        for f in plain
    ]
    found += [
        Fault(f"{s.name} is no number, word or truth", "annotate it with one")
        for s in known
        if s.kind not in KINDS
    ]
    short, names = getattr(kind, "short", {}), {s.name for s in known}
    if not isinstance(short, dict) or not short.keys() <= names:
        found.append(Fault(f"its short is {shown(short)}", "give some of its own settings"))
    return found or _of_the_values(kind, known, short)


def _of_the_values(kind: Any, known: list[Setting], short: dict[str, Any]) -> list[Fault]:
    given: dict[str, Any] = dict.fromkeys(others(kind))
    needed = {s.name for s in known if s.default is REQUIRED}
    for chosen, which in (({}, "default settings"), (short, "`short` settings")):
        if needed <= chosen.keys():
            try:
                kind(**given, **chosen)
            except (BadInput, TypeError) as error:
                return [Fault(f"it refuses its own {which}: {error}", "correct the value")]
    return [
        Fault(
            f"it takes {s.name} = {value}, which is not {s.allowed}",
            "write def __post_init__(self): check(self)",
        )
        for s in known
        for value in _useless(s)
        if not _refuses(kind, {**given, **_usual(known), s.name: value})
    ]


def _usual(known: list[Setting]) -> dict[str, Any]:
    """A value that is allowed for each setting that has no default."""
    tried = [1, 0, 0.5, 1.0, "word", True]
    return {
        s.name: next(value for value in [*s.choices, *tried] if s.allows(value))
        for s in known
        if s.default is REQUIRED
    }


def _useless(known: Setting) -> Iterator[Any]:
    """Values that must be refused."""
    if known.choices:
        yield "no such word"
    if known.least is not None:
        yield known.kind(known.least - 1)
    if known.above is not None:
        yield known.kind(known.above)
    if known.most is not None:
        yield known.kind(known.most + 1)
    if known.kind is float:
        yield float("nan")


def _refuses(kind: Any, values: dict[str, Any]) -> bool:
    try:
        kind(**values)
    except BadInput:
        return True
    return False


def takes(kind: type, member: str, wanted: str) -> bool:
    """Whether a class or a parent of its defines a member with the parameters of `wanted`."""
    function = next((vars(c)[member] for c in kind.__mro__[:-1] if member in vars(c)), None)
    if not inspect.isfunction(function):
        return False
    (declared,) = ast.parse(f"{wanted}: ...").body
    assert isinstance(declared, ast.FunctionDef)
    args, found = declared.args, inspect.signature(function).parameters
    optional = args.args[len(args.args) - len(args.defaults) :]
    return (
        [*found] == [a.arg for a in (*args.args, *args.kwonlyargs)]
        and all(found[a.arg].default is not inspect.Parameter.empty for a in optional)
        and all(found[a.arg].kind is inspect.Parameter.KEYWORD_ONLY for a in args.kwonlyargs)
    )


def shown(value: Any) -> str:
    """A value, or "missing"."""
    return "missing" if value is None else repr(value)
