"""The papers' linear probe: the frozen encoder sees other crops and flips in every epoch."""

from __future__ import annotations

import torch
from torch import Tensor

from sslbench.evaluation.accuracy import Outcome, complement
from sslbench.evaluation.linear import (
    Plan,
    Sweep,
    batches,
    outcome,
    settings_of,
    standardization,
)
from sslbench.evaluation.protocols import AugmentedLinear
from sslbench.evaluation.subject import Subject
from sslbench.recipes.specs import Crop, View, Views
from sslbench.streams import stream_key


def run(protocol: AugmentedLinear, subject: Subject) -> Outcome:
    """Choose the settings on the held-out part, and test the same settings fitted on all images.

    Both fits follow the same epochs, so that every augmented image is encoded once: a sweep that
    leaves the held-out images out, and one with them, of which the chosen regression is read.

    Args:
        protocol: its number of epochs is the number of passes of the encoder.
        subject: run and data.
    """
    device, heldout = subject.device, subject.heldout
    labels, settings = subject.train_labels.to(device), settings_of(protocol)
    rest = complement(heldout, len(labels))
    everything, views = torch.arange(len(labels)), _views(protocol)
    choosing = _Fit(subject, rest, settings, protocol)
    final = _Fit(subject, everything, settings, protocol)
    for epoch in range(choosing.plan.epochs):
        key = stream_key(protocol.order_seed, "linear probe views", epoch)
        # N×D of this epoch's crops, encoded once for both fits.
        (x,) = subject.encode_views(subject.dataset.train.images, everything, views, key=key)
        for fit in (choosing, final):
            fit.epoch(x, labels, epoch)
    # Chosen and tested on whole images, without augmentation.
    plain = subject.features.train[heldout].to(device)
    best, heldout_top1 = choosing.sweep.best(choosing.change(plain), labels[heldout.to(device)])
    test = final.change(subject.features.test.to(device))
    return outcome(final.sweep.logits_of(best, test), subject.test_labels.to(device),
                   setting=settings[best], heldout_top1=heldout_top1)  # fmt: skip


class _Fit:
    """A sweep on some rows of the training images, an epoch at a time."""

    def __init__(
        self, subject: Subject, rows: Tensor, settings: list[tuple[float, float]],
        protocol: AugmentedLinear,
    ) -> None:  # fmt: skip
        self.rows, self.protocol = rows.to(subject.device), protocol
        plain = subject.features.train[rows].to(subject.device)
        # By the features of whole images: the same change in every epoch and for the test.
        self.change = standardization(plain, protocol)
        self.sweep = Sweep(settings, num_features=plain.shape[1], num_classes=subject.num_classes,
                           momentum=protocol.momentum, device=subject.device)  # fmt: skip
        self.plan = Plan.of(len(rows), protocol)

    def epoch(self, x: Tensor, labels: Tensor, epoch: int) -> None:
        """One pass over this fit's rows of the augmented features of all training images."""
        order = batches(len(self.rows), epoch=epoch, protocol=self.protocol)
        for i, positions in enumerate(order):
            rows = self.rows[positions.to(self.rows.device)]
            factor = self.plan.factor(epoch, i)
            self.sweep.step(self.change(x[rows]), labels[rows], factor=factor)


def _views(protocol: AugmentedLinear) -> Views:
    view = View(
        crop=Crop(scale=protocol.crop_scale), flip=protocol.flip, jitter=None, grayscale=0.0,
        blur=None,
    )  # fmt: skip
    return Views(first=view, num_global=1)
