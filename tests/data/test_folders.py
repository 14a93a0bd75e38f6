from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from sslbench.data import Dataset, load
from sslbench.data.registry import DATASETS
from sslbench.errors import DataWarning, UserError
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


def test_what_pillow_opens_is_an_image_whatever_its_suffix(folder: Write) -> None:
    path = folder(num=2)
    for i, suffix in enumerate((".jfif", ".jpe", ".JPG", ".Avif", ".jp2", ".MPO")):
        kind = {".Avif": "AVIF", ".jp2": "JPEG2000"}.get(suffix, "JPEG")
        Image.new("RGB", (20, 20), (i, 0, 0)).save(path / "train" / "cat" / f"x{suffix}", kind)
    assert len(read(path).train) == 10


def test_hidden_files_and_clutter_are_passed_over_quietly(folder: Write) -> None:
    path = folder(num=2)
    for name in ("._0.png", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (path / "train" / "cat" / name).write_bytes(b"x")
    (path / "train" / ".git").mkdir()
    assert len(read(path).train) == 4


def test_what_is_left_out_is_counted_and_named_at_every_load(folder: Write) -> None:
    path = folder(num=2)
    for name in ("cat/a.heic", "cat/b.heic", "dog/readme", "dog/notes.txt", "labels.csv"):
        (path / "train" / name).write_text("hello")
    (path / "val" / "0.png").write_bytes((path / "val" / "cat" / "0.png").read_bytes())
    expected = (
        r"left out, .*: 2 '\.heic', 1 '\.txt', 1 without a suffix, 1 '\.csv', 1 beside the class "
        r"folders \(the first is 'train/cat/a\.heic'\)"
    )
    for _ in range(2):  # decoded, then packed
        with pytest.warns(DataWarning, match=expected):
            assert len(read(path).train) == 4


def test_a_link_of_val_to_train_is_said_with_the_count(folder: Write) -> None:
    path = folder(num=3)
    shutil.rmtree(path / "val")
    (path / "val").symlink_to(path / "train")
    for _ in range(2):
        with pytest.warns(DataWarning, match="6 of 6 test images are also training images"):
            assert read(path).shared == 6


def test_a_copied_image_under_another_name_is_counted_too(folder: Write) -> None:
    path = folder(num=3)
    Image.open(path / "train" / "cat" / "0.png").save(path / "val" / "dog" / "new.bmp")
    with pytest.warns(DataWarning, match="1 of 7 test images"):
        data = read(path)
    assert data.shared == 1
    with pytest.warns(DataWarning):  # of the whole set; this part of it has none
        part = load(
            ImageSet(name="folder", path=str(path), resolution=16, num_test=1, num_train=2),
            root=path,
        )
    assert part.shared == 0


def test_accents_may_be_encoded_differently_in_the_halves(folder: Write) -> None:
    path = folder(("K\u00e4se", "Brot"), num=1)
    (path / "val" / "K\u00e4se").rename(path / "val" / "Ka\u0308se")
    data = read(path)
    assert data.classes == ("Brot", "K\u00e4se")
    assert data.test.labels is not None and data.test.labels.tolist() == [0, 1]
    assert data.test.images[1, 0, 0, 0] == 0  # that of the first class that was written


def test_one_name_in_two_encodings_in_one_half(folder: Write) -> None:
    path = folder(("K\u00e4se", "Ka\u0308se"), num=1)
    with pytest.raises(UserError, match="two folders named 'K\u00e4se'"):
        read(path)


def test_without_labels_a_tenth_is_the_test_half(tmp_path: Path, save_png: Write) -> None:
    for i in range(20):
        save_png(tmp_path / "some" / f"{i:02}.png", colour=i)
    data = read(tmp_path, "flat")
    assert (len(data.train), len(data.test), len(data.heldout)) == (18, 2, 2)
    assert data.train.labels is None and data.classes == ()
    assert data.annotations == DATASETS["flat"].annotations == frozenset()
    seen = torch.cat([data.train.images, data.test.images])[:, 0, 0, 0]
    assert sorted(seen.tolist()) == list(range(20))


def test_labels_asked_of_a_set_without_any(tmp_path: Path, save_png: Write) -> None:
    for i in range(4):
        save_png(tmp_path / f"{i}.png", colour=i)
    with pytest.raises(UserError, match=r"'flat' has no labels.* --dataset cifar10"):
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


def test_tiny_imagenets_lists_may_have_a_byte_order_mark(tmp_path: Path, save_png: Write) -> None:
    base = _tiny_imagenet(tmp_path, save_png)
    (base / "wnids.txt").write_text("n02\r\nn01\r\n", encoding="utf-8-sig")
    data = load(ImageSet(name="tiny-imagenet", resolution=16), root=tmp_path)
    assert data.classes == ("n01", "n02")


@pytest.mark.parametrize("name", ["wnids.txt", "val/val_annotations.txt"])
def test_tiny_imagenets_lists_in_another_encoding(
    tmp_path: Path, save_png: Write, name: str
) -> None:
    path = _tiny_imagenet(tmp_path, save_png) / name
    path.write_bytes("n01 n02".encode("utf-16"))
    with pytest.raises(UserError, match=f"{path.name} is not text in UTF-8"):
        load(ImageSet(name="tiny-imagenet", resolution=16), root=tmp_path)


def test_tiny_imagenet_without_annotations(tmp_path: Path, save_png: Write) -> None:
    base = _tiny_imagenet(tmp_path, save_png)
    (base / "val" / "val_annotations.txt").write_text("")
    with pytest.raises(UserError, match=r"test half of 'tiny-imagenet' in .* has no images"):
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


# --- what is refused --------------------------------------------------------------------------


def test_mostly_small_images(folder: Write) -> None:
    with pytest.raises(UserError, match="40 of 40 images are smaller than 17 pixels"):
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


def test_sentences_name_the_option_that_there_is(folder: Write) -> None:
    path = folder(("cat",))
    with pytest.raises(UserError, match="use --dataset flat:PATH"):
        read(path)
    shutil.rmtree(path / "val")
    with pytest.raises(UserError, match="use --dataset flat:PATH"):
        read(path)
