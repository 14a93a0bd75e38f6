"""What the pictures of all kinds of predictions share: a value of each test image, and parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from torch import Tensor

from sslbench.data import Dataset
from sslbench.evaluation.analyses.analysis import Record

Sort = Literal["random", "worst", "best"]


class Drawn(NamedTuple):
    """What is shown of one image: further numbers for its line of the summary, a record a box,
    class or label, and pictures by the end of their names."""

    summary: Record
    points: list[Record]
    pictures: dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Predictions of test images against the truth.

    Attributes:
        measure: what `values` are, as a column's name.
        values: N float64, of the first N test images; NaN where there is nothing to judge.
        higher: whether a higher value is better.
        draw: the parts of the image at a position.
        notes: sentences that belong under the summary.
    """

    measure: str
    values: np.ndarray[Any, Any]
    higher: bool
    draw: Callable[[int], Drawn]
    notes: list[str] = field(default_factory=list)

    def sorted(self, sort: Literal["worst", "best"]) -> list[int]:
        """Positions, the worst or best first; at the end those with nothing to judge."""
        best_first = -self.values if self.higher else self.values
        key = best_first if sort == "best" else -best_first
        return [int(i) for i in np.argsort(key, kind="stable")]  # NaN comes last either way


def class_names(dataset: Dataset, labels: Sequence[int]) -> list[str]:
    """Names of labels; of a set that names no classes, their numbers."""
    known = dataset.classes
    return [known[label] if label < len(known) else f"class {label}" for label in labels]
