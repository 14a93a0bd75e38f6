"""Two runs on the same test images: a paired test, which needs far smaller differences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from sslbench.data.registry import DATASETS, function
from sslbench.engine.folder import RunFolder
from sslbench.errors import UserError
from sslbench.evaluation.npz import read_arrays
from sslbench.evaluation.per_image import Right
from sslbench.evaluation.protocols import POINTS, find_protocol
from sslbench.evaluation.resampling import RESAMPLES, PerImage, difference
from sslbench.evaluation.scores import Score, all_scores, comparable

_Z95 = 1.959963984540054
_HEADER = 4096  # bytes of an array's file that are no values, at most
_OF_AN_IMAGE = 2**16  # bytes of an array, more than any protocol keeps of it


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Run a against run b on the same test images.

    Attributes:
        metric: the value that is compared, as in `Protocol.values`.
        difference: a's value less b's; (low, high) is its 95 % interval over images.
        p_value: two-sided, of no difference.
    """

    protocol: str
    definition: str
    dataset: str
    fingerprint: str
    num_test: int
    metric: str
    value_a: float
    value_b: float
    difference: float
    low: float
    high: float
    p_value: float

    def sentence(self, a: str, b: str) -> str:
        """The result in words; a and b are the runs' names."""
        raise NotImplementedError

    @property
    def verdict(self) -> str:
        """Whether the two differ, in words."""
        return "differ" if self.p_value < 0.05 else "cannot be told apart"


@dataclass(frozen=True, kw_only=True)
class RightOrWrong(Comparison):
    """Top-1 in percent, image by image; the test is McNemar's exact one.

    Attributes:
        only_a, only_b: test images that only one of them has right.
    """

    only_a: int
    only_b: int

    def sentence(self, a: str, b: str) -> str:
        return (
            f"{self.protocol} on {self.num_test} test images of {self.dataset}: {a} "
            f"{self.value_a:.2f} %, {b} {self.value_b:.2f} %, difference {self.difference:+.2f} "
            f"points (95 % interval {self.low:+.2f} to {self.high:+.2f}); only the first is right "
            f"on {self.only_a} images, only the second on {self.only_b}; exact McNemar test "
            f"p = {self.p_value:.3g}: on these images the two {self.verdict}."
        )


@dataclass(frozen=True, kw_only=True)
class Resampled(Comparison):
    """A value that is no mean over images, by the paired bootstrap (`resampling.difference`).

    Attributes:
        resamples: how often the images were drawn anew.
    """

    resamples: int

    def sentence(self, a: str, b: str) -> str:
        value = next(v for v in find_protocol(self.protocol).values if v.key == self.metric)
        digits, unit = (2, f" {value.unit}") if value.unit in POINTS else (4, "")
        points = " points" if unit else ""
        lower = "; lower is better" if value.better == "lower" else ""
        return (
            f"{self.protocol} on {self.num_test} test images of {self.dataset}: {self.metric} of "
            f"{a} {self.value_a:.{digits}f}{unit}, of {b} {self.value_b:.{digits}f}{unit}{lower}; "
            f"difference {self.difference:+.{digits}f}{points} (95 % interval "
            f"{self.low:+.{digits}f} to {self.high:+.{digits}f} over {self.resamples:,} resamples "
            f"of the images), p = {self.p_value:.3g}: on these images the two {self.verdict}."
        )


def compare(
    a: RunFolder, b: RunFolder, protocol: str = "linear", *, dataset: str | None = None
) -> Comparison:
    """Compare what two runs predict under one protocol.

    It speaks about these two encoders, not about their recipes: another seed is another encoder,
    and where a protocol trains, another fit.

    Args:
        protocol: full or short name.
        dataset: name of a data set that both were scored on; None is the one that a was trained
            on.
    Raises:
        UserError: a score or its predictions are missing, or the two are not comparable.
    """
    chosen = find_protocol(protocol)
    name = chosen.name
    dataset = dataset or str(a.summary().get("dataset", ""))
    scores_a, scores_b = _scores(a, name, dataset), _scores(b, name, dataset)
    shared = [(x, y) for x in scores_a for y in scores_b
              if scores_a[x].fingerprint == scores_b[y].fingerprint]  # fmt: skip
    if len(shared) > 1:
        raise UserError(
            f"Both runs were scored on {len(shared)} versions of '{dataset}'; name one of "
            f"{', '.join(sorted(x for x, _ in shared))}."
        )
    x, y = shared[0] if shared else (next(iter(scores_a)), next(iter(scores_b)))
    comparable(scores_a[x], scores_b[y])
    score, num_test = scores_a[x], scores_a[x].num_test
    paths = a.predictions_path(x, name), b.predictions_path(y, name)
    kind: type[PerImage] = Right
    if chosen.per_image:
        kind = cast("type[PerImage]", function(chosen.per_image))
    kept_a, kept_b = (_kept(path, kind, num_test) for path in paths)
    same = zip(kept_a.truth(), kept_b.truth(), strict=True)
    if not all(np.array_equal(ours, theirs) for ours, theirs in same):
        raise UserError(f"{a.path.name} and {b.path.name} kept predictions of different images; "
                        "run `sslbench eval --force` on both.")  # fmt: skip
    if isinstance(kept_a, Right) and isinstance(kept_b, Right):
        return paired(score, kept_a.right, kept_b.right)
    found = difference(kept_a, kept_b, num_test)
    return Resampled(**_of(score), metric=kind.key, **found._asdict(), resamples=RESAMPLES)


