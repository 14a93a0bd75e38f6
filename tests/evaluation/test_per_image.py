"""Values of weighted images: those of the metric itself where images are there several times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sslbench.engine.folder import RunFolder
from sslbench.evaluation.average_precision import average_precision
from sslbench.evaluation.confusion import confusion, miou, pixels_by_image
from sslbench.evaluation.depth import Errors
from sslbench.evaluation.npz import read_arrays
from sslbench.evaluation.per_image import (
    ClassPixels,
    DepthErrors,
    LabelScores,
    MaskVerdicts,
    Right,
    Verdicts,
)
from sslbench.evaluation.protocol import Protocol
from sslbench.evaluation.resampling import PerImage, difference
from sslbench.evaluation.scores import Score
from tests.evaluation.test_detection_metrics import boxes_of, found, judged, random_case

N = 12
DRAWN = [0, 0, 0, 3, 3, 4, 5, 7, 9, 9, 9, 11]
WEIGHTS = np.stack([np.ones(N), np.bincount(DRAWN, minlength=N)]).astype(np.float64)
SEEDS = pytest.mark.parametrize("seed", range(3))


def of_images(x, rows):
    """Objects or detections of images drawn with repetition, in the order of the draws."""
    picked = [torch.nonzero(x.image == row).flatten() for row in rows]
    order = torch.cat(picked)
    image = torch.cat([torch.full((len(p),), i) for i, p in enumerate(picked)])
    fields = {name: value[order] for name, value in vars(x).items()
              if isinstance(value, torch.Tensor)}  # fmt: skip
    return type(x)(**(fields | {"image": image}))


@SEEDS
@pytest.mark.parametrize(("kind", "cls"), [("bbox", Verdicts), ("segm", MaskVerdicts)])
def test_average_precision_of_detections(kind: str, cls: type[Verdicts], seed: int) -> None:
    known, detections = random_case(seed)
    arrays = judged(known, detections, num_images=N, kind=kind).verdicts
    if kind == "segm":
        arrays = {f"mask_{name}": array for name, array in arrays.items()}
    values = cls.of(arrays, N).values(WEIGHTS)
    for value, rows in zip(values, (range(N), DRAWN), strict=True):
        own, theirs = of_images(known, rows), of_images(detections, rows)
        expected = judged(own, theirs, num_images=N, kind=kind).values["ap"]
        assert 0 < value == pytest.approx(expected, rel=1e-9)


def test_detections_that_are_none_are_nought() -> None:
    known, _ = random_case(0)
    arrays = judged(known, found([], boxes_of(), [], []), num_images=N).verdicts
    assert Verdicts.of(arrays, N).values(WEIGHTS).tolist() == [0.0, 0.0]


@SEEDS
def test_mean_average_precision_of_labels(seed: int) -> None:
    draw = np.random.default_rng(seed)
    score = draw.integers(0, 8, (N, 3)).astype(np.float32)  # equal ones among them
    score[:, 1] = np.nan
    label, asked = draw.random((N, 3)) < 0.5, draw.random((N, 3)) < 0.8
    label[3], asked[3] = True, True
    kept = dict(zip(LabelScores.names, (score, label, asked), strict=True))
    values = LabelScores.of(kept, N).values(WEIGHTS)
    for value, rows in zip(values, (np.arange(N), np.array(DRAWN)), strict=True):
        expected = []
        for c in (0, 2):
            own = rows[asked[rows, c]]
            pair = torch.from_numpy(score[own, c]), torch.from_numpy(label[own, c])
            expected.append(average_precision(*pair, interpolated=True))
        assert value == pytest.approx(100 * np.mean(expected))


@SEEDS
def test_mean_intersection_over_union(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    truth, predicted = torch.randint(0, 3, (2, N, 4, 4), generator=generator)
    truth[0] = 3  # a class that few images have
    known = torch.rand(N, 4, 4, generator=generator) < 0.7
    kept = pixels_by_image(truth, predicted, known, num_classes=5)
    values = ClassPixels.of(kept, N).values(WEIGHTS)
    for value, rows in zip(values, (range(N), DRAWN), strict=True):
        drawn = (x[list(rows)] for x in (truth, predicted, known))
        assert value == pytest.approx(miou(confusion(*drawn, num_classes=5)))


def test_relative_errors_of_depth() -> None:
    generator = torch.Generator().manual_seed(0)
    truth, found = 1 + torch.rand(2, N, 4, 4, generator=generator)
    truth[:, :2][torch.rand(N, 2, 4, generator=generator) < 0.5] = torch.nan
    truth[4] = torch.nan
    each = ((found - truth).abs() / truth).flatten(1).nanmean(1)
    known = (~truth.isnan()).flatten(1).sum(1)
    kept = {"abs_rel": each.numpy(), "depth_known": known.numpy()}
    values = DepthErrors.of(kept, N).values(WEIGHTS)
    for value, rows in zip(values, (range(N), DRAWN), strict=True):
        errors = Errors()
        errors.add(found[list(rows)], truth[list(rows)])
        assert value == pytest.approx(errors.values()["abs_rel"], rel=1e-5)


def right(*correct: bool | np.bool_) -> Right:
    return Right(np.zeros(len(correct), int), np.where(correct, 0, 1))


def test_the_same_predictions_do_not_differ_and_the_sign_turns() -> None:
    draw = np.random.default_rng(0)
    a, b = right(*(draw.random(80) < 0.8)), right(*(draw.random(80) < 0.5))
    same = difference(a, a, 80)
    assert (same.difference, same.low, same.high, same.p_value) == (0, 0, 0, 1)
    there, back = difference(a, b, 80), difference(b, a, 80)
    assert there.low > 0 and there.p_value == back.p_value < 0.01
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))


def test_of_a_mean_the_interval_is_the_normal_one() -> None:
    draw = np.random.default_rng(1)
    correct = draw.random((2, 400)) < [[0.8], [0.7]]
    found = difference(right(*correct[0]), right(*correct[1]), 400)
    each = 100 * (correct[0].astype(float) - correct[1])
    reach = 1.96 * each.std() / 20
    assert found.difference == pytest.approx(each.mean())
    assert (found.low, found.high) == pytest.approx((each.mean() - reach, each.mean() + reach),
                                                    abs=0.08 * reach)  # fmt: skip


def test_without_a_difference_one_in_twenty_is_called_one() -> None:
    draw = np.random.default_rng(2)
    p = []
    for _ in range(300):
        correct = draw.random((2, 100)) < 0.7
        p.append(difference(right(*correct[0]), right(*correct[1]), 100).p_value)
    assert 0.02 < (np.array(p) < 0.05).mean() < 0.09


def test_where_a_draw_has_nothing_to_measure_it_is_left_out() -> None:
    errors = np.array([0.5, np.nan, np.nan])
    kept = {"abs_rel": errors, "depth_known": np.array([9, 0, 0])}
    own = DepthErrors.of(kept, 3)
    found = difference(own, own, 3)
    assert (found.value_a, found.difference, found.p_value) == (0.5, 0.0, 1.0)


@pytest.mark.parametrize(
    ("cls", "arrays"),
    [
        (Right, (np.zeros(N), np.zeros(N, int))),
        (LabelScores, (np.zeros((N, 2), np.float32), *np.zeros((2, N, 3), bool))),
        (ClassPixels, (np.zeros((N, 2), int), np.zeros((N, 2), int), np.zeros((9, 2), int))),
        (DepthErrors, (np.zeros(N, np.float32), np.zeros(N, np.float32))),
        (Verdicts, (np.full(4, N), np.zeros(4, int), np.zeros(4), np.zeros((10, 4), np.int8),
                    np.ones((N, 2), int))),
    ],
)  # fmt: skip
def test_arrays_of_something_else_are_refused(cls: type[PerImage], arrays: tuple) -> None:
    with pytest.raises(ValueError, match="not as the protocol keeps it"):
        cls.of(dict(zip(cls.names, arrays, strict=True)), N)


def assert_kept(run: RunFolder, score: Score, protocol: Protocol, cls: type[PerImage]) -> None:
    """What is kept gives the score itself, and a run compared with itself."""
    (path,) = Path(run.path).rglob(f"*.{protocol.name}.npz")
    own = cls.of(read_arrays(path, cls.names, limit=2**24), score.num_test)
    value = float(own.values(np.ones((1, score.num_test)))[0])
    assert value == pytest.approx(score.values[cls.key], rel=1e-5)
