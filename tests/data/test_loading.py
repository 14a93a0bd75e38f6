from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from sslbench.data import Dataset, downloads, fingerprint, load, packed
from sslbench.data.loading import channel_statistics
from sslbench.data.registry import DATASETS, function
from sslbench.errors import UserError
from sslbench.recipes.specs import ImageSet, Shapes

CIFAR = ImageSet(name="cifar10")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise OSError("no network in tests")

    for entry in DATASETS.values():
        if entry.download is not None:
            monkeypatch.setattr(downloads, str(entry.download).partition(":")[2], refuse)


def images_equal(a: Dataset, b: Dataset) -> bool:
    pairs = ((a.train, b.train), (a.test, b.test))
    return all(torch.equal(x.images, y.images) for x, y in pairs)


def test_channel_statistics_are_torchs() -> None:
    images = torch.randint(0, 256, (50, 3, 9, 9), dtype=torch.uint8)
    mean, std = channel_statistics(images)
    expected = images.double() / 255
    assert mean == pytest.approx(expected.mean((0, 2, 3)).tolist())
    assert std == pytest.approx(expected.std((0, 2, 3), correction=0).tolist())


def test_constant_channels_do_not_divide_by_zero() -> None:
    _, std = channel_statistics(torch.full((2, 3, 4, 4), 7, dtype=torch.uint8))
    assert min(std) > 0


def test_a_set_comes_with_what_the_registry_says(cifar10: Path) -> None:
    for spec in (Shapes(resolution=8, num_train=4, num_test=2), CIFAR):
        assert load(spec, root=cifar10).annotations == DATASETS[spec.set_name].annotations


# --- packing and fingerprints -----------------------------------------------------------------


