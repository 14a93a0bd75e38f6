"""Which images a detector is trained on, and its batches of them with their objects."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sslbench.data.split import Split
from sslbench.evaluation.accuracy import complement
from sslbench.evaluation.detection_kinds import Detection
from sslbench.evaluation.detectors import Target
from sslbench.evaluation.subject import Subject
from sslbench.streams import permutation, stream_key, uniform
from sslbench.views import normalize


class Batches:
    """Batches of some images, each a function of its step: one permutation of the images after the
    other, half of the images mirrored. Crowds are no objects here, and images may be empty.

    Args:
        train: with instances, on the device where batches are wanted.
        rows: int64 positions in it.
        seed: of the order and the mirroring.
        mean, std: the images' normalisation.
    """

    def __init__(
        self, train: Split, rows: Tensor, *, protocol: Detection, seed: int,
        mean: Sequence[float], std: Sequence[float],
    ) -> None:  # fmt: skip
        self.images, self.rows = train.images, rows.cpu()
        self.size, self.flip, self.seed = protocol.batch_size, protocol.flip, seed
        self.mean, self.std = mean, std
        known = train.instances
        assert known is not None
        crowd = known.crowd
        keep = torch.ones_like(known.label, dtype=torch.bool) if crowd is None else ~crowd
        counts = torch.bincount(known.image[keep], minlength=len(train)).tolist()
        self.boxes = known.box[keep].split(counts)
        self.labels = (known.label[keep] + 1).split(counts)  # 0 is the background
        masks = known.mask if protocol.masks else None
        self.masks = None if masks is None else masks[keep].split(counts)

    def __call__(self, step: int) -> tuple[Tensor, list[Target]]:
        """Normalised images N×3×H×W, and boxes, labels and masks of each."""
        chosen = self.chosen(step)
        key = stream_key(self.seed, "detection flip", step)
        flipped = uniform(key, torch.arange(len(chosen)), 1)[:, 0] < self.flip
        device = self.images.device
        images = normalize(self.images[chosen.to(device)], self.mean, self.std)
        images = torch.where(flipped.to(device)[:, None, None, None], images.flip(-1), images)
        rows = zip(chosen.tolist(), flipped.tolist(), strict=True)
        return images, [self._target(image, mirror) for image, mirror in rows]

    def chosen(self, step: int) -> Tensor:
        """Positions among the training images of the step's batch, int64 on the CPU."""
        count = len(self.rows)
        places = range(step * self.size, (step + 1) * self.size)
        orders = {epoch: self._order(epoch) for epoch in {place // count for place in places}}
        return torch.stack([orders[place // count][place % count] for place in places])

    def _target(self, image: int, mirror: bool) -> Target:
        box = self.boxes[image]
        if mirror:
            left, top, right, bottom = box.unbind(1)
            side = self.images.shape[-1]
            box = torch.stack([side - right, top, side - left, bottom], 1)
        target = {"boxes": box, "labels": self.labels[image]}
        if self.masks is not None:
            mask = self.masks[image]
            target["masks"] = (mask.flip(-1) if mirror else mask).to(torch.uint8)
        return target

    def _order(self, epoch: int) -> Tensor:
        key = stream_key(self.seed, "detection order", epoch)
        return self.rows[permutation(key, len(self.rows))]


def parts(subject: Subject, most: int) -> tuple[Tensor, Tensor]:
    """Rows of the training images to choose settings by: those to fit on, and held-out ones; all
    together at most `most`, drawn once and for all.

    Returns:
        int64 positions on the CPU, ascending.
    """
    heldout = subject.heldout
    rest = complement(heldout, len(subject.dataset.train))
    if len(rest) + len(heldout) <= most:
        return rest, heldout
    few = max(1, most * len(heldout) // (len(rest) + len(heldout)))
    return _drawn(rest, most - few), _drawn(heldout, few)


def _drawn(rows: Tensor, count: int) -> Tensor:
    return rows[permutation(stream_key(0, "detection images"), len(rows))[:count]].sort().values
