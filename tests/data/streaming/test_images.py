"""Streamed images: a tensor's rows without the tensor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sslbench.data import Dataset, Reader, Streamed, load
from sslbench.errors import UserError
from tests.data.streaming.conftest import spec_of, write_set

Use = Callable[[int], None]


def both(folder: Path, **more: object) -> tuple[Dataset, Dataset]:
    """The set resident and streamed."""
    resident = load(spec_of(folder, stream=False, **more), root=folder)
    return resident, load(spec_of(folder, **more), root=folder)


@pytest.mark.parametrize("workers", [0, 2])
def test_rows_are_those_of_the_tensor(pictures: Path, few_workers: Use, workers: int) -> None:
    few_workers(workers)
    resident, streamed = (x.train.images for x in both(pictures))
    assert isinstance(streamed, Streamed) and isinstance(resident, torch.Tensor)
    assert streamed.shape == resident.shape and streamed.dtype == resident.dtype
    rows = torch.tensor([5, 0, 47, 5])
    for chosen in (rows, slice(3, 40), torch.arange(48) % 3 == 0, torch.arange(48)):
        assert torch.equal(streamed[chosen], resident[chosen])


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_come_in_their_order(pictures: Path, few_workers: Use, workers: int) -> None:
    few_workers(workers)
    resident, streamed = (x.train.images for x in both(pictures))
    order = [torch.tensor([7, 3, 9]), torch.arange(40), torch.tensor([1])]
    found = list(streamed.batches(order))
    assert all(torch.equal(x, resident[rows]) for x, rows in zip(found, order, strict=True))


def test_a_reader_goes_on_and_jumps(pictures: Path) -> None:
    resident, streamed = (x.train.images for x in both(pictures))
    rows = torch.arange(48).reshape(8, 6).flip(1)
    readers = [Reader(images, rows.__getitem__, 8) for images in (resident, streamed)]
    for number in (2, 3, 4, 0, 1, 7):
        first, second = (reader.batch(number) for reader in readers)
        assert torch.equal(first, second)


def test_subsets_labels_and_the_heldout_tenth_are_those_of_the_resident_set(pictures: Path) -> None:
    resident, streamed = both(pictures, num_train=20, num_test=6)
    assert torch.equal(resident.heldout, streamed.heldout)
    for a, b in ((resident.train, streamed.train), (resident.test, streamed.test)):
        assert a.labels is not None and b.labels is not None and torch.equal(a.labels, b.labels)
        assert torch.equal(a.images, b.images[:])
    assert resident.classes == streamed.classes and resident.counts() == streamed.counts()
    assert resident.mean == streamed.mean and resident.std == streamed.std  # fewer than a sample
    first, second = resident.without_heldout(), streamed.without_heldout()
    assert torch.equal(first.train.images, second.train.images[:])


def test_what_needs_all_images_at_once_says_so(pictures: Path) -> None:
    images = load(spec_of(pictures), root=pictures).train.images
    for whole in (lambda: torch.cat([images, images]), lambda: images.float()):
        with pytest.raises(UserError, match="they are streamed; use --stream off"):
            whole()


def test_jpegs_are_decoded_at_a_reduced_scale(tmp_path: Path) -> None:
    write_set(tmp_path)
    ramp = np.linspace(0, 255, 128).astype(np.uint8)[None, :, None].repeat(128, 0).repeat(3, 2)
    for part in ("train", "val"):
        Image.fromarray(ramp if part == "train" else ramp[:, ::-1]).save(
            tmp_path / part / "cat" / "000.jpg", quality=95
        )
        (tmp_path / part / "cat" / "000.png").unlink()
    resident, streamed = (x.train.images[0].float() for x in both(tmp_path))
    assert not torch.equal(resident, streamed)
    assert float((resident - streamed).abs().max()) <= 6
