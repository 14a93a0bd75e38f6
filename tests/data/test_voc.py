from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sslbench.data.voc import CLASSES
from sslbench.errors import UserError
from tests.data.annotated import Voc, noise, read, save, voc_object, voc_xml

CAT, DOG, PERSON = (CLASSES.index(name) for name in ("cat", "dog", "person"))


@pytest.fixture
def voc(tmp_path: Path) -> Voc:
    """Two training images and a test image, all with a cat."""
    made = Voc(tmp_path / "VOCdevkit" / "VOC2007")
    for name in ("a", "b", "c"):
        made.add(name, voc_object("cat", (11, 6, 20, 10)))
    made.list("train", "a")
    made.list("val", "b")
    made.list("test", "c")
    return made


def test_boxes_count_from_1_and_include_their_last_pixel(voc: Voc, tmp_path: Path) -> None:
    """Columns 11..20 of 40 are 10 to 20 from 0; at 16 pixels a side 40 become 16, and 20."""
    voc.add("a", voc_object("cat", (11, 6, 20, 10)), voc_object("dog", (1, 1, 40, 20)))
    data, notes = read("voc", tmp_path)
    found = data.train.instances
    assert found is not None and notes == ""
    assert found.image.tolist() == [0, 0, 1] and found.label.tolist() == [CAT, DOG, CAT]
    assert found.box[0].tolist() == pytest.approx([4, 4, 8, 8])
    assert found.box[1].tolist() == [0, 0, 16, 16]
    assert data.annotations == {"boxes", "multilabels"} and data.classes == CLASSES


def test_train_and_val_train_where_test_is_annotated(voc: Voc, tmp_path: Path) -> None:
    voc.list("trainval", "a", "b")
    data, _ = read("voc", tmp_path)
    assert (len(data.train), len(data.test)) == (2, 1)


def test_val_is_tested_on_where_test_has_no_annotations(voc: Voc, tmp_path: Path) -> None:
    (voc.base / "Annotations" / "c.xml").unlink()
    voc.list("trainval", "a", "b")
    data, notes = read("voc", tmp_path)
    assert (len(data.train), len(data.test)) == (1, 1)
    assert "'val' is tested on: 1." in notes


def test_an_image_of_test_never_trains(voc: Voc, tmp_path: Path) -> None:
    voc.list("trainval", "a", "b", "c")
    assert len(read("voc", tmp_path)[0].train) == 2


def test_lists_of_one_class_have_a_flag_and_names_may_have_spaces(voc: Voc, tmp_path: Path) -> None:
    voc.add("my cat", voc_object("cat", (1, 1, 9, 9)))
    voc.list("train", "a  1", "my cat -1")
    assert len(read("voc", tmp_path)[0].train) == 3


def test_other_names_than_vocs_are_the_classes(voc: Voc, tmp_path: Path) -> None:
    voc.add("c", voc_object("cat", (1, 1, 9, 9)), voc_object("yak", (1, 1, 9, 9)))
    data, notes = read("voc", tmp_path)
    assert data.classes == ("cat", "yak")
    assert "test images show classes that no training image does (yak)" in notes


def test_difficult_objects_are_crowds_and_their_class_is_doubtful(voc: Voc, tmp_path: Path) -> None:
    voc.add("c", voc_object("cat", (1, 1, 9, 9), difficult=1), voc_object("dog", (1, 1, 9, 9)),
            voc_object("dog", (11, 1, 19, 9), difficult=1))  # fmt: skip
    test = read("voc", tmp_path)[0].test
    assert test.instances is not None and test.instances.crowd is not None
    assert test.instances.crowd.tolist() == [True, False, True]
    assert test.multilabels is not None and test.doubtful is not None
    assert test.multilabels[0].nonzero().flatten().tolist() == [DOG]
    assert test.doubtful[0].nonzero().flatten().tolist() == [CAT]


def test_boxes_without_width_are_left_out_and_counted(voc: Voc, tmp_path: Path) -> None:
    voc.add("a", voc_object("cat", (50, 1, 60, 9)), voc_object("cat", (1, 1, 2, 20)),
            voc_object("cat", (21, 1, 48, 20)))  # fmt: skip
    data, notes = read("voc", tmp_path)
    assert data.train.instances is not None and len(data.train.instances) == 3
    assert data.train.instances.box[1].tolist() == [8, 0, 16, 16]
    assert "no width or height in their image: 1." in notes
    assert "cut at its edge: 1." in notes and "1 of 4 boxes are narrower than a pixel" in notes


def test_an_image_without_objects_is_kept_and_said(voc: Voc, tmp_path: Path) -> None:
    voc.add("b")
    data, notes = read("voc", tmp_path)
    assert len(data.train) == 2 and "training images without any object" in notes


