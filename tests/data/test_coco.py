from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from sslbench.data.registry import DATASETS
from sslbench.errors import UserError
from tests.data.annotated import noise, read, save

WIDTH, HEIGHT = 40, 20
Change = Callable[[dict[str, Any]], object]


def box(image: int, category: int, bbox: list[float], **more: object) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": bbox, "iscrowd": 0, **more}


def write(
    base: Path, annotations: list[dict[str, Any]], *, half: str = "train2017", images: int = 3,
    folder: str = "{half}", change: Change = lambda content: None,
) -> Path:  # fmt: skip
    """A half of images 10, 20, … of 40×20 pixels; categories 3 (cat) and 7 (dog)."""
    ids = [10 * (i + 1) for i in range(images)]
    for i in ids:
        seed = i + 1000 * len(half)
        save(base / folder.format(half=half) / f"{i:06}.png", noise(WIDTH, HEIGHT, seed=seed))
    content = {
        "images": [
            {"id": i, "file_name": f"{i:06}.png", "width": WIDTH, "height": HEIGHT}
            for i in reversed(ids)
        ],
        "annotations": [{"id": n, **a} for n, a in enumerate(annotations, 1)],
        "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
    }
    change(content)
    path = base / "annotations" / f"instances_{half}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def both(base: Path, annotations: list[dict[str, Any]], change: Change = lambda c: None) -> Path:
    """Both halves with the same annotations, the training half changed."""
    write(base, annotations, half="val2017")
    return write(base, annotations, change=change)


PLAIN = [box(20, 7, [10, 5, 10, 5]), box(10, 3, [0, 0, 40, 20])]


def test_boxes_come_by_image_and_ids_with_gaps_become_labels(tmp_path: Path) -> None:
    both(tmp_path, PLAIN)
    data, notes = read("coco", tmp_path)
    found = data.train.instances
    assert data.classes == ("cat", "dog") and data.annotations == {"boxes", "multilabels"}
    assert found is not None
    assert found.image.tolist() == [0, 1] and found.label.tolist() == [0, 1]
    assert found.box.tolist() == [[0, 0, 16, 16], [4, 4, 8, 8]]
    assert data.train.multilabels is not None
    assert data.train.multilabels.tolist() == [[True, False], [False, True], [False, False]]
    assert "training images without any object, which are kept: 1." in notes


@pytest.mark.parametrize("folder", ["{half}", "images/{half}"])
def test_the_test_half_is_test_or_else_val(tmp_path: Path, folder: str) -> None:
    base = tmp_path / "coco"
    for half, count in (("train", 3), ("val", 4), ("test", 5)):
        write(base, PLAIN, half=half, images=count, folder=folder)
    data, _ = read("coco", tmp_path)
    assert (len(data.train), len(data.test)) == (7, 5)
    write(base, [], half="test", images=5, folder=folder)
    assert [len(s) for s in (read("coco", tmp_path)[0].train, data.test)] == [3, 5]
    assert len(read("coco", tmp_path)[0].test) == 4


def runs(mask: np.ndarray, *, compressed: bool) -> dict[str, Any]:
    if compressed:
        found = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        return {"size": [HEIGHT, WIDTH], "counts": found["counts"].decode()}
    flat = mask.T.reshape(-1)
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *edges, flat.size]).tolist()
    return {"size": [HEIGHT, WIDTH], "counts": [0, *counts] if flat[0] else counts}


