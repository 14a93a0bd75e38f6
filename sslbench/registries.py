"""The dictionaries in which a plugin registers, and what they held before it was loaded.

They belong to the layers above and stay plain dictionaries: here are their names only, and nothing
is imported that nobody asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any, Self

from sslbench.errors import UserError

NAMES = (
    "sslbench.recipes:RECIPES",
    "sslbench.tables.schema:TABLES",
    "sslbench.evaluation.protocols:PROTOCOLS",
    "sslbench.models.layouts:NAMINGS",
)
DATA = ("sslbench.data.registry:DATASETS",)
SPECS = (
    "sslbench.methods:METHODS",
    "sslbench.methods.targets:TARGETS",
    "sslbench.objectives:OBJECTIVES",
    "sslbench.models.encoders:ENCODERS",
)
_ALL = (*NAMES, *DATA, *SPECS)
MODULES = {place.partition(":")[0] for place in _ALL}

Registry = dict[Any, Any]


def behind(key: type | str, places: Iterable[str]) -> Iterator[object]:
    """What some registries have under a key. One that nobody has imported has nothing of a
    plugin's, so that it need not be."""
    for _, registry in _imported(places):
        if key in registry:
            yield registry[key]


def _imported(places: Iterable[str]) -> Iterator[tuple[str, Registry]]:
    for place in places:
        module, _, name = place.partition(":")
        registry = getattr(sys.modules.get(module), name, None)
        if isinstance(registry, dict):
            yield name, registry


def _registries() -> dict[str, Registry]:
    """Every registry that is imported, by its name in a plugin's text."""
    found = dict(_imported(_ALL))
    if "RECIPES" in found:  # the package that holds the scales is there as a whole
        scales = sys.modules["sslbench.recipes.scales"].SCALES
        found |= {f"SCALES['{name}'].recipes": scale.recipes for name, scale in scales.items()}
    return found


class Taken(UserError):
    """A plugin registered what is there already; `word` is how its text writes the key."""

    def __init__(self, sentence: str, word: str) -> None:
        super().__init__(sentence)
        self.word = word


class Watch:
    """What the registries hold before a plugin; one that it imports, as it is when imported."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[Registry, Registry]] = {}

    def __enter__(self) -> Self:
        self._note()
        sys.meta_path.insert(0, self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.meta_path.remove(self)

    def check(self, modules: str) -> None:
        """Raise Taken where an entry was replaced or removed, a new one has two names, or is the
        scale's setting of a recipe of another's.

        Args:
            modules: the plugin's module, or the package of its modules.
        """
        recipes = self._before.get("RECIPES", ({}, {}))[1]
        for name, (registry, old) in self._before.items():
            for key, value in old.items():
                if registry.get(key) is not value:
                    raise _taken(name, key)
            for key in registry.keys() - old.keys():
                own = getattr(registry[key], "name", key)
                if isinstance(key, str) and isinstance(own, str) and own != key:
                    raise Taken(f"{name}[{key!r}] is named '{own}'; register it so.", own)
                if name.startswith("SCALES") and key in recipes:
                    raise _taken(name, key)
        _check_kinds(modules)

    def restore(self) -> None:
        """Put every registry back as it was."""
        for registry, old in self._before.values():
            registry.clear()
            registry.update(old)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Part of the import system: notes a registry as soon as its module is imported."""
        spec = PathFinder.find_spec(name, path) if name in MODULES else None
        if spec is None or spec.loader is None:
            return None
        run = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            run(module)
            self._note()

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec

    def _note(self) -> None:
        for name, registry in _registries().items():
            self._before.setdefault(name, (registry, dict(registry)))


def _taken(registry: str, key: Any) -> Taken:
    word, shown = (key.__name__,) * 2 if isinstance(key, type) else (key, repr(key))
    return Taken(f"{registry}[{shown}] is taken; choose another name.", word)


def _check_kinds(modules: str) -> None:
    """Raise Taken for a spec of the plugin that has another's name: files name a spec by it."""
    spec = getattr(sys.modules.get("sslbench.recipes.base"), "Spec", None)
    kinds = [] if spec is None else list(_subclasses(spec))
    own = [k for k in kinds if f"{k.__module__}.".startswith(f"{modules}.")]
    for kind in own:
        if any(other is not kind and other.__name__ == kind.__name__ for other in kinds):
            word = kind.__name__
            raise Taken(f"there is a spec {word} already; choose another name.", word)


def _subclasses(kind: type[Any]) -> Iterator[type[Any]]:
    """All below a class that their modules still hold: not those of a load that failed."""
    for below in kind.__subclasses__():
        if getattr(sys.modules.get(below.__module__), below.__name__, None) is below:
            yield below
        yield from _subclasses(below)
