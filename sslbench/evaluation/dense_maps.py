"""Maps of a frozen encoder, and the features of single pixels that are interpolated from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbench.data import Split
from sslbench.data.dataset import count_shared, image_hashes
from sslbench.errors import UserError
from sslbench.evaluation.accuracy import chunks
from sslbench.evaluation.dense_kinds import MapProbe
from sslbench.evaluation.features import BATCH_SIZE, evaluation_mode
from sslbench.evaluation.linear import Plan, Standardization, batches
from sslbench.evaluation.subject import Subject
from sslbench.memory import require_memory
from sslbench.models.maps import feature_maps, map_shapes
from sslbench.streams import integers, stream_key
from sslbench.views import normalize

LEVELS = {"last": -1, "previous": -2}  # among the maps of an encoder
_HELD = 2**24  # numbers of resized maps held at a time


class PixelSweep(Protocol):
    """Several regressions that learn from the same pixels."""

    def step(self, x: Tensor, targets: Tensor, /, *, factor: float) -> None:
        """One step on R×C features and R targets, rates times `factor`."""


@dataclass(frozen=True)
class Pixels:
    """Maps of N images, and what is to be told of each of their pixels.

    Attributes:
        cells: N×h×w×C float32.
        targets: N×H×W; known: bool N×H×W, where they say something.
    """

    cells: Tensor
    targets: Tensor
    known: Tensor

    def drawn(self, rows: Tensor, change: Standardization, *, count: int, key: int) -> tuple[
        Tensor, Tensor
    ]:  # fmt: skip
        """Of random pixels of the images at n int64 positions, `count` of each, those that are
        known: R×C features and R targets."""
        n, h, w, channels = self.cells.shape
        side = self.targets.shape[1:]
        place = integers(key, rows, count, high=side[0] * side[1])  # n×P
        image = rows[:, None].expand_as(place)
        known = self.known.flatten(1)[image, place]
        image, place = image[known], place[known]
        cell, weight = corners(h, w, side, device=rows.device)
        x = F.embedding_bag(
            image[:, None] * (h * w) + cell[place], self.cells.view(n * h * w, channels),
            per_sample_weights=weight[place], mode="sum",
        )  # fmt: skip
        return change(x), self.targets.flatten(1)[image, place]


def corners(
    height: int, width: int, side: tuple[int, int] | torch.Size, *, device: torch.device
) -> tuple[Tensor, Tensor]:
    """For each pixel of an image of some side the four cells of a map that it lies between, as
    positions in the flat map, and their weights: HW×4 int64 and float32.

    As torch's bilinear `interpolate` with `align_corners=False`.
    """
    rows = _axis(height, side[0], device)
    columns = _axis(width, side[1], device)
    cell = rows[0][:, None, :, None] * width + columns[0][None, :, None, :]  # H×W×2×2
    weight = rows[1][:, None, :, None] * columns[1][None, :, None, :]
    return cell.reshape(-1, 4), weight.reshape(-1, 4)


def _axis(cells: int, pixels: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The two cells along one axis that each pixel lies between, and their weights."""
    place = (torch.arange(pixels, device=device) + 0.5) * (cells / pixels) - 0.5
    place = place.clamp(min=0)
    first = place.floor().long().clamp(max=cells - 1)
    share = place - first
    second = (first + 1).clamp(max=cells - 1)
    return torch.stack((first, second), 1), torch.stack((1 - share, share), 1)


def train(
    sweep: PixelSweep, pixels: Pixels, rows: Tensor, change: Standardization, protocol: MapProbe
) -> None:
    """Train on the images at some int64 positions, on the sweep's device."""
    plan = Plan.of(len(rows), protocol)
    for epoch in range(plan.epochs):
        for i, positions in enumerate(batches(len(rows), epoch=epoch, protocol=protocol)):
            key = stream_key(protocol.order_seed, "map probe pixels", epoch, i)
            chosen = rows[positions.to(rows.device)]
            x, targets = pixels.drawn(chosen, change, count=protocol.pixels, key=key)
            if len(x):
                sweep.step(x, targets, factor=plan.factor(epoch, i))


