"""From a recipe's name to an experiment: layers of changes, later wins, each field's layer kept.

Order: recipe < scale < table setting < column < row < --set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sslbench.errors import UserError, did_you_mean
from sslbench.recipes import RECIPES
from sslbench.recipes.recipe import Experiment, Recipe
from sslbench.recipes.scales import SCALES, Axis, PublishedAt, Scale
from sslbench.recipes.specs import Data

Changes = Mapping[str, Any]
Layer = tuple[str, Changes]
Provenance = dict[str, str]
Axes = Mapping[str, Axis]
_START = "start."


@dataclass(frozen=True)
class Resolved:
    """An experiment and, for each dotted field of its recipe, the layer it came from."""

    experiment: Experiment
    provenance: dict[str, str]

    @property
    def start(self) -> Resolved | None:
        """The run that it begins from."""
        if self.experiment.start is None:
            return None
        own = {k: v for k, v in self.provenance.items() if k.startswith(_START)}
        layers = {k.removeprefix(_START): v for k, v in own.items() if k != f"{_START}kind"}
        return Resolved(self.experiment.start, layers)


def find_recipe(name: str) -> Recipe:
    """The recipe of that name. Raises UserError with the nearest names."""
    if name not in RECIPES:
        raise UserError(f"No recipe '{name}'{did_you_mean(name, RECIPES)}")
    return RECIPES[name]


def find_scale(name: str) -> Scale:
    """The scale of that name. Raises UserError with the nearest names."""
    if name not in SCALES:
        raise UserError(f"No scale '{name}'{did_you_mean(name, SCALES)}")
    return SCALES[name]


@dataclass(frozen=True)
class Scaled:
    """A recipe as a scale has it on some data, to which layers are added one after the other."""

    name: str
    recipe: Recipe
    provenance: Provenance
    data: Data
    to: _To

    def under(self, *layers: Layer) -> Scaled:
        """With further layers. Raises UserError: a field or a value is wrong."""
        mapped = [(layer, _mapped(layer, changes, self.to, self.name)) for layer, changes in layers]
        recipe, provenance = _under(self.recipe, self.provenance, mapped, self.to, name=self.name)
        return replace(self, recipe=recipe, provenance=provenance)

    def resolved(self, *, seed: int = 0) -> Resolved:
        """The experiment. Raises UserError: pieces do not fit."""
        scale = self.to.scale.name
        experiment = Experiment(recipe=self.recipe, data=self.data, seed=seed, scale=scale)
        return Resolved(experiment, self.provenance)


def scaled(
    recipe: str,
    *,
    scale: str,
    data: Data | None = None,
    published_at: PublishedAt = "paper",
    tuned: bool = True,
) -> Scaled:
    """A recipe at a scale, for further layers.

    Values of layers other than `--set` are the published ones: the scale's axes map them to what
    it can afford (published batch 4096 to 256 here), by the scale at which they were published.
    `--set` is taken literally. `start` may be a recipe's name: that recipe as it is at this scale,
    under the same layer's changes of `start.FIELD`. A scale may change more on the data set, and
    have what a study found there, unless `tuned` is false.

    Raises:
        UserError: unknown recipe or scale.
    """
    chosen = find_scale(scale)
    data = data or chosen.data
    axes = chosen.axes_of(published_at, dataset=data.set_name)
    to = _To(chosen, axes, dataset=data.set_name, tuned=tuned)
    current, provenance = _scaled(find_recipe(recipe), to, name=recipe)
    return Scaled(recipe, current, provenance, data, to)


def resolve(
    recipe: str,
    *,
    scale: str,
    layers: Sequence[Layer] = (),
    data: Data | None = None,
    seed: int = 0,
    published_at: PublishedAt = "paper",
    tuned: bool = True,
) -> Resolved:
    """The experiment that a recipe, a scale and further layers make: see `scaled`.

    Raises:
        UserError: unknown recipe, scale or field, a wrong value, or pieces that do not fit.
    """
    begun = scaled(recipe, scale=scale, data=data, published_at=published_at, tuned=tuned)
    return begun.under(*layers).resolved(seed=seed)


@dataclass(frozen=True)
class _To:
    """Where a recipe is brought: a scale, with what it changes on a data set and what studies found
    there, and its axes for the values of further layers."""

    scale: Scale
    axes: Axes
    dataset: str
    tuned: bool = True


def _scaled(current: Recipe, to: _To, *, name: str) -> tuple[Recipe, Provenance]:
    """A published recipe under the layers of a scale; its own start comes there by itself."""
    provenance: Provenance = dict.fromkeys(dict(current.leaves()), "recipe")
    layers = to.scale.layers(name, current, dataset=to.dataset, tuned=to.tuned)
    if current.start is not None:
        begun = _scaled(current.start, to, name=current.start.name)
        current, provenance = _started(current, provenance, begun, "recipe")
    return _under(current, provenance, layers, to, name=name)


def _under(
    current: Recipe, provenance: Provenance, layers: Sequence[Layer], to: _To, *, name: str
) -> tuple[Recipe, Provenance]:
    """Layers with the values that hold here, one after the other."""
    for layer, changes in layers:
        try:
            if changes:
                current, provenance = _layered(current, provenance, changes, layer, to)
        except UserError as error:
            raise UserError(f"{name}, {layer}: {error}") from None
    return current, provenance


def _layered(
    current: Recipe, provenance: Mapping[str, str], changes: Changes, layer: str, to: _To
) -> tuple[Recipe, Provenance]:
    """One layer more. A start that it names is brought to the scale, with its changes of it."""
    of_start = {k.removeprefix(_START): v for k, v in changes.items() if k.startswith(_START)}
    named = changes.get("start", current.start)
    if isinstance(named, str):
        begun = _scaled(find_recipe(named), to, name=named)
        inner = _mapped(layer, of_start, to, named)
        begun = _under(*begun, [(layer, inner)], to, name=named)
    elif of_start and isinstance(named, Recipe):
        before = {k.removeprefix(_START): v for k, v in provenance.items() if k.startswith(_START)}
        inner = _mapped(layer, of_start, to, named.name)
        begun = _layered(named, before, inner, layer, to)
    else:
        changed = apply(current, changes)
        return changed, _provenance(current, changed, provenance, changes, layer)
    named_in = layer if "start" in changes else provenance.get("start.kind", layer)
    current, provenance = _started(current, provenance, begun, named_in)
    own = {k: v for k, v in changes.items() if k != "start" and not k.startswith(_START)}
    changed = apply(current, own)
    return changed, _provenance(current, changed, provenance, own, layer)


def _started(
    recipe: Recipe, provenance: Mapping[str, str], begun: tuple[Recipe, Provenance], layer: str
) -> tuple[Recipe, Provenance]:
    """A recipe with another start, whose fields' layers are known."""
    kept = {k: v for k, v in provenance.items() if k != "start" and not k.startswith(_START)}
    of_start = {f"{_START}{k}": v for k, v in begun[1].items()}
    return recipe.but(start=begun[0]), {**kept, f"{_START}kind": layer, **of_start}


