"""What protocols keep of each test image so that two runs can be compared. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from sslbench.evaluation.matching import RECALLS
from sslbench.evaluation.npz import Array
from sslbench.evaluation.resampling import PerImage


@dataclass(frozen=True, eq=False)
class Right(PerImage):
    """Top-1 in percent.

    Attributes:
        label, predicted: integers, N.
    """

    key: ClassVar = "top1"
    names: ClassVar = ("label", "predicted")

    label: Array
    predicted: Array

    @classmethod
    def of(cls, arrays: Mapping[str, Array], num_images: int) -> Self:
        label, predicted = (arrays[name] for name in cls.names)
        _check(label.dtype.kind in "iu" and predicted.dtype.kind in "iu")
        _check(label.shape == predicted.shape == (num_images,))
        return cls(label, predicted)

    @property
    def right(self) -> Array:
        """bool N."""
        found: Array = self.label == self.predicted
        return found

    def truth(self) -> tuple[Array, ...]:
        return (self.label,)

    def values(self, weights: Array) -> Array:
        return 100 * _share(weights @ self.right, weights.sum(1), empty=np.nan)


@dataclass(frozen=True, eq=False)
class LabelScores(PerImage):
    """Mean average precision, in percent, of the classes that an image may have or not.

    Attributes:
        score: N×C, NaN of classes that are left out.
        label, asked: bool N×C, what is there, and what is asked for.
    """

    key: ClassVar = "map"
    names: ClassVar = ("svm_score", "svm_label", "svm_asked")

    score: Array
    label: Array
    asked: Array

    @classmethod
    def of(cls, arrays: Mapping[str, Array], num_images: int) -> Self:
        score, label, asked = (arrays[name] for name in cls.names)
        _check(score.dtype.kind == "f" and score.ndim == 2 and len(score) == num_images)
        _check(all(x.dtype == bool and x.shape == score.shape for x in (label, asked)))
        return cls(score, label, asked)

    def truth(self) -> tuple[Array, ...]:
        return self.label, self.asked, np.isnan(self.score[:1])

    def values(self, weights: Array) -> Array:
        precisions = [
            _interpolated(self.score[:, c], self.label[:, c], weights * self.asked[:, c])
            for c in range(self.score.shape[1])
            if not np.isnan(self.score[:, c]).any()
        ]
        return 100 * _mean(np.array(precisions))


def _interpolated(score: Array, positive: Array, weights: Array) -> Array:
    """B average precisions, as `average_precision.average_precision` has them without weights."""
    order = np.argsort(-score, kind="stable")
    ends = np.append(score[order][1:] != score[order][:-1], True)  # equal ones are one threshold
    ranked = weights[:, order]
    hits = np.cumsum(ranked * positive[order], axis=1)[:, ends]
    seen = np.cumsum(ranked, axis=1)[:, ends]
    best = _envelope(_share(hits, seen))
    gained = np.diff(hits, axis=1, prepend=0.0)
    return _share((gained * best).sum(1), hits[:, -1], empty=np.nan)


@dataclass(frozen=True, eq=False)
class ClassPixels(PerImage):
    """Mean intersection over union of K classes, in percent.

    Attributes:
        hits, true, predicted: N×K, the known pixels that have a class in both maps, in the true
            one, and in the predicted one.
    """

    key: ClassVar = "miou"
    names: ClassVar = ("pixels_hit", "pixels_true", "pixels_predicted")

    hits: Array
    true: Array
    predicted: Array

    @classmethod
    def of(cls, arrays: Mapping[str, Array], num_images: int) -> Self:
        found = [arrays[name] for name in cls.names]
        _check(all(x.dtype.kind in "iu" and x.ndim == 2 for x in found))
        _check(len({x.shape for x in found}) == 1 and len(found[0]) == num_images)
        return cls(*(x.astype(np.float64) for x in found))

    def truth(self) -> tuple[Array, ...]:
        return (self.true,)

    def values(self, weights: Array) -> Array:
        hits, true, predicted = (weights @ x for x in (self.hits, self.true, self.predicted))
        return 100 * _mean(_share(hits, true + predicted - hits, empty=np.nan).T)


@dataclass(frozen=True, eq=False)
class DepthErrors(PerImage):
    """Mean relative error of depth over all known pixels.

    Attributes:
        error: N, the mean of an image; NaN where nothing is known.
        known: N, how many pixels are.
    """

    key: ClassVar = "abs_rel"
    names: ClassVar = ("abs_rel", "depth_known")

    error: Array
    known: Array

    @classmethod
    def of(cls, arrays: Mapping[str, Array], num_images: int) -> Self:
        error, known = (arrays[name] for name in cls.names)
        _check(error.dtype.kind == "f" and known.dtype.kind in "iu")
        _check(error.shape == known.shape == (num_images,))
        return cls(error.astype(np.float64), known.astype(np.float64))

    def truth(self) -> tuple[Array, ...]:
        return (self.known,)

    def values(self, weights: Array) -> Array:
        total = np.where(self.known > 0, self.error * self.known, 0.0)
        return _share(weights @ total, weights @ self.known, empty=np.nan)


@dataclass(frozen=True, eq=False)
class Verdicts(PerImage):
    """Average precision of COCO, in percent, of what a detector found.

    Attributes:
        image, label, score: K, of each detection; in the order of the images.
        verdict: int8 T×K, RIGHT, WRONG or NEITHER at each of T overlaps.
        objects: N×C, how many an image has of each class; crowds do not count.
    """

    key: ClassVar[str] = "ap"
    names: ClassVar[tuple[str, ...]] = (
        "ap_image",
        "ap_label",
        "ap_score",
        "ap_verdict",
        "ap_objects",
    )

    image: Array
    label: Array
    score: Array
    verdict: Array
    objects: Array

    @classmethod
    def of(cls, arrays: Mapping[str, Array], num_images: int) -> Self:
        image, label, score, verdict, objects = (arrays[name] for name in cls.names)
        _check(all(x.dtype.kind in "iu" for x in (image, label, verdict, objects)))
        _check(score.dtype.kind == "f" and objects.ndim == 2 and len(objects) == num_images)
        _check(image.shape == label.shape == score.shape == verdict.shape[1:])
        for x, end in ((image, num_images), (label, objects.shape[1])):
            _check(not len(x) or (x.min() >= 0 and x.max() < end))
        return cls(image, label, score, verdict, objects)

    def truth(self) -> tuple[Array, ...]:
        return (self.objects,)

    def values(self, weights: Array) -> Array:
        totals = weights @ self.objects.astype(np.float64)  # B×C
        found = []
        for c in np.flatnonzero(self.objects.sum(0)):
            rows = np.flatnonzero(self.label == c)
            rows = rows[np.argsort(-self.score[rows], kind="stable")]
            drawn = weights[:, self.image[rows]]
            each = [_at_recalls(v[rows], drawn, totals[:, c]) for v in self.verdict]
            found.append(np.mean(each, axis=0))
        return 100 * _mean(np.array(found))


class MaskVerdicts(Verdicts):
    """The same of masks."""

    key: ClassVar[str] = "mask_ap"
    names: ClassVar[tuple[str, ...]] = tuple(f"mask_{name}" for name in Verdicts.names)


def _at_recalls(verdict: Array, drawn: Array, totals: Array) -> Array:
    """B mean precisions at the 101 recalls, as `matching.precision_at_recalls` has them of one.

    Args:
        verdict: K, the surest detection first.
        drawn: B×K, how often each counts.
        totals: B, objects.
    """
    last = np.flatnonzero(verdict == 1)[-1:]
    kept = slice(0, int(last[0]) + 1 if len(last) else 0)  # behind the last right one none counts
    counted = drawn[:, kept] * (verdict[kept] != -1)
    right = np.cumsum(counted * (verdict[kept] == 1), axis=1)
    best = _envelope(_share(right, np.cumsum(counted, axis=1)))
    recall = _share(right, totals[:, None], empty=np.nan)
    best = np.concatenate([best, np.zeros((len(best), 1))], axis=1)
    mean = [
        row[np.searchsorted(reached, RECALLS, side="left")].mean()
        for row, reached in zip(best, recall, strict=True)
    ]
    return np.where(totals > 0, mean, np.nan)


def _envelope(precision: Array) -> Array:
    """The best that this place of a row or a later one has."""
    return np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]


def _share(part: Array, whole: Array, *, empty: float = 0.0) -> Array:
    out = np.full(np.broadcast(part, whole).shape, empty)
    return np.divide(part, whole, out=out, where=whole > 0)


def _mean(found: Array) -> Array:
    """Over the classes (the first axis) that have a value; NaN where none has."""
    known = ~np.isnan(found)
    return _share(np.where(known, found, 0.0).sum(0), known.sum(0), empty=np.nan)


def _check(fits: bool | np.bool_) -> None:
    if not fits:
        raise ValueError("not as the protocol keeps it")