def resized(values: Tensor, side: tuple[int, int] | torch.Size) -> Tensor:
    """n×h×w×K to n×K×H×W by bilinear interpolation."""
    return F.interpolate(values.permute(0, 3, 1, 2), size=tuple(side), mode="bilinear")


def rows_at_once(numbers: int) -> int:
    """How many images fit into what is held at a time, of which each has so many numbers."""
    return max(1, _HELD // numbers)


@torch.no_grad()
def map_batches(subject: Subject, images: Tensor, level: str) -> Iterator[Tensor]:
    """n×h×w×C float32 maps of uint8 images on the subject's device, batch by batch.

    Raises:
        UserError: a value is not finite.
    """
    with evaluation_mode(subject.encoder), torch.autocast(subject.device.type, enabled=False):
        for batch in chunks(images, BATCH_SIZE):
            x = normalize(batch.to(subject.device), subject.mean, subject.std)
            x = x.contiguous(memory_format=torch.channels_last)
            found = feature_maps(subject.encoder, x)[LEVELS[level]].float()
            if not bool(torch.isfinite(found).all()):
                raise UserError(
                    "The encoder gives maps that are not finite; its training diverged. Train it "
                    "again with a lower optimizer.lr."
                )
            yield found.permute(0, 2, 3, 1).contiguous()


def cells_of(subject: Subject, images: Tensor, level: str) -> Tensor:
    """N×h×w×C float32 maps of all images at once, on the subject's device.

    Raises:
        UserError: memory does not suffice, or a value is not finite.
    """
    side = images.shape[-1]
    shape = map_shapes(subject.encoder, resolution=side)[LEVELS[level]]
    numbers = len(images) * round(side / shape.stride) ** 2 * shape.channels
    if subject.device.type == "cpu":
        require_memory(
            4 * numbers, what=f"Maps of {len(images):,} images of {side} pixels",
            remedy="take a part of the data set (num_train) or a smaller resolution",
        )  # fmt: skip
    found: Tensor | None = None
    start = 0
    for part in map_batches(subject, images, level):
        if found is None:
            found = part.new_empty(len(images), *part.shape[1:])
        found[start : start + len(part)] = part
        start += len(part)
    assert found is not None
    return found


def statistics(cells: Tensor, protocol: MapProbe) -> Standardization:
    """Of each channel over all cells of N×h×w×C maps."""
    return Standardization.of(cells.flatten(0, 2), least_spread=protocol.least_spread)


def check_maps(name: str, subject: Subject, level: str = "last") -> None:
    """Raise UserError for an encoder without the map that a protocol reads, or with one of a
    single cell."""
    side = subject.dataset.resolution
    shapes = map_shapes(subject.encoder, resolution=side)
    if len(shapes) < -LEVELS[level]:
        raise UserError(
            f"{name} reads the map before the last one, and {type(subject.encoder).__name__} has "
            "one map alone; use depth.v1."
        )
    if round(side / shapes[LEVELS[level]].stride) < 2:
        raise UserError(
            f"{name}: the map of {type(subject.encoder).__name__} has a single cell at {side} "
            "pixels, which cannot tell pixels apart; use larger images."
        )


def check_apart(name: str, train: Split, test: Split) -> None:
    """Raise UserError where all test images are training images."""
    hashed = [split if split.hashes is not None else _hashed(split) for split in (test, train)]
    if count_shared(*hashed) == len(test):
        raise UserError(
            f"{name}: every test image is also a training image, so that a score would say "
            "nothing; give test images of their own."
        )


def _hashed(split: Split) -> Split:
    return Split(split.images, hashes=image_hashes(split.images.cpu()))
