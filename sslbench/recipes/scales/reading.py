"""Scales from their files."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sslbench.errors import UserError
from sslbench.files import entries, read_yaml
from sslbench.recipes.base import coerce
from sslbench.recipes.scales.scale import Scale, Settings
from sslbench.recipes.specs import Data
from sslbench.typed import read_as

FOLDER = Path(__file__).parent


@functools.cache
def read_scale(name: str) -> Scale:
    """The scale in the folder of that name: always the same object, so that what a plugin adds to
    its `recipes` stays. Raises UserError as `parse_scale` does, or for what no disk gives."""
    families = {p.stem: read_yaml(p) for p in entries(FOLDER / name) if p.suffix == ".yaml"}
    return parse_scale(families.pop("scale", None), families, name=name)


def parse_scale(document: Any, families: Mapping[str, Any], *, name: str) -> Scale:
    """A scale from plain data, checked.

    Args:
        document: what `scale.yaml` held; `base` is the name of a scale.
        families: what the other files held, by family.
    Raises:
        UserError: an unknown or missing field, a wrong value, or a recipe in two files.
    """
    where = f"{name}/scale.yaml"
    if not isinstance(document, Mapping):
        raise UserError(f"{where} is not a mapping; see the other folders in recipes/scales.")
    for key in {"name", "families", "recipes"} & set(document):
        raise UserError(f"{where}: {key}: is not said here; the folder and its files say it.")
    settings = {f: read_as(d, Settings, where=f"{name}/{f}.yaml") for f, d in families.items()}
    base = document.get("base")
    if base is not None and not (FOLDER / str(base) / "scale.yaml").exists():
        raise UserError(f"{where}: base: no scale '{base}'.")
    made = {
        "name": name,
        "data": coerce(document.get("data"), Data, where=f"{where}: data"),
        "base": None if base is None else read_scale(base),
        "families": settings,
        "recipes": _merged(settings, name),
    }
    scale = read_as({**document, **made}, Scale, where=where)
    _check(scale)
    return scale


def _check(scale: Scale) -> None:
    files = {"scale": Settings(when=scale.when, found=scale.found), **scale.families}
    parts = [(f"scale.yaml: {a}.{k}", axis) for a in ("axes", "small_axes")
             for k, axis in getattr(scale, a).items()]  # fmt: skip
    parts += [(f"{f}.yaml: found.{k}", v) for f, one in files.items() for k, v in one.found.items()]
    for where, part in parts:
        if problem := part.problem():
            raise UserError(f"{scale.name}/{where}: {problem}")
    if scale.as_published and (scale.common or scale.when or scale.families or scale.base):
        raise UserError(f"{scale.name}/scale.yaml: as_published: yet it changes recipes.")


def _merged(settings: Mapping[str, Settings], name: str) -> dict[str, Any]:
    """The recipes of all families' files."""
    out: dict[str, Any] = {}
    for family, one in settings.items():
        for recipe, changes in one.recipes.items():
            if recipe in out:
                raise UserError(f"{name}/{family}.yaml: '{recipe}' is in another file too.")
            out[recipe] = changes
    return out
