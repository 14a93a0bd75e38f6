"""Whose code a spec needs."""

from __future__ import annotations

from sslbench import plugins, registries
from sslbench.recipes.base import Spec
from sslbench.recipes.specs import DrawnSpec, ImageSet


def plugins_of(spec: Spec) -> dict[str, str]:
    """Name to hash of the plugins whose code a spec needs: its classes, what implements them, or
    what reads its images. A recipe that a plugin made of our own pieces needs none."""
    parts: list[object] = []
    for piece in spec.pieces():
        parts += [type(piece), *registries.behind(type(piece), registries.SPECS)]
        if isinstance(piece, ImageSet | DrawnSpec):
            entries = registries.behind(piece.set_name, registries.DATA)
            parts += [getattr(entry, "reader", None) for entry in entries]
    return plugins.used_by(parts)
