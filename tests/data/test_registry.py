"""One entry registers a data set, and a plugin's is as good as ours."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from sslbench.data import DATASETS, DatasetInfo, Raw, Split, fingerprint, load, packed
from sslbench.data.registry import ANNOTATIONS
from sslbench.errors import UserError
from sslbench.recipes.scales import SCALES
from sslbench.recipes.specs import DrawnSpec, ImageSet
from sslbench.requests import find_data

READER = """
import numpy as np
import torch
from sslbench.data import Instances, Raw, Split

def read(folder, resolution):
    halves = [half(np.load(folder / f"{name}.npz")) for name in ("train", "test")]
    return Raw(*halves, ("cat", "dog"))

def half(arrays):
    found = Instances(image=torch.from_numpy(arrays["image"]), box=torch.from_numpy(arrays["box"]),
                      label=torch.from_numpy(arrays["label"]))
    return Split(torch.from_numpy(arrays["pixels"]), instances=found,
                 multilabels=torch.zeros(len(arrays["pixels"]), 2, dtype=torch.bool))
"""


def write(folder: Path, *, count: int = 6, box: float = 0.0) -> None:
    """A set of its own format: `count` images of 16 pixels a half, an object in every second."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(("train", "test")):
        image = np.arange(0, count, 2)
        np.savez(
            folder / f"{name}.npz",
            pixels=np.random.default_rng(seed).integers(0, 256, (count, 3, 16, 16), dtype=np.uint8),
            image=image,
            box=np.tile(np.float32([box, 1, 8, 9]), (len(image), 1)),
            label=image % 2,
        )


Register = Callable[..., ImageSet]


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Register:
    """Writes a plugin with this reader, registers its set as `mine`, and gives its spec."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def register(code: str = READER, **entry: object) -> ImageSet:
        path = tmp_path / "plugin.py"
        path.write_text(code)
        spec = importlib.util.spec_from_file_location("plugin", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        given = {"summary": "Mine", "reader": module.read, "resolution": 16,
                 "annotations": {"multilabels", "boxes"}} | entry  # fmt: skip
        monkeypatch.setitem(DATASETS, "mine", DatasetInfo(**given))  # type: ignore[arg-type]
        return ImageSet(name="mine")

    return register


def test_a_set_of_ones_own_loads_from_below_the_data_root(mine: Register, tmp_path: Path) -> None:
    write(tmp_path / "mine")
    data = load(mine(), root=tmp_path)
    assert data.name == "mine" and data.classes == ("cat", "dog") and data.resolution == 16
    assert data.annotations == DATASETS["mine"].annotations
    assert data.train.instances is not None
    assert data.train.instances.image.tolist() == [0, 2, 4]
    assert data.fingerprint == fingerprint(mine(), root=tmp_path)


def test_the_second_load_reads_all_of_it_from_the_packed_copy(
    mine: Register, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "mine")
    first = load(mine(), root=tmp_path).train.tensors()
    monkeypatch.setattr(packed, "read", None)
    second = load(mine(), root=tmp_path).train.tensors()
    assert first.keys() == second.keys() >= {"instances.box", "multilabels"}
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_halves_of_one_array_are_packed_apart(mine: Register, tmp_path: Path) -> None:
    write(tmp_path / "mine")
    one = READER.replace(
        'return Raw(*halves, ("cat", "dog"))',
        "x = torch.cat([h.images for h in halves])\n    n = len(halves[0].images)\n"
        "    none = torch.zeros(2 * n, 2, dtype=torch.bool)\n    return Raw("
        'Split(x[:n], multilabels=none[:n]), Split(x[n:], multilabels=none[n:]), ("cat", "dog"))',
    )
    data = load(mine(one, annotations={"multilabels"}), root=tmp_path)
    assert not torch.equal(data.train.images, data.test.images)
    again = load(mine(one, annotations={"multilabels"}), root=tmp_path)
    assert torch.equal(data.test.images, again.test.images)


def test_annotations_are_part_of_the_fingerprint(mine: Register, tmp_path: Path) -> None:
    write(tmp_path / "mine")
    before = load(mine(), root=tmp_path)
    write(tmp_path / "mine", box=2.0)
    after = load(mine(), root=tmp_path)
    assert torch.equal(before.train.images, after.train.images)
    assert before.fingerprint != after.fingerprint


def test_a_limit_keeps_the_objects_of_the_images_that_stay(mine: Register, tmp_path: Path) -> None:
    write(tmp_path / "mine", count=40)
    part = load(mine().but(num_train=10), root=tmp_path).train
    assert len(part) == 10 and part.instances is not None
    assert 0 < len(part.instances) < 10 and int(part.instances.image.max()) < 10


def test_a_changed_reader_reads_again(mine: Register, tmp_path: Path) -> None:
    write(tmp_path / "mine")
    load(mine(), root=tmp_path)
    data = load(mine(READER.replace('"cat", "dog"', '"dog", "cat"')), root=tmp_path)
    assert data.classes == ("dog", "cat")


def test_the_command_line_takes_the_name_and_a_folder(mine: Register, tmp_path: Path) -> None:
    write(tmp_path / "elsewhere")
    mine()
    data = find_data(f"mine:{tmp_path / 'elsewhere'}", "smoke")
    assert isinstance(data, ImageSet) and data.num_train == 2000
    assert len(load(data.but(resolution=16), root=tmp_path).train) == 6
    assert find_data("mine", "smoke") == SCALES["smoke"].dataset("mine")


def test_a_folder_that_is_not_there_is_named(mine: Register, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mine' does not exist; give .* --dataset mine:PATH"):
        load(mine(), root=tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("return Raw(", "return (", "reader of 'mine' in .* gave a tuple; make it give"),
        ('("cat", "dog")', '("cat",)', "2 multilabels an image for 1 classes; mend"),
        ('["label"]', '["label"] + 5', "labels that fit no class; mend its files or reader"),
        ('["pixels"])', '["pixels"][:, :, :9, :9])', "images of 9×9 pixels; make it give 16×16"),
        ("multilabels=", "clip=None and ", "no multilabels, which its entry names"),
        ("instances=found", "clip=torch.zeros(6, dtype=torch.int64), frame=torch.zeros(6, "
         "dtype=torch.int64)", "two images for one frame of a clip"),
    ],
)  # fmt: skip
def test_a_reader_that_gives_something_else_is_told(
    mine: Register, tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    write(tmp_path / "mine")
    assert old in READER
    with pytest.raises(UserError, match=sentence):
        load(mine(READER.replace(old, new)), root=tmp_path)


def test_an_unknown_annotation_gets_the_nearest() -> None:
    with pytest.raises(UserError, match="No annotation 'box'; did you mean 'boxes'"):
        DatasetInfo(summary="", reader="sslbench.data.folders:flat", annotations=frozenset({"box"}))


def test_a_reader_that_is_not_there_is_named(mine: Register, tmp_path: Path) -> None:
    write(tmp_path / "mine")
    with pytest.raises(UserError, match="folders:flatt' is no function of a module"):
        load(mine(reader="sslbench.data.folders:flatt"), root=tmp_path)


@pytest.mark.parametrize("name", [name for name, entry in DATASETS.items() if entry.drawn])
def test_a_drawn_set_has_the_annotations_of_its_entry(name: str) -> None:
    spec = SCALES["smoke"].dataset(name).but(num_train=16, num_test=8, resolution=16)
    assert DATASETS[name].annotations == load(spec, root=Path()).annotations
    assert DATASETS[name].annotations <= {*ANNOTATIONS}
    assert DATASETS[name].spec is type(spec) and spec.set_name == name


@dataclass(frozen=True, kw_only=True)
class Stripes(DrawnSpec):
    """A plugin's drawn set: a label is how many columns are white."""

    num_classes: int = 2


