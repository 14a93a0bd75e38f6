"""The fits of semantic segmentation: short ones that choose the settings, and the long one."""

from __future__ import annotations

import functools
import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslbench.data.split import VOID
from sslbench.engine.fit import Curve, Diverged, Fit
from sslbench.engine.schedules import learning_rate_factor
from sslbench.evaluation.accuracy import chunks
from sslbench.evaluation.confusion import confusion, miou
from sslbench.evaluation.dense_kinds import SegmentationFineTune
from sslbench.evaluation.features import evaluation_mode
from sslbench.evaluation.fits import Steps, all_diverged, fit_name
from sslbench.evaluation.layers import layer_map, rate_groups, set_drop_path
from sslbench.evaluation.segmentation import Classes, truth_of
from sslbench.evaluation.subject import Subject, loaded_encoder
from sslbench.evaluation.tuning_fits import Choice, Setting
from sslbench.files import exists, read_json, user_io, write_atomically
from sslbench.models.maps import last_map, map_shapes
from sslbench.recipes.specs import Cosine, Crop, View, Views
from sslbench.streams import permutation, seed_generator, stream_key
from sslbench.typed import read_as
from sslbench.views import Augmenter, normalize
from sslbench.views.geometry import resample_labels

_BATCH = 64  # images segmented at a time


class Judged(TypedDict, total=False):
    """What a fit gave on images that it was not fitted on: mIoU in percent, mean cross-entropy of
    a pixel; nothing where it diverged."""

    miou: float
    loss: float