def _of(score: Score) -> dict[str, Any]:
    """What is compared."""
    return {"protocol": score.protocol, "definition": score.definition, "dataset": score.dataset,
            "fingerprint": score.fingerprint, "num_test": score.num_test}  # fmt: skip


def paired(
    score: Score, right_a: np.ndarray[Any, Any], right_b: np.ndarray[Any, Any]
) -> RightOrWrong:
    """The comparison of two bool arrays of one length, right or wrong on each test image."""
    total = len(right_a)
    only_a = int(np.count_nonzero(right_a & ~right_b))
    only_b = int(np.count_nonzero(right_b & ~right_a))
    low, high = interval(only_a, only_b, total)
    return RightOrWrong(
        **_of(score),
        metric="top1",
        value_a=100.0 * float(right_a.mean()),
        value_b=100.0 * float(right_b.mean()),
        only_a=only_a,
        only_b=only_b,
        difference=100.0 * (only_a - only_b) / total,
        low=low,
        high=high,
        p_value=mcnemar(only_a, only_b),
    )


def mcnemar(only_a: int, only_b: int) -> float:
    """p value of the exact two-sided test that a and b are right equally often; 1 without pairs.

    Source: McNemar 1947, with the binomial distribution in place of its approximation.
    """
    if only_a + only_b == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(only_a, only_a + only_b).pvalue)


def interval(only_a: int, only_b: int, total: int) -> tuple[float, float]:
    """95 % interval of the difference of two paired proportions, in points.

    Wald's, with half a pair added to each of the four cells: near its nominal coverage with few
    differing images, too, and never of width 0.
    Source: Agresti and Min 2005, Statistics in Medicine 24, 729-740.
    """
    a, b, n = only_a + 0.5, only_b + 0.5, total + 2
    difference = (a - b) / n
    reach = _Z95 * math.sqrt(a + b - (a - b) ** 2 / n) / n
    return 100 * max(-1.0, difference - reach), 100 * min(1.0, difference + reach)


def _scores(folder: RunFolder, protocol: str, dataset: str) -> dict[str, Score]:
    """The scores of one protocol on a data set, by label: the set's name, or with its content."""
    scores, unread = all_scores(folder, protocol)
    found = {label: s for (label, of), s in scores.items()
             if of == protocol and dataset in (label, s.dataset)}  # fmt: skip
    if not found:
        known = DATASETS.get(dataset)
        if known is not None and not known.labelled and "labels" in find_protocol(protocol).needs:
            raise UserError(
                f"'{dataset}' has no labels, so there are no scores on it; score both runs on a "
                "set that has some (`sslbench eval RUN --dataset NAME`), then compare with "
                "--dataset."
            )
        why = f" ({unread[-1]})" if unread else ""
        raise UserError(
            f"{folder.path.name} has no {protocol} score on '{dataset}'{why}; run `sslbench "
            "eval` with this protocol and data set on it first."
        )
    return found


def _kept(path: Path, kind: type[PerImage], num_test: int) -> PerImage:
    """What is kept of the test images beside a score."""
    try:
        arrays = read_arrays(path, kind.names, limit=_OF_AN_IMAGE * num_test + _HEADER)
        found = kind.of(arrays, num_test)
    except (KeyError, ValueError) as error:
        raise UserError(
            f"{path} is missing or damaged, of an earlier version, or the protocol predicts "
            f"nothing that can be compared ({type(error).__name__}); run `sslbench eval --force` "
            "to have predictions written again."
        ) from None
    if not num_test:
        raise UserError(f"{path} holds no predictions; evaluate both runs on test images.")
    return found
