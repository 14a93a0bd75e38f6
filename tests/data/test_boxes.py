"""Boxes of a set's objects, image by image."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from sslbench.data import load
from sslbench.data.boxes import padded_boxes, pretraining_boxes
from sslbench.data.split import Instances, Split
from sslbench.errors import UserError
from sslbench.recipes.specs import Scenes

IMAGES = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
BOXES = torch.tensor([[0.0, 0, 2, 2], [1, 1, 3, 3], [4, 4, 8, 8], [0, 2, 4, 6]])


def split(**changes) -> Split:
    found = Instances(
        image=torch.tensor([0, 0, 2, 2]), box=BOXES, label=torch.zeros(4, dtype=torch.int64),
        **changes,
    )  # fmt: skip
    return Split(IMAGES, instances=found)


def test_each_image_has_its_own_boxes_and_then_nan():
    boxes = padded_boxes(split())
    assert boxes.shape == (4, 2, 4)
    assert torch.equal(boxes[0], BOXES[:2]) and torch.equal(boxes[2], BOXES[2:])
    assert boxes[[1, 3]].isnan().all()


def test_a_crowd_is_no_object():
    crowd = torch.tensor([True, False, True, True])
    boxes = padded_boxes(split(crowd=crowd))
    assert torch.equal(boxes[0], BOXES[1:2]) and boxes[1:].isnan().all()


def test_without_any_object_there_is_a_place_for_none():
    assert padded_boxes(Split(IMAGES)).isnan().all()
    none = split(crowd=torch.ones(4, dtype=torch.bool))
    assert padded_boxes(none).shape == (4, 1, 4)


def test_a_set_without_boxes_or_with_further_images_is_refused():
    dataset = load(Scenes(resolution=32, num_train=20, num_test=8), root=Path("unused"))
    boxes = pretraining_boxes(dataset)
    assert len(boxes) == len(dataset.pretraining)
    assert boxes[~boxes.isnan()].numel() == dataset.train.instances.box.numel()
    bare = dataclasses.replace(dataset, train=Split(dataset.train.images))
    with pytest.raises(UserError, match=r"has no boxes of objects.*--dataset scenes"):
        pretraining_boxes(bare)
    more = dataclasses.replace(dataset, unlabelled=Split(dataset.test.images))
    with pytest.raises(UserError, match=r"unlabelled images .* have no boxes"):
        pretraining_boxes(more)