@pytest.fixture
def blob() -> np.ndarray:
    """A mask in no way symmetric."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return (columns > 4) & (columns < 21) & (rows > 3) & (rows < columns)


@pytest.mark.parametrize("compressed", [True, False])
def test_run_lengths_become_masks(tmp_path: Path, blob: np.ndarray, compressed: bool) -> None:
    shape = runs(blob, compressed=compressed)
    both(tmp_path, [box(10, 3, [5, 4, 16, 16], segmentation=shape),
                    box(20, 3, [5, 4, 16, 16], segmentation=shape, iscrowd=1)])  # fmt: skip
    data, _ = read("coco", tmp_path, 20)
    found = data.train.instances
    assert found is not None and found.mask is not None and found.crowd is not None
    expected = torch.from_numpy(blob[:, 1::2].copy())
    assert torch.equal(found.mask[0], expected) and found.crowd.tolist() == [False, True]
    maps = data.train.semantic_maps()
    assert maps is not None and set(maps[1].unique().tolist()) == {0, 255}
    assert {"masks", "semantic"} <= data.annotations
    assert data.train.multilabels is not None and data.train.multilabels[1, 0]


def test_the_parts_of_a_polygon_make_one_mask(tmp_path: Path) -> None:
    left, right = [0, 0, 8, 0, 8, 20, 0, 20], [32, 0, 40, 0, 40, 20, 32, 20]
    both(tmp_path, [box(10, 3, [0, 0, 40, 20], segmentation=[left, right])])
    found = read("coco", tmp_path, 10)[0].train.instances
    assert found is not None and found.mask is not None
    assert found.mask[0].all(0).tolist() == [True] * 2 + [False] * 6 + [True] * 2


def test_a_mask_that_no_pixel_meets_gets_its_middle_one(tmp_path: Path) -> None:
    small = [17, 9, 18, 9, 18, 10, 17, 10]
    both(tmp_path, [box(10, 3, [17, 9, 1, 1], segmentation=[small])])
    data, notes = read("coco", tmp_path, 4)
    found = data.train.instances
    assert found is not None and found.mask is not None
    assert found.mask[0].nonzero().tolist() == [[1, 1]]
    assert "which got their middle one: 2." in notes


def test_what_files_may_give_is_known_before_they_are_read() -> None:
    assert DATASETS["coco"].possible == {"boxes", "multilabels", "masks", "semantic"}
    assert "masks" not in DATASETS["coco"].annotations


def test_masks_only_where_every_annotation_has_one(tmp_path: Path) -> None:
    square = [0, 0, 8, 0, 8, 8]
    both(tmp_path, [box(10, 3, [0, 0, 8, 8], segmentation=[square]), box(20, 3, [0, 0, 8, 8])])
    assert read("coco", tmp_path)[0].annotations == {"boxes", "multilabels"}


def test_a_box_of_no_width_is_left_out_and_its_class_is_in_the_image(tmp_path: Path) -> None:
    both(tmp_path, [*PLAIN, box(30, 3, [10, 5, 0, 5])])
    data, notes = read("coco", tmp_path)
    assert data.train.instances is not None and len(data.train.instances) == 2
    assert data.train.multilabels is not None and data.train.multilabels[2].tolist() == [
        True,
        False,
    ]
    assert "no width or height in their image: 2." in notes


def test_images_of_two_years_are_not_mixed(tmp_path: Path) -> None:
    both(tmp_path, PLAIN)
    write(tmp_path, PLAIN, half="train2014", folder="elsewhere")
    assert len(read("coco", tmp_path)[0].train) == 3
    write(tmp_path, PLAIN, half="train2014")
    with pytest.raises(UserError, match=r"images of both train2014 and train2017; keep one"):
        read("coco", tmp_path)


def first(**more: object) -> Change:
    return lambda content: content["annotations"][0].update(more)


def added(key: str) -> Change:
    return lambda content: content[key].append(dict(content[key][0]))


def image(**more: object) -> Change:
    return lambda content: content["images"][0].update(more)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (added("images"), r"images\[3\]: id 30 stands twice; each needs its own"),
        (added("annotations"), r"annotations\[2\]: id 1 stands twice"),
        (added("categories"), "id 7 stands twice"),
        (first(image_id=99), "annotation 1 names image_id 99, which the file does not have"),
        (first(category_id=4), "annotation 1 names category_id 4"),
        (first(bbox=[1, 2, 3]), r"annotations\[0\].bbox: needs 4 values, got 3"),
        (first(bbox=[1, 2, 3, "4"]), r"bbox\[3\]: needs a finite number"),
        (first(bbox=[1, 2, 3, float("nan")]), r"bbox\[3\]: needs a finite number"),
        (first(iscrowd=2), "iscrowd: 2 is not one of 0, 1"),
        (first(iscrowd=1, segmentation=[[0, 0, 8, 0, 8, 8]]), "iscrowd is 1 and .* a polygon"),
        (first(segmentation=[[0, 0, 8, 0]]), "a polygon of segmentation needs three or more"),
        (first(segmentation=[[0, 0, 8, 0, 1e9, 8]]), "a polygon of .* lies far out of its image"),
        (first(segmentation="mask"), "segmentation needs polygons or run lengths"),
        (first(segmentation={"size": [40, 20], "counts": [800]}), r"is of size \[40, 20\]"),
        (first(segmentation={"size": [20, 40], "counts": [80]}), "counts for 80 pixels of 800"),
        (first(segmentation={"size": [20, 40], "counts": [-1]}), "needs counts, text or whole"),
        (image(file_name="none.png"), "none.png' is not there, which instances_train2017.json"),
        (image(file_name="../x.png"), "'../x.png' leads out of the folder of the images"),
        (image(width=20), "pixels, and its annotations are of an image of 20×20"),
        (lambda content: content.pop("images"), "has no list 'images', which COCO's"),
        (lambda content: content["categories"].pop(), "annotation 2 names category_id 3"),
        (lambda content: content["categories"][0].update(name="cat"), "two categories have one"),
        (lambda content: content["categories"].append({"id": 9, "name": "eel"}),
         "instances_train2017.json name different categories"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused(tmp_path: Path, change: Change, sentence: str) -> None:
    both(tmp_path, PLAIN, change)
    with pytest.raises(UserError, match=sentence):
        read("coco", tmp_path)


def test_damaged_run_lengths_are_refused(tmp_path: Path, blob: np.ndarray) -> None:
    shape = runs(blob, compressed=True)
    shape["counts"] = shape["counts"] * 3
    every = [box(10, 3, [5, 4, 16, 16], segmentation=shape)]
    both(tmp_path, every)
    with pytest.raises(UserError, match=r"of 000010.png, a segmentation has run lengths that are"):
        read("coco", tmp_path)


def test_a_half_that_is_missing_is_named(tmp_path: Path) -> None:
    path = both(tmp_path, PLAIN)
    path.write_text(path.read_text()[:-9])
    with pytest.raises(UserError, match=r"instances_train2017.json is damaged: no JSON at line 1"):
        read("coco", tmp_path)
    path.unlink()
    with pytest.raises(UserError, match="no annotated images of a train half"):
        read("coco", tmp_path)
    path.with_name("instances_val2017.json").unlink()
    with pytest.raises(UserError, match=r"a folder with annotations/instances_<half>.json"):
        read("coco", tmp_path)


def test_no_boxes_to_train_on(tmp_path: Path) -> None:
    both(tmp_path, [{**a, "iscrowd": 1} for a in PLAIN])
    with pytest.raises(UserError, match="None of the 3 training images has an object that is no"):
        read("coco", tmp_path)


def test_masks_that_memory_does_not_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    square = [[0, 0, 8, 0, 8, 8]]
    both(tmp_path, [box(10, 3, [0, 0, 8, 8], segmentation=square)] * 40)
    monkeypatch.setattr("sslbench.memory.available_memory", lambda: 20_000)
    with pytest.raises(UserError, match=r"80 masks of 16 pixels: about .* lower data.resolution"):
        read("coco", tmp_path)
