"""What a scale is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sslbench.recipes.specs import Data, ImageSet, Shapes

Changes = Mapping[str, Any]
Axis = Mapping[Any, Any]  # a published number or name to the one here
PublishedAt = Literal["paper", "cifar"]


@dataclass(frozen=True)
class Scale:
    """One scale. `seeds` is how many runs a table gets by default; `notes` say how the settings
    were found."""

    name: str
    summary: str
    data: Data
    common: Changes
    recipes: Mapping[str, Changes] = field(default_factory=dict)
    axes: Mapping[str, Axis] = field(default_factory=dict)
    small_axes: Mapping[str, Axis] = field(default_factory=dict)
    seeds: int = 3
    resolution: int | None = None
    num_train: int | None = None
    notes: tuple[str, ...] = ()

    def axes_of(self, published_at: PublishedAt) -> Mapping[str, Axis]:
        """The axes of values published at that scale (none where it is this one)."""
        return self.axes if published_at == "paper" else self.small_axes

    def dataset(self, name: str, *, path: str | None = None) -> Data:
        """A named set at this scale: `resolution` and at most `num_train` training images."""
        if name == "shapes":
            return self.data if isinstance(self.data, Shapes) else Shapes()
        return ImageSet(name=name, resolution=self.resolution, num_train=self.num_train, path=path)


# Jitter of SimCLR at half its strength, the usual one for small images.
SMALL_JITTER: Changes = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
