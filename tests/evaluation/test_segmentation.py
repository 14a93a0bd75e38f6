"""The linear probe of a frozen map: what it can tell, what it leaves out, what it refuses."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from sslbench.data.split import Split
from sslbench.errors import UserError
from sslbench.evaluation import segmentation
from sslbench.evaluation.dense_maps import Pixels, corners, resized
from sslbench.evaluation.evaluate import evaluate
from sslbench.evaluation.linear import Standardization
from sslbench.evaluation.per_image import ClassPixels
from sslbench.evaluation.protocols import PROTOCOLS
from sslbench.recipes.specs import Scenes
from tests.evaluation.conftest import finished
from tests.evaluation.dense import Stages, blocks, dataset_of, grey, subject_of
from tests.evaluation.test_per_image import assert_kept

PROTOCOL = dataclasses.replace(
    PROTOCOLS["segmentation.linear.v1"], least_steps=150, epochs=1, batch_size=20, pixels=32,
    learning_rates=(0.1, 1.0, 10.0),
)  # fmt: skip
CLASSES = 3  # beside the background


@pytest.fixture(scope="module")
def maps():
    """Training and test maps of whole 4×4 cells, of 0 (none) to 3."""
    generator = torch.Generator().manual_seed(0)
    return blocks(generator, 60, CLASSES + 1), blocks(generator, 20, CLASSES + 1)


def split_of(values, semantic=None):
    return Split(grey(values * 60), semantic=values if semantic is None else semantic)


def told(images):
    """N×4×16×16: which of the four greys each pixel has."""
    return F.one_hot((images[:, 0] * 255 / 60).round().long(), 4).permute(0, 3, 1, 2).float()


def test_an_encoder_whose_map_is_the_truth_scores_100(maps, tmp_path):
    subject = subject_of(tmp_path, dataset_of(*map(split_of, maps), CLASSES), Stages(told))
    found = segmentation.run(PROTOCOL, subject)
    assert found.values["miou"] == found.values["accuracy"] == 100
    assert found.kept["semantic"].dtype == "uint8"
    assert torch.equal(torch.from_numpy(found.kept["semantic"]), maps[1])
    assert found.heldout == {"miou": 100}
    assert found.chosen["learning_rate"] in PROTOCOL.learning_rates


def test_a_shuffled_truth_is_near_the_majority_class(maps, tmp_path):
    generator = torch.Generator().manual_seed(1)
    rare = torch.where(torch.rand(maps[0].shape, generator=generator) < 0.8, 0, maps[0]).byte()
    train = split_of(maps[0], rare[torch.randperm(60, generator=generator)])
    test = split_of(maps[1], torch.zeros_like(maps[1]))
    found = segmentation.run(PROTOCOL, subject_of(tmp_path, dataset_of(train, test, CLASSES)))
    assert found.values["majority"] == 100  # which is the whole of the test maps
    assert found.values["miou"] == pytest.approx(100, abs=0.5)
    assert found.heldout["miou"] < 25


def test_it_is_the_same_every_time_and_reads_no_test_map_to_choose(maps, tmp_path):
    train, test = map(split_of, maps)
    wrong = split_of(maps[1], (maps[1] + 1) % 4)
    noisy = Stages(lambda x: told(x) + x[:, :1])
    first, again, poisoned = (
        segmentation.run(PROTOCOL, subject_of(tmp_path, dataset_of(train, half, CLASSES), noisy))
        for half in (test, test, wrong)
    )
    assert first.values == again.values
    assert (first.chosen, first.heldout) == (poisoned.chosen, poisoned.heldout)
    assert (first.kept["semantic"] == poisoned.kept["semantic"]).all()
    assert poisoned.values["accuracy"] == 0


def test_void_is_neither_learned_nor_counted(maps, tmp_path):
    train, test = (m.clone() for m in maps)
    generator = torch.Generator().manual_seed(2)
    for values in (train, test):
        values[torch.rand(values.shape, generator=generator) < 0.3] = 255
    train[5] = 255  # an image of which nothing is known
    # Where nothing is known, the image says another class: it must not be learned.
    splits = [split_of(m, v) for m, v in zip(maps, (train, test), strict=True)]
    splits[1].images[torch.from_numpy(test.numpy() == 255)[:, None].expand(-1, 3, -1, -1)] = 0
    subject = subject_of(tmp_path, dataset_of(*splits, CLASSES), Stages(told))
    found = segmentation.run(PROTOCOL, subject)
    assert found.values["miou"] == found.values["accuracy"] == 100
    assert 255 not in found.kept["semantic"]


def test_a_class_without_training_pixels_cannot_be_predicted(maps, tmp_path):
    train = split_of(maps[0], torch.where(maps[0] == 2, 1, maps[0]).byte())
    subject = subject_of(tmp_path, dataset_of(train, split_of(maps[1]), CLASSES), Stages(told))
    found = segmentation.run(PROTOCOL, subject)
    assert set(found.kept["semantic"].flatten().tolist()) == {0, 1, 3}
    share = [float((maps[1] == k).float().mean()) for k in range(4)]
    assert found.values["accuracy"] == pytest.approx(100 * (1 - share[2]))
    expected = (100 + 100 * share[1] / (share[1] + share[2]) + 0 + 100) / 4
    assert found.values["miou"] == pytest.approx(expected)


def test_without_background_there_is_no_such_class(maps, tmp_path):
    moved = [split_of(m, m.clamp(min=1)) for m in maps]
    subject = subject_of(tmp_path, dataset_of(*moved, CLASSES), Stages(told))
    found = segmentation.run(PROTOCOL, subject)
    assert set(found.kept["semantic"].flatten().tolist()) == {1, 2, 3}
    assert found.values["miou"] == 100


@pytest.mark.parametrize(("height", "width"), [(4, 4), (3, 5), (16, 16), (1, 2)])
def test_features_of_pixels_are_those_of_the_resized_map(height, width):
    generator = torch.Generator().manual_seed(3)
    cells = torch.randn(5, height, width, 6, generator=generator)
    targets = torch.arange(5 * 12 * 16).view(5, 12, 16)
    known = torch.rand(5, 12, 16, generator=generator) < 0.5
    same = Standardization(torch.zeros(6), torch.ones(6))
    x, chosen = Pixels(cells, targets, known).drawn(torch.tensor([4, 0, 2]), same, count=100, key=7)
    assert 100 < len(x) < 200 and known.flatten()[chosen].all()
    whole = resized(cells, (12, 16)).permute(0, 2, 3, 1).reshape(-1, 6)
    assert torch.allclose(x, whole[chosen], atol=1e-5)
    assert set((chosen // (12 * 16)).tolist()) == {0, 2, 4}
    cell, weight = corners(height, width, (12, 16), device=torch.device("cpu"))
    assert torch.allclose(weight.sum(1), torch.ones(12 * 16))
    assert int(cell.min()) >= 0 and int(cell.max()) < height * width


@pytest.mark.parametrize("recipe", ["untrained", "untrained-vit", "raw-pixels"])
def test_it_scores_a_run_on_scenes(recipe, tmp_path: Path):
    run = finished(recipe, tmp_path)
    data = Scenes(resolution=16, num_train=40, num_test=10)
    quick = dataclasses.replace(PROTOCOL, name="quick.v1", least_steps=10)
    (found,) = evaluate(run, [quick], data=data, root=tmp_path).values()
    assert set(found.values) == {"miou", "accuracy", "majority"}
    assert 0 < found.values["majority"] < 50 < found.values["accuracy"]
    assert_kept(run, found, quick, ClassPixels)


@pytest.mark.parametrize(
    ("train", "test", "sentence"),
    [
        (lambda m: m + 1, lambda m: m, "training maps hold the value 4, and 'maps' has 3 classes"),
        (lambda m: m, lambda m: m + 2, "the test maps hold the value 4"),
        (lambda m: m * 0 + 255, lambda m: m, "all pixels of the training maps are void"),
        (lambda m: m, lambda m: m * 0 + 255, "all pixels of the test maps are void"),
    ],
)
def test_maps_that_make_no_sense_are_refused(train, test, sentence, maps, tmp_path):
    halves = split_of(maps[0], train(maps[0])), split_of(maps[1], test(maps[1]))
    with pytest.raises(UserError, match=sentence):
        segmentation.check(PROTOCOL, subject_of(tmp_path, dataset_of(*halves, CLASSES)))


def test_a_held_out_part_of_which_nothing_is_known_is_refused(maps, tmp_path):
    values = maps[0].clone()
    values[::10] = 255
    halves = split_of(maps[0], values), split_of(maps[1])
    with pytest.raises(UserError, match=r"training \(held-out\) maps are void"):
        segmentation.check(PROTOCOL, subject_of(tmp_path, dataset_of(*halves, CLASSES)))


def test_test_images_that_were_all_trained_on_are_refused(maps, tmp_path):
    train = split_of(maps[0])
    dataset = dataset_of(train, train[torch.arange(20)], CLASSES)
    with pytest.raises(UserError, match="every test image is also a training image"):
        segmentation.check(PROTOCOL, subject_of(tmp_path, dataset))


def test_an_encoder_without_a_map_of_several_cells_is_refused(maps, tmp_path):
    dataset = dataset_of(*map(split_of, maps), CLASSES)
    pooled = Stages(lambda x: x.mean((2, 3), keepdim=True))
    with pytest.raises(UserError, match="single cell at 16 pixels"):
        segmentation.check(PROTOCOL, subject_of(tmp_path, dataset, pooled))
    with pytest.raises(UserError, match=r"segmentation.linear.v1 reads maps .* a histogram has"):
        evaluate(finished("color-histogram", tmp_path), [PROTOCOL], root=tmp_path)
    broken = Stages(lambda x: x / 0)
    with pytest.raises(UserError, match="maps that are not finite"):
        segmentation.run(PROTOCOL, subject_of(tmp_path, dataset, broken))


def test_maps_that_do_not_fit_into_memory_are_refused(maps, tmp_path, monkeypatch):
    subject = subject_of(tmp_path, dataset_of(*map(split_of, maps), CLASSES))
    monkeypatch.setattr("sslbench.memory.available_memory", lambda: 1000)
    with pytest.raises(UserError, match=r"Maps of 60 images of 16 pixels: about .* take a part"):
        segmentation.run(PROTOCOL, subject)