@pytest.mark.parametrize("size", [None, (0, 0)])
def test_a_size_that_is_not_stated_is_the_images(
    voc: Voc, tmp_path: Path, size: tuple[int, int] | None
) -> None:
    voc.add("a", voc_object("cat", (11, 6, 20, 10)), size=size)
    found = read("voc", tmp_path)[0].train.instances
    assert found is not None and found.box[0].tolist() == pytest.approx([4, 4, 8, 8])


def _classes_and_objects() -> tuple[np.ndarray, np.ndarray]:
    """20×40: a dog left and a cat right, each with a void border, numbered against the XML."""
    classes, objects = np.zeros((20, 40)), np.zeros((20, 40))
    for left, kind, number in ((2, DOG + 1, 1), (22, CAT + 1, 2)):
        classes[2:18, left : left + 16] = objects[2:18, left : left + 16] = 255
        classes[3:17, left + 1 : left + 15] = kind
        objects[3:17, left + 1 : left + 15] = number
    return classes, objects


def test_masks_are_brought_together_with_the_objects_they_show(voc: Voc, tmp_path: Path) -> None:
    """The cat stands first in the XML and has number 2; a person has no mask, and is a crowd."""
    for name in "abc":
        voc.add(name, voc_object("cat", (23, 3, 38, 18)), voc_object("dog", (3, 3, 18, 18)),
                voc_object("person", (1, 1, 5, 5)))  # fmt: skip
        voc.maps(name, *_classes_and_objects())
    data, notes = read("voc", tmp_path, 20)
    found, semantic = data.train.instances, data.train.semantic
    assert found is not None and found.mask is not None and semantic is not None
    assert found.label[:3].tolist() == [CAT, DOG, PERSON]
    classes, objects = (torch.from_numpy(x[:, 1::2]) for x in _classes_and_objects())
    assert torch.equal(semantic[0], classes.to(torch.uint8))
    assert torch.equal(found.mask[0], objects == 2) and torch.equal(found.mask[1], objects == 1)
    assert found.crowd is not None and found.crowd[:3].tolist() == [False, False, True]
    assert data.train.multilabels is not None and data.train.multilabels[0, PERSON]
    assert data.train.doubtful is not None and not data.train.doubtful.any()
    assert "objects without a mask of their own, which count as crowds: 3." in notes
    assert data.annotations == {"boxes", "multilabels", "masks", "semantic"}


def test_a_mask_without_an_object_becomes_one(voc: Voc, tmp_path: Path) -> None:
    for name in "abc":
        voc.add(name, voc_object("cat", (23, 3, 38, 18)))
        voc.maps(name, *_classes_and_objects())
    data, notes = read("voc", tmp_path, 20)
    found = data.test.instances
    assert found is not None and found.label.tolist() == [CAT, DOG]
    assert found.box[1].tolist() == pytest.approx([1.5, 3, 8.5, 17])
    assert "masks without an object in the XML, whose box is the mask's: 3." in notes


def test_masks_of_a_part_are_left_out_and_have_a_set_of_their_own(voc: Voc, tmp_path: Path) -> None:
    for name in "ac":
        voc.maps(name, *_classes_and_objects())
    data, notes = read("voc", tmp_path)
    assert "masks" not in data.annotations and "2 of 3 images have masks" in notes
    voc.list("train", "a", kind="Segmentation")
    voc.list("val", "c", kind="Segmentation")
    some, _ = read("voc-segmentation", tmp_path)
    assert (len(some.train), len(some.test)) == (1, 1) and "masks" in some.annotations
    voc.list("train", "a", "b", kind="Segmentation")
    with pytest.raises(UserError, match=r"lacks SegmentationClass/b.png .* or read it as voc\."):
        read("voc-segmentation", tmp_path)


def test_numbers_of_other_classes_need_their_names(voc: Voc, tmp_path: Path) -> None:
    for name in "abc":
        voc.add(name, voc_object("yak", (23, 3, 38, 18)))
        classes, objects = _classes_and_objects()
        voc.maps(name, np.where((classes > 0) & (classes < 255), 2, classes), objects)
    with pytest.raises(
        UserError, match=r"numbers classes that are not VOC's twenty; add .*classes"
    ):
        read("voc", tmp_path)
    (voc.base / "classes.txt").write_text("gnu\nyak\n")
    data, _ = read("voc", tmp_path)
    assert data.classes == ("gnu", "yak") and data.train.instances is not None
    assert set(data.train.instances.label.tolist()) == {1}


def test_a_changed_annotation_is_read_again(voc: Voc, tmp_path: Path) -> None:
    before, _ = read("voc", tmp_path)
    voc.add("a", voc_object("dog", (11, 6, 20, 10)))
    after, _ = read("voc", tmp_path)
    assert torch.equal(before.train.images, after.train.images)
    assert before.fingerprint != after.fingerprint


