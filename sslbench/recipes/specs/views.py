"""What is seen of an image: operations, their order, and the views of an image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sslbench.recipes.base import Spec, later


@dataclass(frozen=True, kw_only=True)
class Crop(Spec):
    """Random resized crop: area share in `scale`, aspect log-uniform in `ratio`, antialiased."""

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"

    def check(self) -> None:
        self.require(0 < self.scale[0] <= self.scale[1] <= 1, "scale needs 0 < low <= high <= 1.")
        self.require(0 < self.ratio[0] <= self.ratio[1], "ratio needs 0 < low <= high.")


@dataclass(frozen=True, kw_only=True)
class Jitter(Spec):
    """torchvision's ColorJitter, applied with `probability`; op order drawn per sample."""

    brightness: float = 0.8
    contrast: float = 0.8
    saturation: float = 0.8
    hue: float = 0.2
    probability: float = 0.8

    def check(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            self.require(0 <= getattr(self, name) <= 1, f"{name} must lie in [0, 1].")
        self.require(0 <= self.hue <= 0.5, "hue must lie in [0, 0.5].")
        self.require(0 <= self.probability <= 1, "probability must lie in [0, 1].")


@dataclass(frozen=True, kw_only=True)
class Blur(Spec):
    """Gaussian blur, sigma uniform in `sigma`; kernel None is the odd size near side/10, >= 3."""

    probability: float = 0.5
    sigma: tuple[float, float] = (0.1, 2.0)
    kernel: int | None = None

    def check(self) -> None:
        self.require(0 <= self.probability <= 1, "probability must lie in [0, 1].")
        self.require(0 < self.sigma[0] <= self.sigma[1], "sigma needs 0 < low <= high.")
        self.require(self.kernel is None or (self.kernel % 2 == 1 and self.kernel > 0),
                     "kernel must be odd.")  # fmt: skip


Op = Literal["crop", "flip", "jitter", "grayscale", "blur", "solarize", "cutout", "rotate",
             "noise", "sobel"]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class View(Spec):
    """One view's pipeline. A probability of 0 or None switches an operation off.

    The operations run in `order`. Pixels lie in [0, 1] until the final normalisation.
    """

    crop: Crop | None = Crop()
    flip: float = 0.5
    jitter: Jitter | None = Jitter()
    grayscale: float = 0.2
    blur: Blur | None = Blur()
    solarize: float = 0.0
    solarize_threshold: float = 0.5
    cutout: float = 0.0
    rotate: float = 0.0
    noise: float = 0.0
    sobel: float = 0.0
    order: tuple[Op, ...] = ("crop", "flip", "jitter", "grayscale", "blur", "solarize",
                             "cutout", "rotate", "noise", "sobel")  # fmt: skip
    size: int | None = None  # output side; None is the data's resolution

    def check(self) -> None:
        for name in ("flip", "grayscale", "solarize", "cutout", "rotate", "noise", "sobel"):
            self.require(0 <= getattr(self, name) <= 1, f"{name} is a probability in [0, 1].")
        self.require(self.size is None or self.size >= 1, "size must be >= 1.")
        self.require(len(set(self.order)) == len(self.order), "order names an operation twice.")

    def probabilities(self) -> dict[Op, float]:
        """Of each operation: how often it is applied."""
        return {
            "crop": 0.0 if self.crop is None else 1.0,
            "flip": self.flip,
            "jitter": 0.0 if self.jitter is None else self.jitter.probability,
            "grayscale": self.grayscale,
            "blur": 0.0 if self.blur is None else self.blur.probability,
            "solarize": self.solarize,
            "cutout": self.cutout,
            "rotate": self.rotate,
            "noise": self.noise,
            "sobel": self.sobel,
        }

    def active(self) -> frozenset[Op]:
        """The operations that can change an image."""
        return frozenset(op for op, p in self.probabilities().items() if p > 0)


@dataclass(frozen=True, kw_only=True)
class Views(Spec):
    """The views of an image: `first`, `second` (None draws `first` twice), and small `local` ones.

    `num_global=1` takes `first` alone (supervision, a memory bank).

    `common`, if given, is one crop shared by both views before their own pipelines (the setting
    of SimCLR's augmentation grid).

    Each entry of `shared` adds a view of the kind of `first`, after the two: the operations that it
    names have the parameters that they have in the first view, all others their own (LooC's keys).
    """

    first: View = View()
    second: View | None = None
    num_global: int = 2
    local: View | None = None
    num_local: int = 0
    common: View | None = None
    shared: tuple[tuple[Op, ...], ...] = later(())

    @property
    def count(self) -> int:
        """How many views of an image are drawn."""
        return self.num_global + len(self.shared) + self.num_local

    def check(self) -> None:
        self.require(self.num_global in (1, 2), "num_global must be 1 or 2.")
        self.require(self.num_global == 2 or self.second is None, "one view has no second.")
        self.require(self.num_local >= 0, "num_local must be >= 0.")
        self.require(self.num_local == 0 or self.local is not None, "num_local needs a local view.")
        if self.shared:
            self._check_shared()

    def _check_shared(self) -> None:
        self.require(
            self.second is None and self.num_global == 2,
            "shared takes parameters from one view to others of its kind; set second=null and "
            "num_global=2.",
        )
        for ops in self.shared:
            self.require(len(ops) > 0, "shared has an entry without operations; leave it out.")
            for op in ops:
                self.require(
                    op in self.first.active(),
                    f"shared names {op}, which the first view does not use; switch it on "
                    f"(views.first.{op}), or leave it out of shared.",
                )

    def sizes(self) -> Iterator[tuple[str, int]]:
        """Path and side in pixels of every view that is drawn and has a side of its own."""
        for name in ("first", "second", "local") if self.num_local else ("first", "second"):
            view = getattr(self, name)
            if view is not None and view.size is not None:
                yield f"views.{name}", view.size
