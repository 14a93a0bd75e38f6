"""Image sets."""

from __future__ import annotations

from dataclasses import dataclass

from sslbench.recipes.base import Spec, aside


@dataclass(frozen=True, kw_only=True)
class Shapes(Spec):
    """The built-in procedural set: shape and pattern tell the class, all else is nuisance."""

    resolution: int = 32
    num_train: int = 8000
    num_test: int = 2000
    num_classes: int = 10
    seed: int = 0
    shift: float = 0.3  # object centre, uniform in +- shift of the half side
    size: tuple[float, float] = (0.6, 0.95)
    rotation: float = 0.5  # radians, uniform in +-

    @property
    def set_name(self) -> str:
        """The data set's, in lists, files and tables."""
        return "shapes"

    def check(self) -> None:
        self.require(self.resolution >= 8, "resolution must be >= 8.")
        self.require(self.num_train >= 1 and self.num_test >= 1, "needs at least one image each.")
        self.require(2 <= self.num_classes <= 10, "num_classes must lie in 2..10.")


@dataclass(frozen=True, kw_only=True)
class ImageSet(Spec):
    """A real set by name, from its local copy or download.

    `num_train` and `num_test` are limits: a larger set gives a seeded, stratified subset of that
    size, a smaller one all it has (the scales limit sets that way).
    """

    name: str = "cifar10"
    resolution: int | None = None  # None: the set's own; folders need one
    num_train: int | None = None  # at most; None: all
    num_test: int | None = None
    path: str | None = aside(None)  # None: <data root>/<name>; needed for `folder` and `flat`

    @property
    def set_name(self) -> str:
        """The data set's, in lists, files and tables."""
        return self.name

    def check(self) -> None:
        for name in ("resolution", "num_train", "num_test"):
            value = getattr(self, name)
            self.require(value is None or value >= 1, f"{name} must be >= 1.")


Data = Shapes | ImageSet
