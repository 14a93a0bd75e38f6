"""`segmentation`, `depth` and `penn-fudan`: an image file beside a file of numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sslbench.errors import UserError
from tests.data.annotated import noise, read, save

WIDTH, HEIGHT = 40, 20
NAMES = ("road", "sky", "void")


def labels(*, values: tuple[int, ...] = (0, 1, 2, 255)) -> np.ndarray:
    """20×40: a quarter of each value, in bands from left to right."""
    return np.repeat(np.array(values, np.uint8), WIDTH // len(values))[None].repeat(HEIGHT, 0)


def pair(image: Path, other: Path, values: np.ndarray, *, seed: int) -> None:
    save(image, noise(WIDTH, HEIGHT, seed=seed))
    save(other, values)


def camvid(base: Path, *, halves: tuple[str, ...] = ("train", "val", "test")) -> Path:
    for k, half in enumerate(halves):
        for i in range(2):
            name = f"{i}.png"
            pair(base / half / name, base / f"{half}annot" / name, labels(), seed=10 * k + i)
    (base / "classes.json").write_text(json.dumps(NAMES))
    return base


def test_numbers_become_classes_void_and_background(tmp_path: Path) -> None:
    """255 is void, and so is the class of that name; numbers are one more than labels."""
    data, notes = read("segmentation", camvid(tmp_path), 8)
    assert data.classes == ("road", "sky") and data.annotations == {"semantic"} and notes == ""
    assert data.test.semantic is not None
    assert data.test.semantic[0, 0].tolist() == [1, 1, 2, 2, 255, 255, 255, 255]
    assert (len(data.train), len(data.test)) == (4, 2)  # val trains, as test is there
    (tmp_path / "classes.json").unlink()
    (tmp_path / "classes.txt").write_text("Background\nsky\n_unlabelled_\n\n")
    data, _ = read("segmentation", tmp_path, 4)
    assert data.classes == ("sky",)
    assert data.test.semantic is not None and data.test.semantic[0, 0].tolist() == [0, 1, 255, 255]


def test_maps_are_resized_without_new_values(tmp_path: Path) -> None:
    camvid(tmp_path)
    pattern = np.random.default_rng(0).choice(np.array([0, 1, 255], np.uint8), (HEIGHT, WIDTH))
    save(tmp_path / "testannot" / "0.png", pattern)
    found = read("segmentation", tmp_path, 10)[0].test.semantic
    table = torch.zeros(256, dtype=torch.uint8)
    table[[0, 1, 255]] = torch.tensor([1, 2, 255], dtype=torch.uint8)
    expected = table[torch.from_numpy(pattern[1::2, 2::4].copy()).long()]
    assert found is not None and torch.equal(found[0], expected)


def ade20k(base: Path) -> None:
    for k, half in enumerate(("training", "validation")):
        for i in range(2):
            pair(base / "images" / half / f"{i}.jpg", base / "annotations" / half / f"{i}.png",
                 labels(values=(0, 1, 2, 1)), seed=10 * k + i)  # fmt: skip
    rows = [
        "Idx\tRatio\tTrain\tVal\tStuff\tName",
        "1\t0.1\t9\t9\t1\twall",
        "2\t0\t9\t9\t0\tbed, cot",
    ]
    (base / "objectInfo150.txt").write_text("\n".join(rows) + "\n")


def test_ade20k_names_its_numbers_itself_and_0_is_void(tmp_path: Path) -> None:
    ade20k(tmp_path / "ADEChallengeData2016")
    data, _ = read("segmentation", tmp_path, 4)
    assert data.classes == ("wall", "bed, cot")
    assert data.test.semantic is not None and data.test.semantic[0, 0].tolist() == [255, 1, 2, 1]
    (tmp_path / "ADEChallengeData2016" / "objectInfo150.txt").write_text("Idx\tName\n2\twall\n")
    with pytest.raises(UserError, match="is not ADE20K's table of classes"):
        read("segmentation", tmp_path, 4)


@pytest.mark.parametrize(
    ("images", "others"),
    [
        ("images/{}", "labels/{}"),
        ("rgb/{}", "masks/{}"),
        ("{}/images", "{}/masks"),
        ("{}", "{}_labels"),
        ("Images/{}", "Annotations/{}"),
    ],
)
def test_folders_of_many_names(tmp_path: Path, images: str, others: str) -> None:
    for k, half in enumerate(("train", "val")):
        for i, name in enumerate(("x/0.png", "y/0.png")):  # towns, say
            pair(tmp_path / images.format(half) / name, tmp_path / others.format(half) / name,
                 labels(), seed=10 * k + i)  # fmt: skip
    (tmp_path / "classes.txt").write_text("\n".join(NAMES))
    data, _ = read("segmentation", tmp_path, 8)
    assert (len(data.train), len(data.test)) == (2, 2)


def test_what_comes_undivided_gives_a_quarter_to_test(tmp_path: Path) -> None:
    for i in range(8):
        pair(
            tmp_path / "images" / f"{i}.png", tmp_path / "masks" / f"{i}_mask.png", labels(), seed=i
        )
    (tmp_path / "classes.txt").write_text("\n".join(NAMES))
    save(tmp_path / "images" / "lonely.png", noise(WIDTH, HEIGHT, seed=99))
    data, notes = read("segmentation", tmp_path, 8)
    assert (len(data.train), len(data.test)) == (6, 2)
    assert "comes undivided" in notes
    assert "images without one of the label maps, which were left out: 1." in notes
    again, _ = read("segmentation", tmp_path, 8)
    assert torch.equal(data.test.images, again.test.images)


def test_classes_of_the_test_half_alone_are_said(tmp_path: Path) -> None:
    camvid(tmp_path)
    for half in ("train", "val"):
        for i in range(2):
            save(tmp_path / f"{half}annot" / f"{i}.png", labels(values=(0, 2)))
    assert "no training image does (sky)" in read("segmentation", tmp_path, 8)[1]


Break = Callable[[Path], object]


def _garbage(base: Path) -> None:
    (base / "testannot" / "0.png").write_bytes(b"PNG")


def _jpeg(path: Path) -> None:
    (path / "testannot" / "0.png").unlink()
    save(path / "testannot" / "0.jpg", labels())


def _annotation(values: np.ndarray) -> Break:
    return lambda base: save(base / "testannot" / "0.png", values)


def _names(text: str) -> Break:
    return lambda base: (base / "classes.json").write_text(text)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (_annotation(labels(values=(0, 1, 7, 9))), r"0.png' has numbers .* no class \(7, 9\)"),
        (_annotation(np.asarray(Image.fromarray(labels()).resize((WIDTH, HEIGHT * 2))
                                .resize((WIDTH // 3, HEIGHT), Image.Resampling.BICUBIC))),
         "numbers that stand for no class .* by nearest neighbour"),
        (_annotation(labels(values=(255, 2))), "0.png' is void all over at 8 pixels; mend"),
        (_annotation(labels()[:, :20]), r"0.png' has 40×20 pixels, and its annotations .* 20×20"),
        (_annotation(noise(WIDTH, HEIGHT, seed=1)), r"has colours \(mode RGB\), and a label map"),
        (_annotation(labels().astype(np.uint16) + 300), "has numbers up to 555, and a label map"),
        (_jpeg, "0.jpg' is a JPEG file, which does not keep the numbers"),
        (_garbage, "0.png' is not a readable image"),
        (lambda base: (base / "classes.json").unlink(), "has no classes.txt, which names the num"),
        (_names('["road", "road", "void"]'), "names the class 'road' twice"),
        (_names('["void"]'), "names no class"),
        (_names('["road", "", "void"]'), "gives number 1 the name ''"),
        (_names("[1]"), "needs text, got 1"),
        (_names("[" + ", ".join(f'"{i}"' for i in range(300)) + "]"), "numbers go up to 254"),
        (lambda base: (base / "test" / "0.webp").write_bytes(b""), "two images of one name"),
    ],
)  # fmt: skip
def test_label_maps_that_cannot_be_right_are_refused(
    tmp_path: Path, damage: Break, sentence: str
) -> None:
    damage(camvid(tmp_path))
    with pytest.raises(UserError, match=sentence):
        read("segmentation", tmp_path, 8)


def test_folders_without_pairs_are_refused(tmp_path: Path) -> None:
    camvid(tmp_path, halves=("train", "val"))
    for file in (tmp_path / "valannot").iterdir():
        file.rename(file.with_name(f"other{file.name}"))
    with pytest.raises(UserError, match="has no label maps of a test or val half"):
        read("segmentation", tmp_path, 8)
    with pytest.raises(UserError, match=r"a folder with images/ and labels/, or with train/"):
        read("segmentation", tmp_path / "train", 8)


# ---------------------------------------------------------------------------------------- depth


def nyu(base: Path, *, half: str = "train", values: np.ndarray, name: str = "0", seed: int) -> Path:
    save(base / half / "rgb" / f"{name}.png", noise(WIDTH, HEIGHT, seed=seed))
    path = base / half / "depth" / f"{name}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values)
    return path


def metres(*, dtype: type = np.float32) -> np.ndarray:
    """20×40, growing from 1 to 4.9 from left to right."""
    return (1 + np.arange(WIDTH, dtype=dtype) / 10)[None].repeat(HEIGHT, 0)


@pytest.fixture
def rooms(tmp_path: Path) -> Path:
    """An image with its depth in each half."""
    for seed, half in enumerate(("train", "test")):
        nyu(tmp_path, half=half, values=metres(), seed=seed)
    return tmp_path


def test_depth_is_metres_and_what_is_not_known_is_nan(rooms: Path) -> None:
    values = metres()
    values[:, :10], values[:, 10:20], values[:, 20:30] = 0, np.nan, np.inf
    nyu(rooms, half="test", values=values, seed=1)
    data, notes = read("depth", rooms, 4)
    assert data.annotations == {"depth"} and data.classes == ()
    assert data.test.depth is not None and data.test.depth.dtype == torch.float32
    assert data.test.depth[0, 0].isnan().tolist() == [True, True, True, False]
    assert data.test.depth[0, 0, 3].item() == pytest.approx(4.5)
    assert "pixels of unknown depth, which nothing is trained or tested on: 37.5 %." in notes


def test_whole_numbers_are_millimetres_or_what_the_scale_says(rooms: Path) -> None:
    plain = read("depth", rooms, 4)[0].test.depth
    (rooms / "test" / "depth" / "0.npy").unlink()
    Image.fromarray((1000 * metres()).round().astype(np.uint16)).save(
        rooms / "test" / "depth" / "0.png"
    )
    found = read("depth", rooms, 4)[0].test.depth
    assert plain is not None and found is not None
    assert torch.allclose(plain, found)
    (rooms / "scale.txt").write_text("500\n")
    found = read("depth", rooms, 4)[0].test.depth
    assert found is not None and torch.allclose(2 * plain, found)
    (rooms / "scale.txt").write_text("much")
    with pytest.raises(UserError, match=r"scale.txt' needs one number above 0"):
        read("depth", rooms, 4)


def test_archives_give_their_only_array_or_depth(rooms: Path) -> None:
    path = rooms / "test" / "depth" / "0.npy"
    path.unlink()
    np.savez(path.with_suffix(".npz"), depth=metres()[..., None], other=np.zeros(3))
    found = read("depth", rooms, 4)[0].test.depth
    assert found is not None and found[0, 0, 3].item() == pytest.approx(4.5)
    np.savez(path.with_suffix(".npz"), a=metres(), b=metres())
    with pytest.raises(UserError, match="holds 2 arrays and none is named 'depth'"):
        read("depth", rooms, 4)


def test_a_depth_that_no_photograph_has_is_said(rooms: Path) -> None:
    for half in ("train", "test"):
        nyu(rooms, half=half, values=1000 * metres(), seed=len(half))
    assert "the median depth is 2950 metres" in read("depth", rooms)[1]


class Cursed:
    """What a file of numpy must not make."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        raise AssertionError


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (-metres(), "has a depth of -4.9, and depth is above 0"),
        (np.ones((HEIGHT, WIDTH)), "has the depth 1 at every pixel"),
        (np.zeros((HEIGHT, WIDTH)), "has no pixel at 16 whose depth is known"),
        (np.full((HEIGHT, WIDTH), np.nan), "has no pixel at 16 whose depth is known"),
        (metres().astype(np.uint8), "has 8 bits, too few for depth"),
        (metres()[:, 1:], r"0.png' has 40×20 pixels, and its annotations are of .* 39×20"),
        (np.zeros((2, HEIGHT, WIDTH)), r"holds float64 of shape \(2, 20, 40\)"),
        (np.array([{}], dtype=object), "is no array of numpy .*allow_pickle"),
    ],
)
def test_depth_that_cannot_be_right_is_refused(
    rooms: Path, values: np.ndarray, sentence: str
) -> None:
    nyu(rooms, half="test", values=values, seed=1)
    with pytest.raises(UserError, match=sentence):
        read("depth", rooms)


