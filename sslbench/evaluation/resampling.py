"""How far a value that is no mean over images moves when other images are drawn. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, NamedTuple, Self

import numpy as np

from sslbench.evaluation.npz import Array

RESAMPLES = 2000
_SEED = 0
_NUMBERS = 2**22  # weights drawn at a time


class PerImage:
    """What is kept of each of N test images, from which a value follows for any choice of them.

    Attributes:
        key: of the value, as in `Protocol.values`.
        names: the arrays that lie beside a score.
    """

    key: ClassVar[str]
    names: ClassVar[tuple[str, ...]]

    @classmethod
    def of(cls, arrays: Mapping[str, Array], num_images: int) -> Self:
        """From arrays of those names. Raises ValueError: they are not of so many images."""
        raise NotImplementedError

    def truth(self) -> tuple[Array, ...]:
        """What is known of the images, alike for all that were measured on them."""
        raise NotImplementedError

    def values(self, weights: Array) -> Array:
        """B float64, with each image counted `weights` (B×N float64) times; NaN where there is
        nothing to measure."""
        raise NotImplementedError


class Difference(NamedTuple):
    """Of a value between two runs on the same images: a's, b's, a's less b's, its 95 % interval and
    the two-sided p value of no difference."""

    value_a: float
    value_b: float
    difference: float
    low: float
    high: float
    p_value: float


def difference(a: PerImage, b: PerImage, num_images: int) -> Difference:
    """The paired percentile bootstrap over images: both are measured on the same draws.

    Twice the smaller share of draws on either side of 0, the one at hand counted among them, is the
    p value. The draws are always the same ones.
    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", Sec. 13.3 and 16.4.
    """
    whole = np.ones((1, num_images))
    value_a, value_b = float(a.values(whole)[0]), float(b.values(whole)[0])
    parts = [a.values(weights) - b.values(weights) for weights in _draws(num_images)]
    found = np.concatenate(parts)
    found = found[~np.isnan(found)]
    below, above = (found <= 0).sum(), (found >= 0).sum()
    p_value = 2.0 * (1 + min(below, above)) / (1 + len(found))
    low, high = np.percentile(found, [2.5, 97.5]) if len(found) else (np.nan, np.nan)
    return Difference(
        value_a, value_b, value_a - value_b, float(low), float(high), min(1.0, float(p_value))
    )


def _draws(num_images: int) -> Iterator[Array]:
    """How often each image is drawn, of as many draws as there are images; in parts b×N."""
    generator = np.random.default_rng(_SEED)
    share = np.full(num_images, 1.0 / num_images)
    most = max(1, _NUMBERS // num_images)
    for start in range(0, RESAMPLES, most):
        count = min(most, RESAMPLES - start)
        yield generator.multinomial(num_images, share, size=count).astype(np.float64)
