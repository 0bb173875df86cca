"""The methods by name: ours, and those that other packages offer by an entry point."""

import warnings
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points

from expunge.errors import BadInput
from expunge.methods.method import Method
from expunge.methods.validate_class import validate_class

GROUP = "expunge.methods"  # of entry points: name = "package.module:Class"


class Table(Mapping[str, type[Method]]):
    """Our methods, then those found.

    Other packages are imported when one of their methods is asked for, or all are: one that
    cannot be used is left out with a warning, and raises BadInput when asked for by its name.
    """

    def __init__(self, own: Mapping[str, type[Method]]) -> None:
        self.own = own
        self._offers: dict[str, list[EntryPoint]] | None = None
        self._loaded: dict[str, type[Method] | BadInput] = {}

    def __getitem__(self, name: str) -> type[Method]:
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

    def _entries(self) -> dict[str, list[EntryPoint]]:
        if self._offers is None:
            offers: dict[str, list[EntryPoint]] = {}
            for entry in sorted(entry_points(group=GROUP), key=lambda e: (e.name, _package(e))):
                if entry.name in self.own:
                    warnings.warn(
                        f"{_package(entry)} offers a method '{entry.name}', which is one of "
                        "expunge's own; expunge's is used",
                        stacklevel=3,
                    )
                else:
                    offers.setdefault(entry.name, []).append(entry)
            self._offers = offers
        return self._offers

    def _load(self, name: str) -> type[Method] | BadInput:
        entries = self._entries()[name]
        if name not in self._loaded:
            self._loaded[name] = _loaded(name, entries)
        return self._loaded[name]


def _loaded(name: str, entries: list[EntryPoint]) -> type[Method] | BadInput:
    entry, packages = entries[0], " and ".join(map(_package, entries))
    if len(entries) > 1:
        return BadInput(
            f"the method '{name}' is offered by {packages}",
            expected="one package for each name",
            fix="Uninstall one of them",
        )
    try:
        kind = entry.load()
    except Exception as error:  # whatever is wrong in another's package
        return BadInput(
            f"the method '{name}' of {packages} cannot be loaded: {type(error).__name__}: {error}",
            expected=f"that {entry.value} can be imported",
            fix=f"Repair, update or uninstall {packages}",
        )
    wrong = [fault.what for fault in validate_class(kind)]
    if not wrong and kind.name != name:
        wrong = [f"its name is '{kind.name}', that of its entry point is '{name}'"]
    if wrong:
        return BadInput(
            f"the method '{name}' of {packages} is no method: {wrong[0]}",
            expected="a class that `expunge check-method` accepts",
            fix=f"Run `expunge check-method {entry.value}` for all that is wrong",
        )
    return kind


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.module
