"""Image sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

from sslbench.recipes.base import Spec, aside


@dataclass(frozen=True, kw_only=True)
class DrawnSpec(Spec, interface=True):
    """A set that a program draws, from no files; its kind in lower case is the set's name."""

    resolution: int = 32
    num_train: int = 8000
    num_test: int = 2000
    num_classes: int = 10
    seed: int = 0

    @property
    def set_name(self) -> str:
        """The data set's, in lists, files and tables."""
        return type(self).__name__.lower()

    def at_most(self, num_train: int | None) -> Self:
        """This set with no more training images than that; None is no limit."""
        return self if num_train is None else self.but(num_train=min(self.num_train, num_train))

    def check(self) -> None:
        self.require(self.resolution >= 8, "resolution must be >= 8.")
        self.require(self.num_train >= 1 and self.num_test >= 1, "needs at least one image each.")
        self.require(2 <= self.num_classes <= 10, "num_classes must lie in 2..10.")


@dataclass(frozen=True, kw_only=True)
class Shapes(DrawnSpec):
    """The built-in procedural set: shape and pattern tell the class, all else is nuisance."""

    shift: float = 0.3  # object centre, uniform in +- shift of the half side
    size: tuple[float, float] = (0.6, 0.95)
    rotation: float = 0.5  # radians, uniform in +-


@dataclass(frozen=True, kw_only=True)
class Scenes(DrawnSpec):
    """Several of the shapes in an image, wholly inside it, one before the other."""

    resolution: int = 64
    num_train: int = 4000
    num_test: int = 1000
    num_objects: tuple[int, int] = (1, 4)  # at least, at most; before hidden ones are left out
    size: tuple[float, float] = (0.25, 0.45)  # in half image sides
    rotation: float = 0.5  # radians, uniform in +-

    def check(self) -> None:
        super().check()
        _check_objects(self, self.num_objects, self.size)


@dataclass(frozen=True, kw_only=True)
class Clips(DrawnSpec):
    """Clips of such scenes in which every shape moves in a way of its own.

    `num_train` and `num_test` count images, frames of whole clips.
    """

    resolution: int = 64
    num_train: int = 4000
    num_test: int = 1000
    num_frames: int = 8  # of a clip
    num_objects: tuple[int, int] = (1, 3)
    size: tuple[float, float] = (0.25, 0.45)
    rotation: float = 0.5

    def at_most(self, num_train: int | None) -> Self:
        if num_train is None or num_train >= self.num_train:
            return self
        return self.but(num_train=max(1, num_train // self.num_frames) * self.num_frames)

    def check(self) -> None:
        super().check()
        _check_objects(self, self.num_objects, self.size)
        self.require(2 <= self.num_frames <= 64, "num_frames must lie in 2..64.")
        for name in ("num_train", "num_test"):
            count, length = getattr(self, name), self.num_frames
            near = max(1, round(count / length)) * length
            self.require(
                count % length == 0,
                f"{name} counts frames of whole clips, and {count} is no multiple of num_frames, "
                f"{length}; use {near}.",
            )


def _check_objects(spec: Spec, num: tuple[int, int], size: tuple[float, float]) -> None:
    spec.require(1 <= num[0] <= num[1] <= 8, "num_objects needs 1 <= least <= most <= 8.")
    spec.require(0.1 <= size[0] <= size[1] <= 0.6, "size needs 0.1 <= least <= most <= 0.6.")


@dataclass(frozen=True, kw_only=True)
class ImageSet(Spec):
    """A set of files by name, from its local copy or download.

    `num_train` and `num_test` are limits: a larger set gives a seeded, stratified subset of that
    size, a smaller one all it has (the scales limit sets that way).
    """

    name: str = "cifar10"
    resolution: int | None = None  # None: the set's own; folders need one
    num_train: int | None = None  # at most; None: all
    num_test: int | None = None
    path: str | None = aside(None)  # None: <data root>/<name>; needed for `folder` and `flat`
    stream: bool | None = aside(None)  # read while they are used; None: where memory is short
    broken: Literal["refuse", "skip"] = aside("refuse")  # streamed images that cannot be read

    @property
    def set_name(self) -> str:
        """The data set's, in lists, files and tables."""
        return self.name

    def check(self) -> None:
        for name in ("resolution", "num_train", "num_test"):
            value = getattr(self, name)
            self.require(value is None or value >= 1, f"{name} must be >= 1.")


Data = DrawnSpec | ImageSet
