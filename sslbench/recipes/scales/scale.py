"""What a scale is: rules by piece, settings by recipe, and where each comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from sslbench.recipes.base import Spec, kinds
from sslbench.recipes.specs import Data, DrawnSpec, ImageSet

if TYPE_CHECKING:
    from sslbench.recipes.recipe import Recipe

Changes = Mapping[str, Any]
PublishedAt = Literal["paper", "cifar"]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What published values of a field stand for here, pair by pair."""

    published: tuple[int | float | str, ...]
    here: tuple[int | float | str, ...]

    def __getitem__(self, value: Any) -> Any:
        """The value here; one that the axis does not name stays as it is."""
        return self.here[self.published.index(value)] if value in self.published else value

    def problem(self) -> str | None:
        """What is wrong with it, if anything."""
        equal = len(self.published) == len(self.here)
        return None if equal else "needs as many values here as published."


@dataclass(frozen=True, kw_only=True)
class Found:
    """Where a setting comes from: exactly one of these.

    `search`: tried on the held-out part of the sets in `data`; `kept` says whether its runs can
    still be read. `copied_from`: another recipe's at this scale, not tried for this one. `source`:
    published for such images elsewhere. `by_hand`: as small as the machine asks, or in proportion;
    never searched. `as_published`: the recipe's own, but for the rules by piece.
    """

    search: Literal["one seed"] | None = None
    data: tuple[str, ...] = ()
    kept: bool | None = None
    copied_from: str | None = None
    source: str | None = None
    by_hand: bool = False
    as_published: bool = False

    def problem(self) -> str | None:
        """What is wrong with it, if anything."""
        kinds = (self.search, self.copied_from, self.source, self.by_hand, self.as_published)
        if sum(map(bool, kinds)) != 1:
            return "say one of search, copied_from, source, by_hand: true and as_published: true."
        if not bool(self.search) == bool(self.data) == (self.kept is not None):
            return "a search says its data and whether its runs were kept; the others say neither."
        return None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a scale changes of the recipes of one family, or of all.

    `when` maps conditions on the published recipe to changes, of the fields that it has: a rule by
    piece, for whatever recipe has that piece (see `holds`). `recipes` maps names to changes, which
    come after all rules. `found` says of each rule and each recipe that trains where it comes from.
    """

    when: Mapping[str, Changes] = field(default_factory=dict)
    recipes: Mapping[str, Changes] = field(default_factory=dict)
    found: Mapping[str, Found] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """One scale: `scale.yaml` and the families' files beside it.

    `seeds` is how many runs a table gets by default, `measured_on` the sets, best first, on which
    tables are measured where they are at hand, in place of its own `data`. `base` is a scale whose settings come before
    all of this one's. `common` changes every recipe, where it has the field; `when` and `found` are
    as in `Settings`; `recipes` holds the entries of all families. `small_axes` are the axes of
    tables published on small images, where a batch of 256 is large. `as_published`: it changes
    nothing.
    """

    name: str
    summary: str
    data: Data
    seeds: int = 3
    measured_on: tuple[str, ...] = ()
    resolution: int | None = None
    num_train: int | None = None
    base: Scale | None = None
    as_published: bool = False
    common: Changes = field(default_factory=dict)
    when: Mapping[str, Changes] = field(default_factory=dict)
    found: Mapping[str, Found] = field(default_factory=dict)
    axes: Mapping[str, Axis] = field(default_factory=dict)
    small_axes: Mapping[str, Axis] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    families: Mapping[str, Settings] = field(default_factory=dict)
    recipes: dict[str, Changes] = field(default_factory=dict)

    def layers(self, name: str, recipe: Recipe) -> list[tuple[str, Changes]]:
        """(what it is called, changes) of all that this scale does to a published recipe, in order:
        the base's, common ones, rules by piece, rules of its family, its own entry.

        Args:
            name: that the recipe goes by.
        """
        layer = f"scale {self.name}"
        family = self.families.get(recipe.family, Settings())
        general: list[tuple[str, Changes]] = [(layer, self.common)]
        general += [
            (f"{layer}, {condition}", changes)
            for when in (self.when, family.when)
            for condition, changes in when.items()
            if holds(condition, recipe)
        ]
        fitting = [(n, {k: v for k, v in c.items() if recipe.has(k)}) for n, c in general]
        own = (f"{layer}, {name}", self.recipes.get(name, {}))
        before = self.base.layers(name, recipe) if self.base else []
        return before + [(n, changes) for n, changes in (*fitting, own) if changes]

    def evidence(self, name: str, family: str) -> Found | None:
        """Where the settings of a recipe of that family come from; None where nothing says so."""
        if self.as_published:
            return Found(as_published=True)
        own = self.families.get(family, Settings()).found.get(name)
        return own or (self.base.evidence(name, family) if self.base else None)

    def axes_of(self, published_at: PublishedAt) -> Mapping[str, Axis]:
        """The axes of values published at that scale (none where it is this one), by dotted path,
        or `recipe/path` for one recipe."""
        own = self.axes if published_at == "paper" else self.small_axes
        return {**self.base.axes_of(published_at), **own} if self.base else own

    def dataset(self, name: str, *, path: str | None = None) -> Data:
        """A named set at this scale: at most `num_train` training images, files at `resolution`."""
        if name == self.data.set_name and isinstance(self.data, DrawnSpec):
            return self.data
        for kind in kinds(DrawnSpec):
            if kind().set_name == name:
                return kind().at_most(self.num_train)
        return ImageSet(name=name, resolution=self.resolution, num_train=self.num_train, path=path)


def holds(condition: str, recipe: Spec) -> bool:
    """Whether a recipe has a piece.

    `encoder=ViT` asks for a kind or value, `encoder=ResNet|SmallAlexNet` for one of several;
    `objective.queue` for whatever is there and not switched off (null, 0, false, an empty list).
    A comma stands for "and".
    """
    return all(_part_holds(part.strip(), recipe) for part in condition.split(","))


def _part_holds(part: str, recipe: Spec) -> bool:
    path, equals, wanted = part.partition("=")
    value: Any = recipe
    for name in path.split("."):
        value = getattr(value, name, None)
    return _written(value) in wanted.split("|") if equals else bool(value)


def _written(value: Any) -> str:
    """A value as a condition has it."""
    if isinstance(value, Spec):
        return type(value).__name__
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value)
