from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sslbench.data import Dataset, load
from sslbench.data.photographs import decode
from sslbench.errors import UserError
from sslbench.recipes.specs import ImageSet

Write = Callable[..., Path]


def read(path: Path, name: str = "folder", resolution: int = 16) -> Dataset:
    return load(ImageSet(name=name, path=str(path), resolution=resolution), root=Path())


def test_classes_are_the_folders_in_sorted_order(folder: Write) -> None:
    data = read(folder(("dog", "cat", "eel"), num=2))
    assert data.classes == ("cat", "dog", "eel")
    assert data.train.labels is not None
    assert data.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.train.images.shape == (6, 3, 16, 16)


@pytest.mark.parametrize("part", ["val", "test"])
def test_the_test_half_is_val_or_test(folder: Write, part: str) -> None:
    assert len(read(folder(num=3, test=part)).test) == 6


def test_a_set_may_lie_one_folder_deeper(folder: Write) -> None:
    assert len(read(folder(num=2).parent).train) == 4


def test_hidden_and_other_files_are_no_images(folder: Write) -> None:
    path = folder(num=2)
    (path / "train" / "cat" / "notes.txt").write_text("hello")
    (path / "train" / "cat" / "._0.png").write_bytes(b"x")
    (path / "train" / ".git").mkdir()
    assert len(read(path).train) == 4


def test_without_labels_a_tenth_is_the_test_half(tmp_path: Path, save_png: Write) -> None:
    for i in range(20):
        save_png(tmp_path / "some" / f"{i:02}.png", colour=i)
    data = read(tmp_path, "flat")
    assert (len(data.train), len(data.test), len(data.heldout)) == (18, 2, 2)
    assert data.train.labels is None and data.classes == ()
    seen = torch.cat([data.train.images, data.test.images])[:, 0, 0, 0]
    assert sorted(seen.tolist()) == list(range(20))


def test_labels_asked_of_a_set_without_any(tmp_path: Path, save_png: Write) -> None:
    for i in range(4):
        save_png(tmp_path / f"{i}.png")
    with pytest.raises(UserError, match="'flat' has no labels"):
        read(tmp_path, "flat").require_labels()


def test_tiny_imagenet_reads_its_annotations(tmp_path: Path, save_png: Write) -> None:
    base = _tiny_imagenet(tmp_path, save_png)
    data = load(ImageSet(name="tiny-imagenet", resolution=16), root=tmp_path)
    assert data.classes == ("n01", "n02")
    assert data.train.labels is not None and data.train.labels.tolist() == [0, 0, 1, 1]
    assert data.test.labels is not None and data.test.labels.tolist() == [1, 0]
    assert data.test.images[:, 0, 0, 0].tolist() == [9, 8]
    (base / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn99\t0\n")
    with pytest.raises(UserError, match=r"the class 'n99', which wnids\.txt lacks"):
        load(ImageSet(name="tiny-imagenet", resolution=16), root=tmp_path)


def _tiny_imagenet(root: Path, save_png: Write) -> Path:
    base = root / "tiny-imagenet" / "tiny-imagenet-200"
    for name in ("n01", "n02"):
        for i in range(2):
            save_png(base / "train" / name / "images" / f"{name}_{i}.png")
    save_png(base / "val" / "images" / "val_0.png", colour=9)
    save_png(base / "val" / "images" / "val_1.png", colour=8)
    lines = "val_0.png\tn02\t0\t0\t9\t9\nval_1.png\tn01\t0\t0\t9\t9\n"
    (base / "val" / "val_annotations.txt").write_text(lines)
    (base / "wnids.txt").write_text("n02\nn01\n")
    return base


# --- decoding ---------------------------------------------------------------------------------


def test_the_shorter_side_is_resized_and_the_centre_kept(tmp_path: Path) -> None:
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 200
    Image.fromarray(wide).save(tmp_path / "a.png")
    out = decode([tmp_path / "a.png"], 10)
    assert out.shape == (1, 3, 10, 10)
    assert bool((out[..., 1:9] == 200).all())


def test_resizing_averages_instead_of_skipping(tmp_path: Path) -> None:
    checks = (np.indices((40, 40)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(checks).save(tmp_path / "a.png")
    assert bool((decode([tmp_path / "a.png"], 10).float() - 127.5).abs().max() < 10)


def test_grey_and_transparent_images_get_three_channels(tmp_path: Path) -> None:
    Image.new("L", (8, 8), 90).save(tmp_path / "grey.png")
    Image.new("RGBA", (8, 8), (1, 2, 3, 0)).save(tmp_path / "clear.png")
    Image.fromarray(np.full((8, 8), 25856, np.uint16)).save(tmp_path / "deep.png")
    out = decode([tmp_path / f"{name}.png" for name in ("grey", "clear", "deep")], 8)
    assert out[:, :, 0, 0].tolist() == [[90, 90, 90], [1, 2, 3], [101, 101, 101]]


def test_a_small_image_among_others_is_enlarged(tmp_path: Path, save_png: Write) -> None:
    sizes = [(4, 4), (16, 16), (16, 16)]
    files = [save_png(tmp_path / f"{i}.png", size=size) for i, size in enumerate(sizes)]
    assert decode(files, 16).shape == (3, 3, 16, 16)


# --- what is refused --------------------------------------------------------------------------


def test_mostly_small_images(folder: Write) -> None:
    with pytest.raises(UserError, match="20 of 20 images are smaller than 17 pixels"):
        read(folder(), resolution=17)


def test_a_broken_image_is_named(folder: Write) -> None:
    path = folder(num=3)
    broken = path / "train" / "dog" / "1.png"
    broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(UserError, match=r"dog/1\.png' is not a readable image"):
        read(path)


def test_a_broken_link_is_named(folder: Write) -> None:
    path = folder(num=3)
    (path / "train" / "dog" / "9.png").symlink_to(path / "nowhere.png")
    with pytest.raises(UserError, match=r"dog/9\.png' links to a file that is not there"):
        read(path)


def test_a_path_that_is_missing_or_a_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent' does not exist"):
        read(tmp_path / "absent")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file, not a folder"):
        read(tmp_path / "file")


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no train/"):
        read(tmp_path)
    with pytest.raises(UserError, match="holds no images"):
        read(tmp_path, "flat")


def test_no_test_half(folder: Write) -> None:
    path = folder(num=1)
    shutil.rmtree(path / "val")
    with pytest.raises(UserError, match="has no val/ or test/"):
        read(path)


def test_one_class(folder: Write) -> None:
    with pytest.raises(UserError, match="has one class, 'cat'"):
        read(folder(("cat",)))


def test_a_class_without_images(folder: Write) -> None:
    path = folder(num=1)
    (path / "val" / "dog" / "0.png").unlink()
    with pytest.raises(UserError, match="val/dog' holds no images"):
        read(path)


@pytest.mark.parametrize("part", ["train", "val"])
def test_classes_of_one_half_only(folder: Write, save_png: Write, part: str) -> None:
    path = folder(num=1)
    save_png(path / part / "eel" / "0.png")
    with pytest.raises(UserError, match=f"Class 'eel' is in '.*{part}' but not in"):
        read(path)


def test_folders_need_a_path_and_a_resolution(folder: Write) -> None:
    with pytest.raises(UserError, match=r"needs data\.path"):
        load(ImageSet(name="folder", resolution=16), root=Path())
    with pytest.raises(UserError, match=r"needs data\.resolution"):
        load(ImageSet(name="folder", path=str(folder(num=1))), root=Path())
