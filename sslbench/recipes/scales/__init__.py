"""Scales: what turns a published recipe into what a machine can afford, as data.

A folder a scale: `scale.yaml` says what it is, what it changes of every recipe, and what its axes
are (published number or name to the one here); a file a family (`joint.yaml` of `JointRecipe`) what
it changes of those recipes, and where each setting comes from. A folder in it is of the data set of
that name: what the scale changes there, after all that it changes anyway, in `set.yaml` and the
families' files, and in `tuned.yaml` what studies found (`sslbench tune --write` writes that one).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sslbench.recipes.scales.reading import read_scale
from sslbench.recipes.scales.scale import Axis, Changes, Found, OnSet, PublishedAt, Scale, Tuned


class Scales(Mapping[str, Scale]):
    """The scales by name, small to large; the files of one are read when it is first asked for."""

    _NAMES = ("smoke", "laptop", "desktop", "cifar", "paper")

    def __getitem__(self, name: str) -> Scale:
        if name not in self:
            raise KeyError(name)
        return read_scale(name)

    def __contains__(self, name: object) -> bool:
        return name in self._NAMES

    def __iter__(self) -> Iterator[str]:
        return iter(self._NAMES)

    def __len__(self) -> int:
        return len(self._NAMES)


SCALES = Scales()

__all__ = ["SCALES", "Axis", "Changes", "Found", "OnSet", "PublishedAt", "Scale", "Tuned"]
