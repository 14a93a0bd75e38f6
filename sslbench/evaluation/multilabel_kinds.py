"""The settings of classification into several classes at once. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sslbench.evaluation.protocol import Protocol, Value
from sslbench.recipes.specs import EncoderSpec, RawPixels

MOST_FEATURES = 4096  # from here on a score takes hours: a step solves as many equations


@dataclass(frozen=True, kw_only=True)
class MultilabelSVM(Protocol):
    """A linear support vector machine for each class on frozen features, as on VOC 2007.

    Features x become x / (|x| + `shift`) in float64. The loss is half the squared norm of weights
    and bias, plus C times the squared hinge of each image, times `positive_weight` where the class
    is there. Of each class, C is the one of `costs` with the best mean average precision on
    `folds` stratified parts of the training images, in order; of equal ones the lowest. The
    machine is fitted anew on all of them. The test's average precision is interpolated, over all
    points of the curve. A class that an image may have or not (VOC's difficult objects) is not
    there when training and not asked for in the test.

    A class of which a part of the training images has none, or has nothing else, or that no test
    image has or lacks, is left out; `skipped` is how many. `map` is the mean of the others in
    percent, `chance` that of a constant score, which is the share of images that have the class.
    Source: VISSL, `svm_trainer.py` and its configuration for VOC 2007, after Goyal et al. 2019,
    arXiv:1905.01235.
    """

    needs: ClassVar = frozenset({"multilabels"})
    values: ClassVar = (
        Value(key="map", unit="%", better="higher"),
        Value(key="chance", unit="%"),
        Value(key="skipped"),
    )
    runner: ClassVar = "sslbench.evaluation.multilabel:run"
    checker: ClassVar = "sslbench.evaluation.multilabel:check"
    per_image: ClassVar = "sslbench.evaluation.per_image:LabelScores"

    costs: tuple[float, ...] = (
        0.01, 0.1, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 50.0, 100.0, 1000.0,
    )  # fmt: skip
    positive_weight: float = 2.0
    folds: int = 3
    shift: float = 1e-5
    choice: str = "average precision without interpolation, then the lower cost"

    def require_encoder(self, encoder: EncoderSpec) -> None:
        encoder.require(
            not isinstance(encoder, RawPixels),
            f"{self.name} takes at most {MOST_FEATURES:,} features, and pixels are soon more; use "
            "ColorHistogram as the baseline.",
        )