BOMB = '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;">]><annotation>&y;</annotation>'
OUTSIDE = '<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (BOMB, r"a.xml' declares a document type, which no annotation needs; remove"),
        (BOMB.encode("utf-16"), "declares a document type"),
        (OUTSIDE, "declares a document type"),
        ("<annotation><object>", r"a.xml' is no XML \(no element found"),
        ("", "is no XML"),
        (b"\xff\xfe\x00", "is no XML"),
        ('<?xml version="1.0" encoding="klingon"?><annotation/>', "is no XML"),
        (voc_xml((40, 20), voc_object("", (1, 1, 2, 2))), "has an object without a name"),
        (voc_xml((40, 20), voc_object("cat", (9, 1, 2, 2))), r"xmax or ymax is less than its xmin"),
        (voc_xml((40, 20), "<object><name>cat</name></object>"), "has 'None' for bndbox/xmin"),
        (voc_xml((40, 20), voc_object("cat", (float("nan"), 1, 2, 2))), "'nan' for bndbox/xmin"),
        (voc_xml((20, 40)), r"a.png' has 40×20 pixels, and its annotations are of .* 20×40"),
    ],
)
def test_a_broken_annotation_is_named(
    voc: Voc, tmp_path: Path, text: str | bytes, sentence: str
) -> None:
    data = text if isinstance(text, bytes) else text.encode()
    (voc.base / "Annotations" / "a.xml").write_bytes(data)
    with pytest.raises(UserError, match=sentence):
        read("voc", tmp_path)


def test_a_set_that_is_not_whole_is_refused(voc: Voc, tmp_path: Path) -> None:
    (voc.base / "Annotations" / "a.xml").unlink()
    with pytest.raises(UserError, match=r"a.xml cannot be read: no such file"):
        read("voc", tmp_path)
    voc.add("a", voc_object("cat", (1, 1, 9, 9))).unlink()
    with pytest.raises(UserError, match="has no image 'a', which is listed"):
        read("voc", tmp_path)
    voc.list("train", "")
    voc.list("val", "")
    with pytest.raises(UserError, match="Main' names no images to train on"):
        read("voc", tmp_path)


def test_nothing_to_learn_is_refused(voc: Voc, tmp_path: Path) -> None:
    voc.add("a", voc_object("cat", (1, 1, 9, 9), difficult=1))
    voc.add("b")
    with pytest.raises(UserError, match=r"None of the 2 training images has an object"):
        read("voc", tmp_path)


def test_two_sets_in_a_folder_are_not_mixed(voc: Voc, tmp_path: Path) -> None:
    Voc(voc.base.with_name("VOC2012"))
    with pytest.raises(UserError, match=r"holds several sets .*name one of them"):
        read("voc", tmp_path)
    with pytest.raises(UserError, match=r"a folder with JPEGImages/ and Annotations/; check"):
        read("voc", voc.base / "JPEGImages")


@pytest.mark.parametrize(("stated", "turned"), [((40, 20), False), ((20, 40), True)])
def test_an_orientation_is_taken_as_the_stated_size_has_it(
    voc: Voc, tmp_path: Path, stated: tuple[int, int], turned: bool
) -> None:
    """Orientation 6: the first row is the right side, so upright is a quarter turn clockwise."""
    pixels = noise(40, 20, seed=1)
    voc.add("a", voc_object("cat", (1, 1, 20, 20)), size=stated)
    save(voc.base / "JPEGImages" / "a.png", pixels, orientation=6)
    data, _ = read("voc", tmp_path, 10)
    plain = np.rot90(pixels, -1) if turned else pixels
    voc.add("a", voc_object("cat", (1, 1, 20, 20)), size=stated)
    save(voc.base / "JPEGImages" / "a.png", np.ascontiguousarray(plain))
    assert torch.equal(data.train.images, read("voc", tmp_path, 10)[0].train.images)
    assert data.train.instances is not None
    assert data.train.instances.box[0].tolist() == ([0, 0, 10, 5] if turned else [0, 0, 5, 10])


@pytest.mark.parametrize(("orientation", "stated"), [(6, None), (3, (40, 20)), (2, None)])
def test_an_orientation_that_may_mean_two_things_is_refused(
    voc: Voc, tmp_path: Path, orientation: int, stated: tuple[int, int] | None
) -> None:
    voc.add("a", voc_object("cat", (1, 1, 20, 20)), size=stated)
    save(voc.base / "JPEGImages" / "a.png", noise(40, 20, seed=1), orientation=orientation)
    with pytest.raises(UserError, match=r"EXIF orientation, and its annotations do not tell"):
        read("voc", tmp_path, 10)