def apply(recipe: Recipe, changes: Changes) -> Recipe:
    """All changes of one layer at once: `kind` switches first, so that fields find their kind."""
    ordered = sorted(changes.items(), key=lambda item: item[0].count("."))
    return recipe.but(dict(ordered))


def layered(
    recipe: Recipe,
    provenance: Mapping[str, str],
    changes: Changes,
    layer: str,
    *,
    scale: str,
    dataset: str,
) -> tuple[Recipe, Provenance]:
    """One layer more on a recipe whose fields' layers are known.

    Args:
        scale, dataset: of a start that the layer names; the values are taken literally.
    Returns:
        The changed recipe, and the layer of each of its fields: this one where it names the field
        or moves its value.
    Raises:
        UserError: an unknown field, or a wrong value.
    """
    to = _To(find_scale(scale), axes={}, dataset=dataset)
    return _layered(recipe, provenance, changes, layer, to)


def _mapped(layer: str, changes: Changes, to: _To, recipe: str) -> Changes:
    """A layer's published values as those here; those of a start are mapped with it."""
    if layer == "--set":
        return changes
    own = {k: v for k, v in changes.items() if k != "start" and not k.startswith(_START)}
    return {**changes, **dict(_map_axes(own, to.axes, recipe))}


def _map_axes(
    changes: Changes, axes: Axes, recipe: str, *, inside: str = ""
) -> Iterator[tuple[str, Any]]:
    """Published values to those here; the fields of a mapping are mapped under their own path."""
    for path, value in changes.items():
        full = f"{inside}{path}"
        axis = axes.get(f"{recipe}/{full}", axes.get(full))
        if isinstance(value, Mapping):
            yield path, dict(_map_axes(value, axes, recipe, inside=f"{full}."))
        elif isinstance(value, (list, tuple)):
            yield path, [_here(v, axis) for v in value]
        else:
            yield path, _here(value, axis)


def _here(value: Any, axis: Axis | None) -> Any:
    return value if axis is None else axis[value]


def _provenance(
    before: Recipe, after: Recipe, old: Mapping[str, str], changes: Changes, layer: str
) -> Provenance:
    """Leaf by leaf: a change of one field may bring others, such as those of a new kind."""
    inside = tuple(f"{root}." for root in changes)
    leaves, out = dict(before.leaves()), {}
    for path, value in after.leaves():
        named = path in changes or path.startswith(inside)
        moved = path not in leaves or leaves[path] != value
        out[path] = layer if named or moved else old.get(path, layer)
    return out
