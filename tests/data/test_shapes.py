from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from sslbench.data import Split, load
from sslbench.data.drawing import CLASSES, PATTERN_OF
from sslbench.data.outlines import AREA, OUTLINES
from sslbench.data.patterns import PATTERNS
from sslbench.data.shapes import render, shapes
from sslbench.recipes.specs import Shapes

SMALL = Shapes(num_train=200, num_test=100)


def same_pixels(a: Tensor, b: Tensor) -> bool:
    """Equal up to one grey level: the last bit of sin and cos depends on the vector width."""
    return int((a.short() - b.short()).abs().max()) <= 1


def objects(split: Split) -> tuple[Tensor, Tensor]:
    """The box N×4 and the mask N×H×W of the object of each image."""
    found = split.instances
    assert found is not None and found.mask is not None
    assert found.image.tolist() == list(range(len(split)))
    return found.box, found.mask


def test_same_spec_same_set() -> None:
    first, second = (shapes(SMALL).train for _ in range(2))
    assert torch.equal(first.images, second.images)
    assert first.labels is not None and second.labels is not None
    assert torch.equal(first.labels, second.labels)


def test_an_image_does_not_depend_on_its_neighbours() -> None:
    whole = shapes(SMALL).train
    alone = render(SMALL, torch.tensor([137, 12]))
    assert same_pixels(alone.images, whole.images[[137, 12]])


def test_a_larger_set_starts_with_the_smaller_one() -> None:
    larger = shapes(SMALL.but(num_train=300)).train
    assert same_pixels(larger.images[:200], shapes(SMALL).train.images)


def test_another_seed_draws_other_images() -> None:
    other = shapes(SMALL.but(seed=1)).train
    assert not torch.equal(other.images, shapes(SMALL).train.images)


def test_no_test_image_is_a_training_image() -> None:
    raw = shapes(Shapes(num_train=500, num_test=500))
    train, test = (half.images.flatten(1).float() for half in (raw.train, raw.test))
    assert float(torch.cdist(test, train).min()) > 100


def test_every_class_is_equally_frequent() -> None:
    labels = shapes(SMALL).train.labels
    assert labels is not None
    assert labels.bincount().tolist() == [20] * 10


def test_fewer_classes_are_the_first_ones() -> None:
    data = load(SMALL.but(num_classes=3), root=Path())
    assert data.classes == CLASSES[:3]
    assert data.train.labels is not None and int(data.train.labels.max()) == 2


def test_every_class_has_an_outline_and_a_pattern_of_its_own() -> None:
    assert list(OUTLINES) == list(CLASSES)
    assert sorted(PATTERN_OF.values()) == sorted(PATTERNS)


def test_outlines_have_one_area_and_their_centre_in_the_middle() -> None:
    side = (torch.arange(600) + 0.5) / 200 - 1.5
    y, x = torch.meshgrid(side, side, indexing="ij")
    for name, outline in OUTLINES.items():
        inside = outline(x, y) < 0
        assert float(inside.double().mean() * 9) == pytest.approx(AREA, rel=0.01), name
        assert abs(float(x[inside].mean())) < 0.06 and abs(float(y[inside].mean())) < 0.06, name


def test_outlines_are_distances_near_the_edge() -> None:
    side = (torch.arange(600) + 0.5) / 200 - 1.5
    y, x = torch.meshgrid(side, side, indexing="ij")
    for name, outline in OUTLINES.items():
        distance = outline(x, y)
        down, right = torch.gradient(distance, spacing=1 / 200)
        slope = torch.hypot(down, right)[distance.abs() < 0.05]
        assert float(slope.median()) == pytest.approx(1, abs=0.02), name


def test_both_colours_of_a_pattern_take_a_fair_share() -> None:
    side = torch.linspace(-0.75, 0.75, 200)
    y, x = torch.meshgrid(side, side, indexing="ij")
    phases = torch.linspace(0, 0.9, 10)[:, None, None]
    for name, pattern in PATTERNS.items():
        share = float((pattern(x, y, phases) > 0).double().mean())
        assert 0.3 < share < 0.7, name


def test_colour_statistics_are_equal_over_classes() -> None:
    split = shapes(Shapes(num_train=3000)).train
    assert split.labels is not None
    means = split.images.float().mean((2, 3))  # N×3
    spread = split.images.float().flatten(2).std(2)
    for values in (means, spread):
        standard_error = values.std(0) / 300**0.5
        for label in range(10):
            gap = (values[split.labels == label].mean(0) - values.mean(0)).abs()
            assert bool((gap < 4 * standard_error).all()), CLASSES[label]


def test_a_colour_histogram_is_near_chance() -> None:
    data = load(Shapes(num_train=1500, num_test=1000), root=Path())
    train, test = _histogram(data.train.images), _histogram(data.test.images)
    assert data.train.labels is not None and data.test.labels is not None
    nearest = (test @ train.T).topk(20).indices
    guess = data.train.labels[nearest].mode(1).values
    assert float((guess == data.test.labels).double().mean()) < 0.14


def test_pixels_alone_do_not_solve_it_and_tell_something() -> None:
    data = load(Shapes(num_train=1500, num_test=500), root=Path())
    train, test = (s.images.float().flatten(1) for s in (data.train, data.test))
    train, test = (torch.nn.functional.normalize(x - train.mean(0)) for x in (train, test))
    assert data.train.labels is not None and data.test.labels is not None
    guess = data.train.labels[(test @ train.T).topk(20).indices].mode(1).values
    assert 0.15 < float((guess == data.test.labels).double().mean()) < 0.6


@pytest.mark.parametrize("resolution", [8, 33, 96])
def test_any_resolution_shows_the_same_scene(resolution: int) -> None:
    spec = SMALL.but(resolution=resolution)
    split, reference = render(spec, torch.arange(20)), render(SMALL, torch.arange(20))
    assert split.images.shape == (20, 3, resolution, resolution)
    share, expected = (objects(s)[1].double().mean((1, 2)) for s in (split, reference))
    assert float((share - expected).abs().max()) < 0.1


def test_boxes_are_the_extent_of_the_masks() -> None:
    boxes, masks = objects(render(SMALL, torch.arange(50)))
    for box, mask in zip(boxes.tolist(), masks, strict=True):
        rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
        assert box == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


def test_an_object_that_no_pixel_shows_is_not_listed() -> None:
    split = render(SMALL.but(shift=3.0), torch.arange(50))
    assert split.instances is not None and split.labels is not None
    shown = split.instances.image
    assert 0 < len(shown) < 50
    assert torch.equal(split.instances.label, split.labels[shown])


def test_the_object_lies_before_the_background() -> None:
    split = render(SMALL.but(resolution=64), torch.arange(50))
    assert split.depth is not None
    assert float(split.depth.min()) > 0
    for depth, mask in zip(split.depth, objects(split)[1], strict=True):
        across = torch.diff(depth, dim=1)
        enters = mask[:, 1:] & ~mask[:, :-1]
        assert bool((across[enters] < -0.05).all())


def _histogram(images: Tensor) -> Tensor:
    """Joint histogram of 4 levels a channel, N×64, of length 1."""
    level = images.long() // 64
    bins = (level[:, 0] * 16 + level[:, 1] * 4 + level[:, 2]).flatten(1)
    counts = torch.zeros(len(images), 64).scatter_add_(1, bins, torch.ones(bins.shape))
    return torch.nn.functional.normalize(counts)
