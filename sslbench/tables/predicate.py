"""One word of the vocabulary of claims, with the cells it speaks of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

OF_COLUMNS = ("steeper", "correlated")  # speak of whole columns, not of cells


@dataclass(frozen=True)
class Predicate:
    """One word of the vocabulary with its arguments (nested lists of operands) and options."""

    kind: str
    arguments: tuple[Any, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    def renamed(self, name: Callable[[str], str]) -> Predicate:
        """The same about other cells."""
        if self.kind in OF_COLUMNS:
            return self
        options = {k: v if v == "all" or k not in ("than", "among") else _renamed(v, name)
                   for k, v in self.options.items()}  # fmt: skip
        return Predicate(self.kind, tuple(_renamed(self.arguments, name)), options)

    def operands(self) -> Iterator[str]:
        """The names of all cells it speaks of."""
        if self.kind in OF_COLUMNS:
            return
        yield from _names(self.arguments)
        for name in ("than", "among"):
            if self.options.get(name) != "all":
                yield from _names(self.options.get(name, ()))

    def columns(self) -> Iterator[str]:
        """The keys of all columns it speaks of as a whole."""
        if self.kind in OF_COLUMNS:
            yield from _names(self.arguments)
            yield from _names(self.options.get("than", ()))
            yield from self.options.get("with", ())
        for part in self.arguments:
            if isinstance(part, Predicate):
                yield from part.columns()


def _names(arguments: Any) -> Iterator[str]:
    if isinstance(arguments, str):
        yield arguments
    elif isinstance(arguments, Predicate):
        yield from arguments.operands()
    elif isinstance(arguments, (list, tuple)):
        for item in arguments:
            yield from _names(item)


def _renamed(arguments: Any, name: Callable[[str], str]) -> Any:
    if isinstance(arguments, str):
        return name(arguments)
    if isinstance(arguments, Predicate):
        return arguments.renamed(name)
    if isinstance(arguments, (list, tuple)):
        return [_renamed(item, name) for item in arguments]
    return arguments
