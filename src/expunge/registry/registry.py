"""Classes by name: our own, and those that other packages offer by an entry point."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from expunge.errors import BadInput, nearest
from expunge.registry.faults import Fault
from expunge.registry.setting import REQUIRED, Setting, described, explained

T = TypeVar("T")


class Registry(Mapping[str, type[T]]):
    """Our own classes, then those found; one grammar makes an instance from text or a mapping.

    Other packages are imported when one of their entries is asked for, or all are: one that
    cannot be used is left out with a warning, and raises BadInput when asked for by its name.

    Args:
        noun: one word or two, e.g. "forget set"; entry points are in the group
            "expunge.forget_sets", as name = "package.module:Class".
        own: our classes; each has a `name`.
        faults: everything that keeps a class of another package from being used.
        also: what users may write instead of a name, for messages.
    """

    def __init__(
        self,
        noun: str,
        *own: type[T],
        faults: Callable[[Any], list[Fault]] = lambda kind: [],
        also: str = "",
    ) -> None:
        self.noun, self.group = noun, f"expunge.{noun.replace(' ', '_')}s"
        self.own: dict[str, type[T]] = {kind.name: kind for kind in own}  # type: ignore[attr-defined]
        self._faults, self._also = faults, also
        self._offers: dict[str, list[EntryPoint]] | None = None
        self._loaded: dict[str, type[T] | BadInput] = {}

    def __getitem__(self, name: str) -> type[T]:
        found = self.own[name] if name in self.own else self._load(name)
        if isinstance(found, BadInput):
            raise found
        return found

    def __contains__(self, name: object) -> bool:
        return name in self.own or name in self._entries()

    def __iter__(self) -> Iterator[str]:
        yield from self.own
        for name in self._entries():
            before = name in self._loaded
            found = self._load(name)
            if not isinstance(found, BadInput):
                yield name
            elif not before:
                warnings.warn(f"{found.given}; it is left out. {found.fix}.", stacklevel=2)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def named(self, name: str) -> type[T]:
        """The class of this name.

        Raises:
            BadInput: an unknown name, with the nearest known one; an entry that cannot be used.
        """
        if name not in self:
            raise BadInput(
                f"unknown {self.noun} '{name}'{nearest(name, self)}",
                expected=f"one of {', '.join(self)}{self._also}",
                fix=f"correct the name; `expunge explain '{self.noun}'` describes each",
            )
        return self[name]

    def settings(self, name: str) -> list[Setting]:
        """The settings of the class of this name."""
        return described(self.named(name))

    def read(self, text: str, chosen: Mapping[str, Any] = {}) -> tuple[str, dict[str, Any]]:
        """The name and the chosen settings of a text, each of its type.

        Args:
            text: "name", "name:key=value,key=value", or "name:value" for the first setting.
            chosen: more settings; values may be text.

        Raises:
            BadInput: an unknown name or setting, with the nearest known one; a setting that is
                chosen twice, or has no default and is not chosen; a value that is not allowed.
        """
        name, _, rest = text.partition(":")
        known = {setting.name: setting for setting in self.settings(name)}
        whose, found = f"{self.noun} {name}", {}
        for key, value in [*self._pairs(name, rest, [*known]), *chosen.items()]:
            if key not in known:
                raise BadInput(
                    f"{whose} has no setting '{key}'{nearest(key, known)}",
                    expected=f"one of {', '.join(known)}" if known else "no settings at all",
                    fix=f"correct it or leave it out; {explained(name)}",
                )
            if key in found:
                raise BadInput(
                    f"{whose} has the setting '{key}' twice",
                    expected="each setting once",
                    fix=f"leave out {key} = {value} or the other",
                )
            found[key] = known[key].read(value, whose)
        needed = [s.name for s in known.values() if s.default is REQUIRED]
        for key in needed:
            if key not in found:
                raise BadInput(
                    f"{whose} without {key}",
                    expected=f"the settings {', '.join(needed)}",
                    fix=f"add {key}=; {explained(name)}",
                )
        return name, found

    def make(self, text: str, chosen: Mapping[str, Any] = {}, inputs: Mapping[str, Any] = {}) -> T:
        """An instance of the class of this name, with these settings; see `read`.

        Args:
            text: see `read`.
            chosen: see `read`.
            inputs: what the class is given beside its settings.
        """
        name, found = self.read(text, chosen)
        return self[name](**inputs, **found)

    def text(self, made: T) -> str:
        """The text from which `make` makes an instance with these settings."""
        name: str = made.name  # type: ignore[attr-defined]
        known = self.settings(name)
        pairs = [(s.name, getattr(made, s.name)) for s in known]
        words = [f"{key}={_word(value)}" for key, value in pairs]
        if len(words) == 1:
            words = [_word(pairs[0][1])]
        return f"{name}:{','.join(words)}" if words else name

    def _pairs(self, name: str, rest: str, known: list[str]) -> list[tuple[str, str]]:
        words = rest.split(",") if rest else []
        if len(words) == 1 and "=" not in rest and known:
            return [(known[0], rest)]
        found = []
        for word in words:
            key, equals, value = word.partition("=")
            if not equals:
                raise BadInput(
                    f"'{word}' in the settings of {self.noun} {name}",
                    expected="settings as key=value, with commas between them",
                    fix=f"write e.g. {name}:{known[0] if known else 'key'}=VALUE",
                )
            found.append((key.strip().replace("-", "_"), value.strip()))
        return found

    def _entries(self) -> dict[str, list[EntryPoint]]:
        if self._offers is None:
            offers: dict[str, list[EntryPoint]] = {}
            for entry in sorted(
                entry_points(group=self.group), key=lambda e: (e.name, _package(e))
            ):
                if entry.name in self.own:
                    warnings.warn(
                        f"{_package(entry)} offers a {self.noun} '{entry.name}', which is one of "
                        "expunge's own; expunge's is used",
                        stacklevel=3,
                    )
                else:
                    offers.setdefault(entry.name, []).append(entry)
            self._offers = offers
        return self._offers

    def _load(self, name: str) -> type[T] | BadInput:
        entries = self._entries()[name]
        if name not in self._loaded:
            self._loaded[name] = self._checked(name, entries)
        return self._loaded[name]

    def _checked(self, name: str, entries: list[EntryPoint]) -> type[T] | BadInput:
        entry, packages = entries[0], " and ".join(map(_package, entries))
        if len(entries) > 1:
            return BadInput(
                f"the {self.noun} '{name}' is offered by {packages}",
                expected="one package for each name",
                fix="Uninstall one of them",
            )
        try:
            kind = entry.load()
        except Exception as error:  # whatever is wrong in another's package
            return BadInput(
                f"the {self.noun} '{name}' of {packages} cannot be loaded: "
                f"{type(error).__name__}: {error}",
                expected=f"that {entry.value} can be imported",
                fix=f"Repair, update or uninstall {packages}",
            )
        faults = self._faults(kind)
        if not faults and getattr(kind, "name", None) != name:
            faults = [
                Fault(
                    f"its name is '{getattr(kind, 'name', '')}', "
                    f"that of its entry point is '{name}'",
                    "Rename one of them",
                )
            ]
        if faults:
            return BadInput(
                f"the {self.noun} '{name}' of {packages} is no {self.noun}: {faults[0].what}",
                expected=f"a class that is a {self.noun}; {len(faults)} fault(s) in {entry.value}",
                fix="; ".join(fault.fix for fault in faults),
            )
        return kind


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.module


def _word(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return short if isinstance(value, str) or float(short) == value else repr(value)
