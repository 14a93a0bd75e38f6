"""Scales from their files."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sslbench.errors import UserError
from sslbench.files import entries, read_yaml
from sslbench.recipes.base import coerce
from sslbench.recipes.scales.scale import OnSet, Rules, Scale, Settings, Tuned
from sslbench.recipes.specs import Data
from sslbench.typed import read_as

FOLDER = Path(__file__).parent


@functools.cache
def read_scale(name: str) -> Scale:
    """The scale in the folder of that name: always the same object, so that what a plugin adds to
    its `recipes` stays. Raises UserError as `parse_scale` does, or for what no disk gives."""
    families = _documents(FOLDER / name)
    sets = {p.name: _documents(p) for p in entries(FOLDER / name) if p.is_dir()}
    return parse_scale(families.pop("scale", None), families, name=name, sets=sets)


def _documents(folder: Path) -> dict[str, Any]:
    """What the YAML files of a folder hold, by their names."""
    return {p.stem: read_yaml(p) for p in entries(folder) if p.suffix == ".yaml"}


def parse_scale(
    document: Any,
    families: Mapping[str, Any],
    *,
    name: str,
    sets: Mapping[str, Mapping[str, Any]] | None = None,
) -> Scale:
    """A scale from plain data, checked.

    Args:
        document: what `scale.yaml` held; `base` is the name of a scale.
        families: what the other files held, by family.
        sets: what the files of each folder of a data set held.
    Raises:
        UserError: an unknown or missing field, a wrong value, or a recipe in two files.
    """
    where = f"{name}/scale.yaml"
    if not isinstance(document, Mapping):
        raise UserError(f"{where} is not a mapping; see the other folders in recipes/scales.")
    _refuse(document, {"name", "on"}, where)
    base = document.get("base")
    if base is not None and not (FOLDER / str(base) / "scale.yaml").exists():
        raise UserError(f"{where}: base: no scale '{base}'.")
    made = {
        "name": name,
        "data": coerce(document.get("data"), Data, where=f"{where}: data"),
        "base": None if base is None else read_scale(base),
        "on": {dataset: parse_set(f"{name}/{dataset}", d) for dataset, d in (sets or {}).items()},
    }
    scale = read_as({**document, **made, **_rules(document, families, name)}, Scale, where=where)
    _check(scale, name, "scale.yaml")
    if scale.as_published and (scale.common or scale.when or scale.families or scale.base):
        raise UserError(f"{where}: as_published: yet it changes recipes.")
    return scale


def parse_set(name: str, documents: Mapping[str, Any]) -> OnSet:
    """What a scale changes on a data set, from what the files of its folder held.

    Args:
        name: of the folder, `laptop/cifar10`.
    Raises:
        UserError: as `parse_scale`.
    """
    families = {k: v for k, v in documents.items() if k not in ("set", "tuned")}
    document, where = documents.get("set") or {}, f"{name}/set.yaml"
    if not isinstance(document, Mapping):
        raise UserError(f"{where} is not a mapping; see the other folders in recipes/scales.")
    tuned = {
        recipe: read_as(entry, Tuned, where=f"{name}/tuned.yaml: {recipe}")
        for recipe, entry in (documents.get("tuned") or {}).items()
    }
    _refuse(document, {"tuned"}, where)
    made = {**document, **_rules(document, families, name), "tuned": tuned}
    found = read_as(made, OnSet, where=where)
    _check(found, name, "set.yaml")
    return found


def _refuse(document: Mapping[str, Any], elsewhere: set[str], where: str) -> None:
    for key in ({"families", "recipes"} | elsewhere) & set(document):
        raise UserError(f"{where}: {key}: is not said here; the folder and its files say it.")


def _rules(document: Mapping[str, Any], families: Mapping[str, Any], name: str) -> dict[str, Any]:
    settings = {f: read_as(d, Settings, where=f"{name}/{f}.yaml") for f, d in families.items()}
    return {"families": settings, "recipes": _merged(settings, name)}


def _check(rules: Rules, name: str, file: str) -> None:
    files = {file: Settings(when=rules.when, found=rules.found)}
    files |= {f"{family}.yaml": settings for family, settings in rules.families.items()}
    parts = [(f"{file}: {a}.{k}", axis) for a in ("axes", "small_axes")
             for k, axis in getattr(rules, a).items()]  # fmt: skip
    parts += [(f"{f}: found.{k}", v) for f, one in files.items() for k, v in one.found.items()]
    for where, part in parts:
        if problem := part.problem():
            raise UserError(f"{name}/{where}: {problem}")


def _merged(settings: Mapping[str, Settings], name: str) -> dict[str, Any]:
    """The recipes of all families' files."""
    out: dict[str, Any] = {}
    for family, one in settings.items():
        for recipe, changes in one.recipes.items():
            if recipe in out:
                raise UserError(f"{name}/{family}.yaml: '{recipe}' is in another file too.")
            out[recipe] = changes
    return out
