"""From a recipe's name to an experiment: layers of changes, later wins, each field's layer kept.

Order: recipe < scale < table setting < column < row < --set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sslbench.errors import UserError, did_you_mean
from sslbench.recipes import RECIPES
from sslbench.recipes.recipe import Experiment, Recipe
from sslbench.recipes.scales import SCALES, Axis, PublishedAt, Scale
from sslbench.recipes.specs import Data

Layer = tuple[str, Mapping[str, Any]]
Axes = Mapping[str, Axis]


@dataclass(frozen=True)
class Resolved:
    """An experiment and, for each dotted field of its recipe, the layer it came from."""

    experiment: Experiment
    provenance: dict[str, str]


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
    """The experiment that a recipe, a scale and further layers make.

    Values of layers other than `--set` are the published ones: the scale's axes map them to what
    it can afford (published batch 4096 to 256 here), by the scale at which they were published.
    `--set` is taken literally. A scale may change more on the data set, and have what a study found
    there, unless `tuned` is false.

    Raises:
        UserError: unknown recipe, scale or field, a wrong value, or pieces that do not fit.
    """
    chosen = find_scale(scale)
    current = find_recipe(recipe)
    leaves = dict(current.leaves())
    provenance = dict.fromkeys(leaves, "recipe")
    data = data or chosen.data
    axes = chosen.axes_of(published_at, dataset=data.set_name)
    mapped = [
        (name, changes if name == "--set" else dict(_map_axes(changes, axes, recipe)))
        for name, changes in layers
    ]
    own = chosen.layers(recipe, current, dataset=data.set_name, tuned=tuned)
    for name, changes in [*own, *mapped]:
        try:
            current = apply(current, changes)
        except UserError as error:
            raise UserError(f"{recipe}, {name}: {error}") from None
        # Leaf by leaf: a change of one field may bring others, such as those of a new kind.
        before, leaves = leaves, dict(current.leaves())
        provenance = _provenance(before, leaves, provenance, changes, name)
    experiment = Experiment(recipe=current, data=data, seed=seed, scale=scale)
    return Resolved(experiment, provenance)


def apply(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """All changes of one layer at once: `kind` switches first, so that fields find their kind."""
    ordered = sorted(changes.items(), key=lambda item: item[0].count("."))
    return recipe.but(dict(ordered))


def layered(
    recipe: Recipe, provenance: Mapping[str, str], changes: Mapping[str, Any], layer: str
) -> tuple[Recipe, dict[str, str]]:
    """One layer more on a recipe whose fields' layers are known.

    Returns:
        The changed recipe, and the layer of each of its fields: this one where it names the field
        or moves its value.
    Raises:
        UserError: an unknown field, or a wrong value.
    """
    changed = apply(recipe, changes)
    leaves = dict(recipe.leaves()), dict(changed.leaves())
    return changed, _provenance(*leaves, provenance, changes, layer)


def _map_axes(
    changes: Mapping[str, Any], axes: Axes, recipe: str, *, inside: str = ""
) -> Iterator[tuple[str, Any]]:
    """Published values to those here; the fields of a mapping are mapped under their own path."""
    for path, value in changes.items():
        full = f"{inside}{path}"
        axis = axes.get(f"{recipe}/{full}", axes.get(full))
        if isinstance(value, Mapping):
            yield path, dict(_map_axes(value, axes, recipe, inside=f"{full}."))
        elif isinstance(value, (list, tuple)):
            yield path, [_mapped(v, axis) for v in value]
        else:
            yield path, _mapped(value, axis)


def _mapped(value: Any, axis: Axis | None) -> Any:
    return value if axis is None else axis[value]


def _provenance(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    old: Mapping[str, str],
    changes: Mapping[str, Any],
    layer: str,
) -> dict[str, str]:
    inside = tuple(f"{root}." for root in changes)
    out = {}
    for path, value in after.items():
        named = path in changes or path.startswith(inside)
        moved = path not in before or before[path] != value
        out[path] = layer if named or moved else old.get(path, layer)
    return out
