"""Protocols: every setting that decides a score, as data, with a hash. Imports no torch.

A changed setting is a new version of the protocol (`knn.v2`), never an edit: old scores keep the
name and the definition under which they were measured.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from sslbench.errors import UserError, did_you_mean


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What all protocols share: a versioned name, and a line that says what is measured.

    `VALUES` are the names of the values that it measures (top-5 where there are enough classes).
    """

    VALUES: ClassVar[tuple[str, ...]] = ("top1", "top5")

    name: str
    summary: str

    @property
    def definition(self) -> str:
        """12 hex digits of the SHA-256 of every setting; two scores compare only if it agrees."""
        settings = dataclasses.asdict(self)
        del settings["summary"]
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True, kw_only=True)
class KNN(Protocol):
    """Weighted kNN by cosine similarity s: a neighbour votes exp(s / temperature) for its class.

    The pair of `neighbors` and `temperatures` with the best held-out top-1 is used on the test
    set, the first of equal ones (fewer neighbours, then lower temperature).
    Source: Wu et al. 2018 (instance discrimination), Sec. 3.4.
    """

    neighbors: tuple[int, ...] = (10, 20, 50, 100, 200)
    temperatures: tuple[float, ...] = (0.05, 0.07, 0.1, 0.2, 0.5)
    normalize: str = "l2"
    search: str = "exact inner product, float32"


@dataclass(frozen=True, kw_only=True)
class Linear(Protocol):
    """Multinomial logistic regression on frozen features, by SGD under a cosine schedule.

    Every pair of `learning_rates` and `weight_decays` is trained, all at once, and one is chosen
    on the held-out part, fitted on all training images and tested. Weights start at zero. A small
    set gets whole further epochs until there are `least_steps`. `learning_rates` are for the mean
    loss of a batch and are not scaled by its size. A feature whose spread is below `least_spread`
    of its root mean square counts as constant: what is left of it is rounding.
    """

    learning_rates: tuple[float, ...]
    weight_decays: tuple[float, ...] = (0.0,)
    momentum: float = 0.9
    epochs: int = 30
    least_steps: int = 500
    batch_size: int = 256
    standardize: bool = True
    least_spread: float = 1e-5
    choice: str = "top-1, then cross-entropy, then the lower rate"
    order_seed: int = 0


@dataclass(frozen=True, kw_only=True)
class AugmentedLinear(Linear):
    """The same on randomly cropped and flipped training images, another draw every epoch.

    The encoder stays in evaluation mode; held-out and test images are not augmented. Features are
    standardised by the statistics of the images without augmentation, which lets one grid of
    rates fit every encoder; the papers train on features as they are, at a rate of their own.
    """

    crop_scale: tuple[float, float] = (0.08, 1.0)
    flip: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Geometry(Protocol):
    """How l2-normalised features of test images lie on the sphere; no labels are fitted.

    `alignment_power`, `uniformity_scale`: the paper's alpha and t. At most `max_images` test
    images take part. Positive pairs are two views of an image under the run's own recipe.
    Source: Wang and Isola 2020; tolerance: Wang and Liu 2021.
    """

    VALUES: ClassVar = ("alignment", "uniformity", "tolerance", "effective_rank", "std")

    alignment_power: float = 2.0
    uniformity_scale: float = 2.0
    max_images: int = 10_000
    seed: int = 0


_RATES = tuple(round(1e-4 * 10 ** (i / 3), 8) for i in range(16))  # 1e-4 to 10, 3 a decade

PROTOCOLS: dict[str, Protocol] = {
    p.name: p
    for p in (
        KNN(
            name="knn.v1",
            summary="Weighted kNN on cosine similarity; k and temperature chosen held-out.",
        ),
        Linear(
            name="linear.features.v1",
            summary="Linear probe on cached features, learning rate chosen held-out.",
            learning_rates=_RATES,
        ),
        AugmentedLinear(
            name="linear.augmented.v1",
            summary="Linear probe with random crops and flips, as in the papers.",
            learning_rates=_RATES,
            least_steps=0,  # an epoch is a pass of the encoder
        ),
        Geometry(
            name="geometry.v1",
            summary="Alignment, uniformity, tolerance, effective rank and spread of features.",
        ),
    )
}

CURRENT: dict[str, str] = {
    "knn": "knn.v1",
    "linear": "linear.features.v1",
    "linear.features": "linear.features.v1",
    "linear.augmented": "linear.augmented.v1",
    "geometry": "geometry.v1",
}


def find_protocol(name: str) -> Protocol:
    """A protocol by its full name, or the current version by its short one. Raises UserError."""
    name = name.strip()
    full = CURRENT.get(name, name)
    if full not in PROTOCOLS:
        raise UserError(f"No protocol '{name}'{did_you_mean(name, [*CURRENT, *PROTOCOLS])}")
    return PROTOCOLS[full]


def find_protocols(names: Iterable[str]) -> list[Protocol]:
    """The protocols of some names, each once, in the order given. Raises UserError."""
    return list({p.name: p for p in map(find_protocol, names)}.values())