class Segmenter(nn.Module):
    """An encoder and a fully convolutional head on its last map.

    Args:
        encoder: one that has maps; channels: of the last one.
        key: from `streams.stream_key`, of the head's start; the global generator stays as it was.
    """

    def __init__(
        self, encoder: nn.Module, protocol: SegmentationFineTune, *, channels: int,
        num_classes: int, key: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.encoder = encoder
        with torch.random.fork_rng(devices=[]):
            seed_generator(key)
            self.head = fcn_head(
                channels, num_classes, width=protocol.width, dilation=protocol.dilation
            )

    def forward(self, images: Tensor) -> Tensor:
        """N×3×H×W normalised images to N×K×H×W logits."""
        logits = self.head(last_map(self.encoder, images))
        return F.interpolate(logits, size=images.shape[2:], mode="bilinear")


def fcn_head(channels: int, num_classes: int, *, width: int, dilation: int) -> nn.Sequential:
    """Two 3×3 convolutions with batch norm and ReLU, then a 1×1 one: N×C×h×w to N×K×h×w.

    Source: He et al. 2020 (MoCo), whose head on VOC has 256 channels and dilation 6.
    """
    layers: list[nn.Module] = []
    for before in (channels, width):
        layers += [
            nn.Conv2d(before, width, 3, padding=dilation, dilation=dilation, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers, nn.Conv2d(width, num_classes, 1))


@dataclass(frozen=True)
class SegmentationFits:
    """The fits of one protocol on one subject.

    Attributes:
        steps: of all the score's fits.
    """

    protocol: SegmentationFineTune
    subject: Subject
    steps: Steps = field(default_factory=Steps)

    @functools.cached_property
    def images(self) -> Tensor:
        """The training images on the device."""
        return self.subject.dataset.train.images.to(self.subject.device)

    @functools.cached_property
    def truth(self) -> Tensor:
        """uint8 N×H×W maps of the training images on the device."""
        return truth_of(self.subject.dataset.train).to(self.subject.device)

    @functools.cached_property
    def classes(self) -> Classes:
        """Of all training maps."""
        return Classes.of(self.truth, self.subject.num_classes)

    @functools.cached_property
    def seed(self) -> int:
        """The run's, which all draws are of."""
        return self.subject.folder.experiment().seed

    @functools.cached_property
    def settings(self) -> list[Setting]:
        """Every pair of rate and decay, small rates first."""
        decays = self.protocol.layer_decays
        if layer_map(self.subject.encoder) is None:
            decays = tuple(decay for decay in decays if decay == 1) or decays
        return list(itertools.product(self.protocol.learning_rates, decays))

    def planned(self) -> int:
        """Steps of the choice, if there is one, and of the fit that is judged."""
        choice = len(self.settings) * self.protocol.choice_iterations
        return (choice if len(self.settings) > 1 else 0) + self.protocol.iterations

    def choose(self, rows: Tensor, heldout: Tensor) -> Choice:
        """The best setting, by short fits on some rows of the training images, on others.

        Raises:
            UserError: every fit has diverged.
        """
        if len(self.settings) == 1:
            return Choice(self.settings[0], None)
        found: dict[Setting, tuple[float, float]] = {}
        for setting in self.settings:
            judged = self._judged(rows, setting, heldout)
            if judged:
                found[setting] = (judged["miou"], -judged["loss"])
        if not found:
            raise all_diverged(self.protocol, self.subject)
        # The first of equal ones has the lower rate.
        best = max(found, key=lambda setting: found[setting])
        return Choice(best, found[best][0])

    def fitted(self, rows: Tensor, setting: Setting, *, iterations: int) -> tuple[Segmenter, Curve]:
        """Encoder and head after so many iterations on some rows of the training images, from the
        run's own weights, and the losses. Its checkpoint stays until the score is kept.

        Raises:
            Diverged, Interrupted, UserError: as `Fit.run`.
        """
        rows = rows.to(self.subject.device)
        protocol = self.protocol
        module = self._start()
        rate, decay = setting
        batch = min(protocol.batch_size, len(rows))
        groups = rate_groups(module, layer_map(module.encoder), rate=rate * batch / 256,
                             decay=decay, weight_decay=protocol.weight_decay)  # fmt: skip
        schedule = Cosine(warmup_epochs=protocol.warmup)

        name = self._name(rows, setting, iterations)
        fit = Fit(
            what=f"segmentation of {self.subject.folder.path.name} (learning_rate {rate:g}, "
            f"layer_decay {decay:g})",
            module=module,
            optimizer=torch.optim.AdamW(groups, betas=protocol.betas, fused=True),
            steps=iterations,
            loss_of=_Loss(self, module, rows, batch),
            factor_of=lambda step: learning_rate_factor(
                schedule, step=step, steps_per_epoch=iterations, total_epochs=1
            ),
            seed=self.seed,
            path=self._folder / f"{name}.pt",
            digest=name,
            progress=self.steps.watch(self.subject),
        )
        fit.run()
        return module, fit.curve

    @torch.no_grad()
    def logits(self, module: Segmenter, images: Tensor) -> Iterator[Tensor]:
        """n×K×H×W of uint8 images, batch by batch, in evaluation mode."""
        subject = self.subject
        with evaluation_mode(module), torch.autocast(subject.device.type, enabled=False):
            for batch in chunks(images, _BATCH):
                x = normalize(batch.to(subject.device), subject.mean, subject.std)
                yield module(x.contiguous(memory_format=torch.channels_last))

    def predicted(self, module: Segmenter, images: Tensor) -> Tensor:
        """uint8 N×H×W maps of uint8 images, on the CPU."""
        values = self.classes.values.to(torch.uint8)
        return torch.cat([values[part.argmax(1)].cpu() for part in self.logits(module, images)])

    def _judged(self, rows: Tensor, setting: Setting, heldout: Tensor) -> Judged:
        """A short fit on some rows of the training images, judged on others and kept, so that a
        command that goes on where this one was killed reads it."""
        iterations = self.protocol.choice_iterations
        begun, name = self.steps.done, self._name(rows, setting, iterations)
        path = self._folder / f"{name}.json"
        if exists(path):
            found = read_as(read_json(path), Judged, where=path,
                            remedy="delete it and run the same command again")  # fmt: skip
        else:
            found = self._judge(rows, setting, heldout.to(self.subject.device))
            write_atomically(path, json.dumps(found))
        with user_io(path):
            path.with_suffix(".pt").unlink(missing_ok=True)
        self.steps.done = begun + iterations
        return found

    def _judge(self, rows: Tensor, setting: Setting, heldout: Tensor) -> Judged:
        try:
            module, _ = self.fitted(rows, setting, iterations=self.protocol.choice_iterations)
        except Diverged:
            return {}
        total, truth = self.classes.total, self.truth[heldout]
        matrix = torch.zeros(total, total, dtype=torch.int64, device=truth.device)
        loss = 0.0
        values = self.classes.values.to(torch.uint8)
        parts = zip(self.logits(module, self.images[heldout]), chunks(truth, _BATCH), strict=True)
        for logits, part in parts:
            matrix += confusion(part, values[logits.argmax(1)], part != VOID, num_classes=total)
            loss += float(summed_loss(logits.double(), self.classes.places(part)))
        loss /= int(matrix.sum())
        return {"miou": miou(matrix), "loss": loss} if math.isfinite(loss) else {}

    def _start(self) -> Segmenter:
        """The run's weights and a new head, all of which is to be trained."""
        subject = self.subject
        side = subject.dataset.resolution
        encoder = loaded_encoder(subject.folder, subject.recipe, resolution=side,
                                 mean=subject.mean, std=subject.std)  # fmt: skip
        encoder.requires_grad_(True)
        set_drop_path(encoder, self.protocol.drop_path)
        module = Segmenter(
            encoder, self.protocol, channels=map_shapes(encoder, resolution=side)[-1].channels,
            num_classes=len(self.classes.values), key=stream_key(self.seed, "segmentation head"),
        )  # fmt: skip
        return module.train().to(subject.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def _folder(self) -> Path:
        return self.subject.fits_path(self.protocol.name)

    def _name(self, rows: Tensor, setting: Setting, iterations: int) -> str:
        """What a fit is of, as 16 hex digits."""
        return fit_name(self.protocol, self.subject, rows, self.seed, setting, iterations)


def summed_loss(logits: Tensor, places: Tensor) -> Tensor:
    """Cross-entropy of n×K×H×W logits, summed over the pixels of n×H×W that are not void."""
    return F.cross_entropy(logits, places.long(), ignore_index=VOID, reduction="sum")


class _Loss:
    """The loss of a step: crops and flips of image and map together, cross-entropy of pixels."""

    def __init__(self, fits: SegmentationFits, module: Segmenter, rows: Tensor, batch: int) -> None:
        self.fits, self.module, self.rows, self.batch = fits, module, rows, batch
        protocol, subject = fits.protocol, fits.subject
        view = View(crop=Crop(scale=protocol.crop_scale), flip=protocol.flip, jitter=None,
                    grayscale=0.0, blur=None)  # fmt: skip
        self.augment = Augmenter(
            Views(first=view, num_global=1), resolution=subject.dataset.resolution,
            mean=subject.mean, std=subject.std,
        )  # fmt: skip
        self.places = fits.classes.places(fits.truth)
        self._order: tuple[int, Tensor] = (-1, rows)

    def __call__(self, step: int) -> Tensor:
        epoch, within = divmod(step, max(1, len(self.rows) // self.batch))
        chosen = self._chosen(epoch, within)
        key = stream_key(self.fits.seed, "segmentation views", epoch, within)
        (view,) = self.augment(self.fits.images[chosen], key=key, samples=chosen)
        places = resample_labels(self.places[chosen], view.box, view.flipped,
                                 side=view.images.shape[-1])  # fmt: skip
        logits = self.module(view.images.contiguous(memory_format=torch.channels_last))
        # A batch of which nothing is known has a loss of 0, not of 0 / 0.
        return summed_loss(logits.float(), places) / (places != VOID).sum().clamp(min=1)

    def _chosen(self, epoch: int, within: int) -> Tensor:
        """Positions among the training images of one batch of the epoch's permutation."""
        if self._order[0] != epoch:
            key = stream_key(self.fits.seed, "segmentation order", epoch)
            order = permutation(key, len(self.rows)).to(self.rows.device)
            self._order = (epoch, self.rows[order])
        return self._order[1][within * self.batch : (within + 1) * self.batch]