def _stripes(spec: Stripes) -> Raw:
    def half(count: int) -> Split:
        labels = torch.arange(count) % spec.num_classes
        columns = torch.arange(spec.resolution) < labels[:, None]
        images = 255 * columns[:, None, None].to(torch.uint8)
        return Split(images.expand(-1, 3, spec.resolution, -1), labels)

    return Raw(half(spec.num_train), half(spec.num_test), ("none", "one"))


def test_a_drawn_set_of_ones_own_is_named_like_its_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = DatasetInfo(summary="Stripes", spec=Stripes, reader=_stripes)
    monkeypatch.setitem(DATASETS, "stripes", entry)
    spec = find_data("stripes", "smoke")
    assert spec == Stripes(num_train=2000)
    data = load(spec.but(num_train=20, num_test=4), root=Path())
    assert data.name == "stripes" and len(data.train) == 20 and data.annotations == {"labels"}
    before = fingerprint(spec, root=Path())
    monkeypatch.setitem(DATASETS, "stripes", dataclasses.replace(entry, version=2))
    assert fingerprint(spec, root=Path()) != before


def test_a_split_that_was_packed_before_objects_were_known_is_read(
    mine: Register, tmp_path: Path
) -> None:
    """The names in the file are those of before: packed copies stay valid."""
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    half = Split(images, torch.zeros(2, dtype=torch.int64), hashes=torch.arange(2))
    extra = dataclasses.replace(half, labels=None)
    names = packed._tensors(Raw(half, half, ("a",), extra))
    assert sorted(names) == [
        "test.hashes", "test.images", "test.labels", "train.hashes", "train.images",
        "train.labels", "unlabelled", "unlabelled.hashes",
    ]  # fmt: skip