def test_damaged_depth_files_are_named(rooms: Path) -> None:
    path = rooms / "test" / "depth" / "0.npy"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"0.npy' is no array of numpy"):
        read("depth", rooms)
    path.unlink()
    save(path.with_suffix(".png"), noise(WIDTH, HEIGHT, seed=2))
    with pytest.raises(UserError, match=r"has colours \(mode RGB\), and a depth map"):
        read("depth", rooms)


# ----------------------------------------------------------------------------------- penn-fudan


def street(base: Path, *, images: int = 8) -> Path:
    """Images with two people each, of which the second stands before the first."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[2:18, 4:14], mask[6:20, 10:21] = 1, 2
    for i in range(images):
        name = f"FudanPed{i:05}"
        pair(
            base / "PNGImages" / f"{name}.png", base / "PedMasks" / f"{name}_mask.png", mask, seed=i
        )
    return base


def test_people_get_the_boxes_that_their_masks_fill(tmp_path: Path) -> None:
    street(tmp_path / "PennFudanPed")
    data, notes = read("penn-fudan", tmp_path, 20)
    found = data.train.instances
    assert (len(data.train), len(data.test)) == (6, 2) and "comes undivided" in notes
    assert data.classes == ("pedestrian",) and data.annotations == {"boxes", "masks", "semantic"}
    assert found is not None and found.mask is not None
    assert found.box[:2].tolist() == [[2, 2, 7, 18], [5, 6, 10.5, 20]]
    assert found.mask[0].sum() == 16 * 5 - 12 * 2 and not (found.mask[0] & found.mask[1]).any()
    maps = data.train.semantic_maps()
    assert maps is not None and set(maps.unique().tolist()) == {0, 1}


def test_street_scenes_that_do_not_fit(tmp_path: Path) -> None:
    street(tmp_path)
    save(tmp_path / "PedMasks" / "FudanPed00003_mask.png", labels()[:, :30])
    with pytest.raises(UserError, match=r"FudanPed00003.png' has 40×20 pixels"):
        read("penn-fudan", tmp_path)
    (tmp_path / "PedMasks" / "FudanPed00003_mask.png").unlink()
    assert "images without a label map, which were left out: 1." in read("penn-fudan", tmp_path)[1]
    for file in (tmp_path / "PedMasks").iterdir():
        file.unlink()
    with pytest.raises(UserError, match="Found 0 images with a label map"):
        read("penn-fudan", tmp_path)