def test_the_second_load_decodes_nothing(cifar10: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(CIFAR, root=cifar10)
    monkeypatch.setattr(packed, "read", None)
    second = load(CIFAR, root=cifar10)
    assert images_equal(first, second)
    assert first.classes == second.classes
    assert first.fingerprint == second.fingerprint == fingerprint(CIFAR, root=cifar10)


def test_a_changed_file_makes_the_packed_copy_stale(
    folder: Callable[..., Path], save_png: Callable[..., Path]
) -> None:
    path = folder(num=2)
    spec = ImageSet(name="folder", path=str(path), resolution=16)
    before = load(spec, root=path)
    save_png(path / "train" / "cat" / "0.png", colour=200)
    assert load(spec, root=path).train.images[0, 0, 0, 0] == 200
    assert fingerprint(spec, root=path) != before.fingerprint
    (path / "train" / "cat" / "1.png").unlink()
    assert len(load(spec, root=path).train) == 3


def test_equal_content_elsewhere_has_an_equal_fingerprint(cifar10: Path, tmp_path: Path) -> None:
    there = tmp_path / "copy"
    (cifar10 / "cifar10").rename(there)
    os.utime(there / "cifar-10-batches-py" / "test_batch", (1, 1))
    moved = fingerprint(CIFAR.but(path=str(there)), root=cifar10)
    there.rename(cifar10 / "cifar10")
    assert fingerprint(CIFAR, root=cifar10) == moved


def test_fingerprint_before_and_after_loading_are_one(cifar10: Path) -> None:
    assert fingerprint(CIFAR, root=cifar10) == load(CIFAR, root=cifar10).fingerprint


@pytest.mark.parametrize("change", [{"num_train": 10}, {"num_test": 2}, {"resolution": 16}])
def test_subset_and_resolution_are_part_of_the_fingerprint(
    cifar10: Path, change: dict[str, int]
) -> None:
    assert fingerprint(CIFAR.but(change), root=cifar10) != fingerprint(CIFAR, root=cifar10)


def test_shapes_fingerprint_follows_the_spec(tmp_path: Path) -> None:
    spec = Shapes(num_train=20, num_test=10)
    assert load(spec, root=tmp_path).fingerprint == fingerprint(spec, root=tmp_path)
    assert fingerprint(spec.but(seed=1), root=tmp_path) != fingerprint(spec, root=tmp_path)


def test_fingerprints_are_those_of_the_runs_made_before(cifar10: Path) -> None:
    assert fingerprint(Shapes(), root=cifar10).startswith("0de50d929e8ea962")
    assert fingerprint(CIFAR, root=cifar10).startswith("48b2aa21b3894b4a")
    assert fingerprint(CIFAR.but(num_train=10), root=cifar10).startswith("aa0d991e8c74bea1")


def test_a_folder_that_cannot_be_written_is_packed_in_the_users_cache(
    cifar10: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (cifar10 / "cifar10" / ".sslbench").write_text("a file where the folder would be")
    first = load(CIFAR, root=cifar10)
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 1
    monkeypatch.setattr(packed, "read", None)
    assert images_equal(load(CIFAR, root=cifar10), first)


def test_another_resolution_is_resized(cifar10: Path) -> None:
    data = load(CIFAR.but(resolution=8), root=cifar10)
    assert data.resolution == 8 and data.train.images.shape == (20, 3, 8, 8)
    whole = load(CIFAR, root=cifar10).train.images.float().mean((2, 3))
    assert float((data.train.images.float().mean((2, 3)) - whole).abs().max()) < 8


def test_subsets_are_taken(cifar10: Path) -> None:
    data = load(CIFAR.but(num_train=10, num_test=2), root=cifar10)
    assert (len(data.train), len(data.test)) == (10, 2)
    assert data.train.labels is not None and data.train.labels.bincount().tolist() == [5, 5]


def test_unlabelled_images_follow_the_training_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = _stl10(tmp_path, monkeypatch)
    assert data.unlabelled is not None and data.unlabelled.labels is None
    assert data.pretraining.shape == (7, 3, 96, 96)
    assert data.pretraining is data.pretraining and data.num_pretraining == 7
    assert torch.equal(data.pretraining[:4], data.train.images)
    assert data.train.labels is not None and data.train.labels.tolist() == [0, 1, 0, 1]


def _stl10(root: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    base = root / "stl10" / "stl10_binary"
    base.mkdir(parents=True)
    for name, count in (("train", 4), ("test", 2), ("unlabeled", 3)):
        pixels = np.random.default_rng(count).integers(0, 256, (count, 3, 96, 96), dtype=np.uint8)
        pixels.tofile(base / f"{name}_X.bin")
        if name != "unlabeled":
            (np.arange(count, dtype=np.uint8) % 2 + 1).tofile(base / f"{name}_y.bin")
    (base / "class_names.txt").write_text("airplane\nbird")
    (base / "fold_indices.txt").write_text("0 1")
    monkeypatch.setattr(torchvision.datasets.STL10, "_check_integrity", lambda self: True)
    return load(ImageSet(name="stl10"), root=root)


def test_grey_sets_get_three_channels(tmp_path: Path) -> None:
    base = tmp_path / "fashion-mnist" / "FashionMNIST" / "raw"
    base.mkdir(parents=True)
    for shift, name in enumerate(("train", "t10k")):
        header = [[0x803, 5, 28, 28], [0x801, 5]]
        images, labels = (np.array(h, dtype=">i4").tobytes() for h in header)
        (base / f"{name}-images-idx3-ubyte").write_bytes(
            images + bytes(range(shift, shift + 245)) * 16
        )
        (base / f"{name}-labels-idx1-ubyte").write_bytes(labels + bytes(range(5)))
    data = load(ImageSet(name="fashion-mnist"), root=tmp_path)
    assert data.train.images.shape == (5, 3, 28, 28)
    assert data.train.images[0, :, 0, 3].tolist() == [3, 3, 3]
    assert len(data.classes) == 10


def test_a_published_sets_twins_are_counted_without_a_word(cifar10: Path) -> None:
    base = cifar10 / "cifar10" / "cifar-10-batches-py"
    (base / "test_batch").write_bytes((base / "data_batch_2").read_bytes())
    assert load(CIFAR, root=cifar10).shared == 4
    assert load(CIFAR.but(num_test=2), root=cifar10).shared == 2


# --- what is refused --------------------------------------------------------------------------


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UserError, match="No data set 'cifar-10'; did you mean 'cifar10'"):
        load(ImageSet(name="cifar-10"), root=Path())


def test_a_failed_download_says_where_the_files_go(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is absent in .* \(no network in tests\); put its files"):
        load(CIFAR, root=tmp_path)
    assert not (tmp_path / "cifar10").exists()


def test_a_missing_batch_is_named(cifar10: Path) -> None:
    (cifar10 / "cifar10" / "cifar-10-batches-py" / "data_batch_4").unlink()
    with pytest.raises(UserError, match=r"half there \('.*data_batch_4' is missing"):
        load(CIFAR, root=cifar10)


def test_a_half_unpacked_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "tiny-imagenet" / "tiny-imagenet-200" / "train").mkdir(parents=True)
    with pytest.raises(UserError, match=r"half there \('val' is missing and 2 more"):
        load(ImageSet(name="tiny-imagenet"), root=tmp_path)


def test_a_given_path_is_never_downloaded_to(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"lacks 'cifar-10-batches-py/data_batch_1'"):
        load(CIFAR.but(path=str(tmp_path)), root=tmp_path)


def test_files_that_torchvision_refuses(tmp_path: Path) -> None:
    (tmp_path / "svhn").mkdir()
    for name in ("train", "test"):
        (tmp_path / "svhn" / f"{name}_32x32.mat").write_bytes(b"half a download")
    with pytest.raises(UserError, match=r"files of SVHN .* are damaged or half-downloaded"):
        load(ImageSet(name="svhn"), root=tmp_path)


def test_a_limit_above_what_there_is_takes_all(cifar10: Path) -> None:
    whole, limited = load(CIFAR, root=cifar10), load(CIFAR.but(num_train=21), root=cifar10)
    assert torch.equal(whole.train.images, limited.train.images)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"num_train": 10**12}, r"1,000,000,000,000 images of 32 pixels: about .* TB of memory"),
        (
            {"resolution": 100_000},
            r"8,000 images of 100,000 pixels: about .* lower data\.num_train",
        ),
        ({"num_test": 10**15}, "1,000,000,000,000,000 images"),
    ],
)
def test_a_drawn_set_that_memory_does_not_hold(change: dict[str, int], sentence: str) -> None:
    small = Shapes() if "resolution" in change else Shapes(num_train=8, num_test=8)
    with pytest.raises(UserError, match=sentence):
        load(small.but(change), root=Path())


def test_arrays_that_memory_does_not_hold(cifar10: Path) -> None:
    with pytest.raises(UserError, match=r"24 images of 1,000,000 pixels: .* lower data\.res"):
        load(CIFAR.but(resolution=10**6), root=cifar10)


# --- the registry -----------------------------------------------------------------------------


def test_every_listed_set_has_a_reader_and_every_download_a_source() -> None:
    for name, entry in DATASETS.items():
        assert callable(function(entry.reader)) and not entry.foreign, name
        assert entry.download is None or callable(function(entry.download)), name
        assert entry.download is None or entry.url is not None, name


def test_lists_and_cached_fingerprints_need_no_torch(cifar10: Path) -> None:
    load(CIFAR, root=cifar10)
    code = (
        "import sys, pathlib; from sslbench.data import fingerprint, registry;"
        "from sslbench.recipes.specs import ImageSet;"
        "fingerprint(ImageSet(name='cifar10'), root=pathlib.Path(sys.argv[1]));"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(cifar10)], check=True)
