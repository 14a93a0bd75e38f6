from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sslbench.data import cifar, load
from sslbench.errors import UserError
from sslbench.recipes.specs import ImageSet


def test_images_and_labels_are_those_of_the_batches(cifar10: Path) -> None:
    data = load(ImageSet(name="cifar10"), root=cifar10)
    batch = pickle.loads(
        (cifar10 / "cifar10" / "cifar-10-batches-py" / "data_batch_2").read_bytes()
    )
    assert data.train.images.shape == (20, 3, 32, 32)
    assert torch.equal(data.train.images[4:8].flatten(1), torch.from_numpy(batch[b"data"]))
    assert data.train.labels is not None and data.train.labels[4:8].tolist() == batch[b"labels"]
    assert len(data.test) == 4
    assert data.classes == ("cat", "dog")


def test_cifar100_takes_the_fine_classes(tmp_path: Path) -> None:
    folder = tmp_path / "cifar100" / "cifar-100-python"
    folder.mkdir(parents=True)
    for name, count in (("train", 6), ("test", 3)):
        content = {
            "data": np.zeros((count, 3072), np.uint8),
            "fine_labels": [i % 3 for i in range(count)],
            "coarse_labels": [0] * count,
        }
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    meta = {"fine_label_names": ["apple", "bee", "cup"], "coarse_label_names": ["thing"]}
    (folder / "meta").write_bytes(pickle.dumps(meta, protocol=2))
    data = load(ImageSet(name="cifar100"), root=tmp_path)
    assert data.classes == ("apple", "bee", "cup")
    assert data.test.labels is not None and data.test.labels.tolist() == [0, 1, 2]


def test_another_order_loads_with_another_fingerprint(cifar10: Path) -> None:
    before = load(ImageSet(name="cifar10"), root=cifar10).fingerprint
    path = cifar10 / "cifar10" / "cifar-10-batches-py" / "data_batch_1"
    batch = pickle.loads(path.read_bytes())
    batch[b"data"] = batch[b"data"][::-1].copy()
    path.write_bytes(pickle.dumps(batch, protocol=4))
    assert load(ImageSet(name="cifar10"), root=cifar10).fingerprint != before


class _Runs:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, ("ran",)


def test_code_in_a_pickle_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps({"data": _Runs()}))
    with pytest.raises(UserError, match=r"holds 'posix.mkdir', which no CIFAR file does"):
        cifar.unpickle(path)
    assert not (tmp_path / "ran").exists()


def test_only_latin1_text_becomes_bytes(tmp_path: Path) -> None:
    path = tmp_path / "batch"
    path.write_bytes(b"c_codecs\nencode\n(Vabc\nVrot13\ntR.")
    with pytest.raises(UserError, match="rot13"):
        cifar.unpickle(path)


@pytest.mark.parametrize("keep", [0, 1, 100, 5000])
def test_a_truncated_batch_is_named(cifar10: Path, keep: int) -> None:
    path = cifar10 / "cifar10" / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"data_batch_3' is damaged or half-downloaded"):
        load(ImageSet(name="cifar10"), root=cifar10)


@pytest.mark.parametrize(
    "content",
    [
        {"labels": [0]},
        {"data": np.zeros((1, 3072), np.uint8), "labels": [0, 1]},
        {"data": np.zeros((1, 3072), np.float32), "labels": [0]},
        {"data": np.zeros((1, 1024), np.uint8), "labels": [0]},
        {"data": np.zeros((1, 3072), np.uint8), "labels": [2]},
        {"data": np.zeros((0, 3072), np.uint8), "labels": []},
    ],
    ids=["no pixels", "too many labels", "floats", "grey", "unknown class", "empty"],
)
def test_what_is_no_batch_is_refused(cifar10: Path, content: dict[str, Any]) -> None:
    path = cifar10 / "cifar10" / "cifar-10-batches-py" / "test_batch"
    path.write_bytes(pickle.dumps(content, protocol=4))
    with pytest.raises(UserError, match="test_batch' is not a CIFAR batch"):
        load(ImageSet(name="cifar10"), root=cifar10)
