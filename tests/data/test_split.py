"""Splits: what belongs to an image stays with it, and what fits no image is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sslbench.data import Instances, Split
from sslbench.data.split import joined, split_of
from sslbench.errors import UserError


def whole() -> Split:
    """Five images of 4×6 pixels, of one clip: objects 0, 1 and 2 in the second, third and fourth
    image, where 2 and 3 share the fourth."""
    masks = torch.zeros(4, 4, 6, dtype=torch.bool)
    for i in range(4):
        masks[i, i, i : i + 2] = True
    return Split(
        torch.arange(5, dtype=torch.uint8)[:, None, None, None].expand(5, 3, 4, 6),
        labels=torch.arange(5),
        multilabels=torch.eye(5, dtype=torch.bool),
        instances=Instances(
            image=torch.tensor([1, 2, 3, 3]),
            box=torch.tensor([[i, i, i + 2, i + 1] for i in range(4)], dtype=torch.float32),
            label=torch.tensor([10, 11, 12, 13]),
            mask=masks,
            track=torch.tensor([0, 1, 2, 3]),
        ),
        depth=torch.arange(5.0)[:, None, None].expand(5, 4, 6),
        clip=torch.zeros(5, dtype=torch.int64),
        frame=torch.arange(5),
        hashes=torch.arange(5),
    )


def named(split: Split) -> list[tuple[int, int]]:
    """(image, label) of every object."""
    assert split.instances is not None
    found = split.instances
    return [*zip(found.image.tolist(), found.label.tolist(), strict=True)]


# --- what belongs to an image stays with it -----------------------------------------------------


def test_every_field_follows_its_image() -> None:
    part = whole()[torch.tensor([3, 0, 1])]
    fields = part.tensors()
    for name in ("labels", "frame", "hashes"):
        assert fields[name].tolist() == [3, 0, 1], name
    assert fields["images"][:, 0, 0, 0].tolist() == [3, 0, 1]
    assert fields["depth"][:, 0, 0].tolist() == [3, 0, 1]
    assert fields["multilabels"].to(torch.uint8).argmax(1).tolist() == [3, 0, 1]


def test_objects_are_renumbered_to_the_images_that_stay() -> None:
    part = whole()[torch.tensor([3, 0, 1])]
    assert named(part) == [(0, 12), (0, 13), (2, 10)]
    fields = part.tensors()
    assert fields["instances.track"].tolist() == [2, 3, 0]
    assert fields["instances.box"][:, 0].tolist() == [2, 3, 0]
    assert fields["instances.mask"].flatten(1).to(torch.uint8).argmax(1).tolist() == [14, 21, 0]


@pytest.mark.parametrize(
    ("indices", "expected"),
    [
        (slice(2, 4), [(0, 11), (1, 12), (1, 13)]),
        (torch.tensor([False, True, False, True, False]), [(0, 10), (1, 12), (1, 13)]),
        (torch.tensor([3, 3]), [(0, 12), (0, 13), (1, 12), (1, 13)]),
        (torch.tensor([-2]), [(0, 12), (0, 13)]),
        (slice(0, 1), []),
        (torch.zeros(0, dtype=torch.int64), []),
    ],
)
def test_any_index_that_a_tensor_takes(indices: Any, expected: list[tuple[int, int]]) -> None:
    part = whole()[indices]
    assert len(part) == len(part.images) and named(part) == expected


def test_fields_that_are_absent_stay_absent() -> None:
    bare = Split(whole().images)
    assert bare[1:].tensors().keys() == bare.to("cpu").tensors().keys() == {"images"}
    assert bare.annotations == frozenset() and bare.foreground() is None


def test_the_foreground_is_every_object_of_an_image() -> None:
    found = whole().foreground()
    assert found is not None
    assert found.sum((1, 2)).tolist() == [0, 2, 2, 4, 0]
    assert found[3, 2, 2:4].all() and found[3, 3, 3:5].all()


def test_annotations_are_named_by_what_is_there() -> None:
    split = whole()
    words = {"labels", "multilabels", "boxes", "masks", "semantic", "depth", "clips"}
    assert split.annotations == words
    assert split.instances is not None
    bare = Instances(
        image=split.instances.image, box=split.instances.box, label=split.instances.label
    )
    assert Split(split.images, instances=bare).annotations == {"boxes"}


def test_taken_apart_and_put_together_it_is_the_same() -> None:
    before, after = whole().tensors(), split_of(whole().tensors()).tensors()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_joined_parts_are_the_whole() -> None:
    split = whole()
    before, after = split.tensors(), joined([split[:2], split[2:3], split[3:]]).tensors()
    assert all(torch.equal(before[name], after[name]) for name in before)


# --- what is refused ----------------------------------------------------------------------------


def changed(name: str, value: Any) -> Split:
    return split_of(whole().tensors() | {name: value})


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("images", torch.zeros(5, 4, 6, 3), r"images needs uint8 of shape N×3×H×W; it got float32"),
        ("labels", torch.zeros(4, dtype=torch.int64),
         r"labels needs int64 of shape N, where N = 5; it got int64 of 4\."),
        ("labels", torch.zeros(5), "labels needs int64 .* got float32 of 5"),
        ("labels", [0, 1, 2, 3, 4], "labels needs int64 .* got a list"),
        ("multilabels", torch.zeros(5, dtype=torch.bool), "multilabels needs bool of shape N×C"),
        ("depth", torch.zeros(5, 6, 4), "N = 5 and H = 4 and W = 6; it got float32 of 5×6×4"),
        ("instances.box", torch.zeros(4, 5), "instances.box needs float32 of shape M×4"),
        ("instances.label", torch.zeros(3, dtype=torch.int64), "M = 4; it got int64 of 3"),
        ("instances.mask", torch.zeros(4, 6, 4, dtype=torch.bool), "instances.mask .* 4×6×4"),
        ("instances.image", torch.tensor([1, 3, 2, 3]), "instances.image must not descend"),
        ("instances.image", torch.tensor([1, 2, 3, 5]), "names image 5 of 5; count from 0"),
        ("instances.image", torch.tensor([-1, 2, 3, 3]), "names image -1 of 5; count from 0"),
        ("instances.box", torch.tensor([[1.0, 1, 1, 2]] * 4), "0 <= left < right"),
        ("instances.box", torch.tensor([[0.0, 0, 6, 5]] * 4), "out of the images, 6×4 pixels"),
        ("instances.box", torch.full((4, 4), torch.nan), "0 <= left < right"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(name: str, value: Any, sentence: str) -> None:
    with pytest.raises(UserError, match=f"A split's .*{sentence}"):
        changed(name, value)


def test_a_clip_needs_frames() -> None:
    with pytest.raises(UserError, match="clip and frame belong together"):
        Split(whole().images, clip=torch.zeros(5, dtype=torch.int64))


def test_the_semantic_map_is_that_of_the_masks_with_crowds_void() -> None:
    split = whole()
    assert split.instances is not None
    crowd = torch.tensor([False, False, False, True])
    objects = Instances(
        image=split.instances.image, box=split.instances.box, label=split.instances.label,
        mask=split.instances.mask, crowd=crowd,
    )  # fmt: skip
    maps = Split(split.images, instances=objects).semantic_maps()
    assert maps is not None
    assert maps[0].unique().tolist() == [0] and maps[1, 0].tolist() == [11, 11, 0, 0, 0, 0]
    assert maps[3, 2].tolist() == [0, 0, 13, 13, 0, 0]
    assert maps[3, 3].tolist() == [0, 0, 0, 255, 255, 0]
    given = torch.full((5, 4, 6), 7, dtype=torch.uint8)
    assert Split(split.images, instances=objects, semantic=given).semantic_maps() is given
    assert Split(split.images).semantic_maps() is None
