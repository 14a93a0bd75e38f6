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

    `study`: the record of a study (`sslbench tune`) that it is the winner of. `search`: tried on
    the held-out part of the sets in `data`; `kept` says whether its runs can still be read.
    `copied_from`: another recipe's at this scale, not tried for this one. `source`: published for
    such images elsewhere. `by_hand`: as small as the machine asks, or in proportion; never
    searched. `as_published`: the recipe's own, but for the rules by piece.
    """

    study: str | None = None
    search: Literal["one seed"] | None = None
    data: tuple[str, ...] = ()
    kept: bool | None = None
    copied_from: str | None = None
    source: str | None = None
    by_hand: bool = False
    as_published: bool = False

    def problem(self) -> str | None:
        """What is wrong with it, if anything."""
        kinds = (self.study, self.search, self.copied_from, self.source, self.by_hand,
                 self.as_published)  # fmt: skip
        if sum(map(bool, kinds)) != 1:
            return (
                "say one of study, search, copied_from, source, by_hand: true and as_published: "
                "true."
            )
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
class Tuned:
    """What a study found for one recipe, as `sslbench tune --write` wrote it.

    `changes` come after all others of the scale; `study` is the record that they are the winner
    of, and `digest` that study's, so that neither is edited alone.
    """

    study: str
    digest: str
    changes: Changes


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Changes of recipes: `common` ones of every recipe, where it has the field; `when` and `found`
    as in `Settings`; those of each family; and the entries of all families by recipe. `axes` are
    those of tables, `small_axes` of tables published on small images, where a batch of 256 is
    large."""

    common: Changes = field(default_factory=dict)
    when: Mapping[str, Changes] = field(default_factory=dict)
    found: Mapping[str, Found] = field(default_factory=dict)
    axes: Mapping[str, Axis] = field(default_factory=dict)
    small_axes: Mapping[str, Axis] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    families: Mapping[str, Settings] = field(default_factory=dict)
    recipes: dict[str, Changes] = field(default_factory=dict)

    def changes_of(self, name: str, recipe: Recipe, *, layer: str) -> list[tuple[str, Changes]]:
        """(what it is called, changes) of these rules for a published recipe, in order: common
        ones, rules by piece, rules of its family, its own entry."""
        family = self.families.get(recipe.family, Settings())
        general: list[tuple[str, Changes]] = [(layer, self.common)]
        general += [
            (f"{layer}, {condition}", changes)
            for when in (self.when, family.when)
            for condition, changes in when.items()
            if holds(condition, recipe)
        ]
        fitting = [(n, {k: v for k, v in c.items() if recipe.has(k)}) for n, c in general]
        return [*fitting, (f"{layer}, {name}", self.recipes.get(name, {}))]

    def own_axes(self, published_at: PublishedAt) -> Mapping[str, Axis]:
        """The axes said here, of values published at that scale."""
        return self.axes if published_at == "paper" else self.small_axes

    def own_evidence(self, name: str, family: str) -> Found | None:
        """What is said here of where the settings of a recipe of that family come from."""
        return self.families.get(family, Settings()).found.get(name)


@dataclass(frozen=True, kw_only=True)
class OnSet(Rules):
    """What a scale changes on one data set, after all that it changes anyway: `set.yaml`, the
    families' files and `tuned.yaml` of the folder of the set's name.

    `num_train` is in place of the scale's. `tuned` has what studies found, by recipe.
    """

    num_train: int | None = None
    tuned: Mapping[str, Tuned] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Scale(Rules):
    """One scale: `scale.yaml`, the families' files beside it, and a folder for each data set on
    which it changes more.

    `seeds` is how many runs a table gets by default, `measured_on` the sets, best first, on which
    tables are measured where they are at hand, in place of its own `data`. `base` is a scale whose
    settings come before all of this one's. `as_published`: it changes nothing.
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
    on: Mapping[str, OnSet] = field(default_factory=dict)

    def layers(
        self, name: str, recipe: Recipe, *, dataset: str | None = None, tuned: bool = True
    ) -> list[tuple[str, Changes]]:
        """(what it is called, changes) of all that this scale does to a published recipe, in order:
        the base's, the scale's own, those on the data set, and what a study found there.

        Args:
            name: that the recipe goes by.
            dataset: the name of the set that it is trained on.
            tuned: with what this scale's studies found; without, where a study begins.
        """
        layer = f"scale {self.name}"
        before = self.base.layers(name, recipe, dataset=dataset) if self.base else []
        changes = self.changes_of(name, recipe, layer=layer)
        if on := self.on.get(dataset or ""):
            layer = f"{layer} on {dataset}"
            changes += on.changes_of(name, recipe, layer=layer)
            if tuned and name in on.tuned:
                changes.append((f"{layer}, study of {name}", on.tuned[name].changes))
        return before + [(n, c) for n, c in changes if c]

    def evidence(self, name: str, family: str, *, dataset: str | None = None) -> Found | None:
        """Where the settings of a recipe of that family come from; None where nothing says so."""
        if self.as_published:
            return Found(as_published=True)
        on = self.on.get(dataset or "", OnSet())
        if name in on.tuned:
            return Found(study=on.tuned[name].study)
        own = on.own_evidence(name, family) or self.own_evidence(name, family)
        return own or (self.base.evidence(name, family, dataset=dataset) if self.base else None)

    def axes_of(
        self, published_at: PublishedAt, *, dataset: str | None = None
    ) -> Mapping[str, Axis]:
        """The axes of values published at that scale (none where it is this one), by dotted path,
        or `recipe/path` for one recipe."""
        before = self.base.axes_of(published_at, dataset=dataset) if self.base else {}
        on = self.on.get(dataset or "", OnSet())
        return {**before, **self.own_axes(published_at), **on.own_axes(published_at)}

    def usual_epochs(self, dataset: str) -> int:
        """How many a run on that set has, unless its recipe or table says otherwise."""
        common = {**self.common, **self.on.get(dataset, OnSet()).common}
        return int(common.get("epochs", 100))

    def dataset(self, name: str, *, path: str | None = None) -> Data:
        """A named set at this scale: at most `num_train` training images, files at `resolution`."""
        num_train = self.on.get(name, OnSet()).num_train or self.num_train
        if name == self.data.set_name and isinstance(self.data, DrawnSpec):
            return self.data
        for kind in kinds(DrawnSpec):
            if kind().set_name == name:
                return kind().at_most(num_train)
        return ImageSet(name=name, resolution=self.resolution, num_train=num_train, path=path)


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
