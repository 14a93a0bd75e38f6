"""The fits of detection: short ones that choose the rate, and the long one that is judged."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from sslbench.data.split import Split
from sslbench.engine.fit import Curve, Diverged, Fit
from sslbench.engine.schedules import learning_rate_factor
from sslbench.errors import UserError
from sslbench.evaluation.accuracy import chunks, complement
from sslbench.evaluation.detection_kinds import Detection
from sslbench.evaluation.detection_metrics import Detections, average_precision
from sslbench.evaluation.detectors import Target, build_detector
from sslbench.evaluation.features import evaluation_mode, file_hash
from sslbench.evaluation.layers import rate_groups
from sslbench.evaluation.subject import Subject, loaded_encoder
from sslbench.evaluation.tuning_fits import Steps
from sslbench.files import exists, read_json, user_io, write_atomically
from sslbench.recipes import specs
from sslbench.streams import permutation, stream_key, uniform
from sslbench.typed import read_as
from sslbench.views import normalize

Precisions = dict[str, float]  # of boxes, and of masks; nothing where a fit has diverged
IMAGES = 16  # for which a rate is given
_BATCH = 32  # images in which objects are looked for at a time
_SEED_MASK = 0x7FFFFFFFFFFFFFFF


@dataclass(frozen=True)
class Fits:
    """The fits of one protocol on one subject."""

    protocol: Detection
    subject: Subject
    steps: Steps = field(default_factory=Steps)

    @functools.cached_property
    def train(self) -> Split:
        """The training images and objects on the device."""
        return self.subject.dataset.train.to(self.subject.device)

    @functools.cached_property
    def seed(self) -> int:
        """The run's, which all draws are of."""
        return self.subject.folder.experiment().seed

    def choose(self, rest: Tensor, heldout: Tensor) -> tuple[float, Precisions]:
        """The best rate, by short fits on some rows of the training images, on others; and what it
        gave there: nothing where there is one rate alone.

        Raises:
            UserError: every fit has diverged.
        """
        rates = self.protocol.learning_rates
        if len(rates) == 1:
            return rates[0], {}
        found = {rate: self.judged(rest, rate, heldout) for rate in rates}
        kept = {rate: values for rate, values in found.items() if values}
        if not kept:
            raise UserError(
                f"Every fit of {self.protocol.name} on {self.subject.folder.path.name} has "
                "diverged, at all rates: the encoder's own training may have; see its verdict."
            )
        key = self.protocol.key
        # The first of equal ones has the lower rate.
        best = max(kept, key=lambda rate: (kept[rate][key], kept[rate][f"{key}50"]))
        return best, kept[best]

    def judged(self, rows: Tensor, rate: float, heldout: Tensor) -> Precisions:
        """A short fit on some rows of the training images, judged on others and kept, so that a
        command that goes on where this one was killed reads it."""
        iterations = self.protocol.choice_iterations
        begun, name = self.steps.done, self._name(rows, rate, iterations)
        path = self._folder / f"{name}.json"
        if exists(path):
            found = read_as(read_json(path), Precisions, where=path,
                            remedy="delete it and run the same command again")  # fmt: skip
        else:
            try:
                detector, _ = self.fitted(rows, rate, iterations=iterations)
                split = self.subject.dataset.train[heldout]
                found = precisions(split, self.found(detector, split.images))
            except Diverged:
                found = {}
            write_atomically(path, json.dumps(found))
        with user_io(path):
            path.with_suffix(".pt").unlink(missing_ok=True)
        self.steps.done = begun + iterations
        return found

    def fitted(self, rows: Tensor, rate: float, *, iterations: int) -> tuple[nn.Module, Curve]:
        """The detector in evaluation mode after so many iterations on some rows of the training
        images, from the run's own weights, and its losses. Its checkpoint stays until the score is
        kept.

        Raises:
            Diverged, Interrupted, UserError: as `Fit.run`.
        """
        protocol, begun = self.protocol, self.steps.done
        detector = self._start()
        scaled = rate * protocol.batch_size / IMAGES
        groups = rate_groups(detector, None, rate=scaled, decay=1.0,
                             weight_decay=protocol.weight_decay)  # fmt: skip
        schedule = specs.Steps(milestones=protocol.milestones, factor=0.1,
                               warmup_epochs=protocol.warmup)  # fmt: skip

        def progress(step: int, steps: int, metrics: Mapping[str, float]) -> None:
            self.steps.done = begun + step
            if self.subject.progress is not None:
                self.subject.progress(
                    self.steps.done, max(self.steps.total, self.steps.done), metrics
                )

        name = self._name(rows, rate, iterations)
        batches = Batches(self, rows)
        fit = Fit(
            what=f"{protocol.name} of {self.subject.folder.path.name} (learning_rate {rate:g})",
            module=detector,
            optimizer=torch.optim.SGD(groups, momentum=protocol.momentum, fused=True),
            steps=iterations,
            loss_of=lambda step: torch.stack(list(detector(*batches(step)).values())).sum(),
            factor_of=lambda step: learning_rate_factor(
                schedule, step=step, steps_per_epoch=iterations, total_epochs=1
            ),
            seed=self.seed,
            path=self._folder / f"{name}.pt",
            digest=name,
            progress=progress,
        )
        fit.run()
        self._renew_norms(detector, batches, first=iterations)
        return detector.eval(), fit.curve

    @torch.no_grad()
    def found(self, detector: nn.Module, images: Tensor) -> Detections:
        """What a detector in evaluation mode finds in uint8 images."""
        subject, results = self.subject, []
        with evaluation_mode(detector), torch.autocast(subject.device.type, enabled=False):
            for batch in chunks(images, _BATCH):
                inputs = normalize(batch.to(subject.device), subject.mean, subject.std)
                results += [{k: v.cpu() for k, v in r.items()} for r in detector(inputs)]
        counts = torch.tensor([len(result["scores"]) for result in results])
        mask = torch.cat([r["masks"] for r in results]) if self.protocol.masks else None
        return Detections(
            torch.arange(len(results)).repeat_interleave(counts),
            torch.cat([r["boxes"] for r in results]),
            torch.cat([r["scores"] for r in results]),
            torch.cat([r["labels"] for r in results]) - 1,
            mask,
        )

    def _start(self) -> nn.Module:
        """The run's weights and new heads, all of which is to be trained."""
        subject = self.subject
        side = subject.dataset.resolution
        encoder = loaded_encoder(subject.folder, subject.recipe, resolution=side,
                                 mean=subject.mean, std=subject.std)  # fmt: skip
        detector = build_detector(
            encoder.requires_grad_(True), self.protocol, num_classes=subject.num_classes,
            side=side, key=stream_key(self.seed, "detection heads"),
        )  # fmt: skip
        return detector.train().to(subject.device)

    @torch.no_grad()
    def _renew_norms(self, detector: nn.Module, batches: Batches, *, first: int) -> None:
        """Replace the running statistics of batch norms by means over the batches that follow.

        Source: Wu and Johnson 2021, "Rethinking 'Batch' in BatchNorm", Sec. 3: precise BN.
        """
        norms = [m for m in detector.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # a mean over all batches
        device = self.subject.device
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), torch.autocast(device.type, enabled=False):
            for step in range(first, first + self.protocol.norm_batches):
                torch.manual_seed(stream_key(self.seed, "detection norms", step) & _SEED_MASK)
                detector(*batches(step))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum

    @property
    def _folder(self) -> Path:
        return self.subject.fits_path(self.protocol.name)

    def _name(self, rows: Tensor, rate: float, iterations: int) -> str:
        """What a fit is of, as 16 hex digits."""
        subject = self.subject
        parts = (
            self.protocol.definition, file_hash(subject.folder.encoder_path),
            subject.dataset.fingerprint, subject.mean, subject.std, self.seed, rate, iterations,
            hashlib.sha256(rows.cpu().numpy().tobytes()).hexdigest(),
        )  # fmt: skip
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


class Batches:
    """Batches of some rows of the training images with their objects, by step, each a function of
    the step: a permutation of the rows after the other, half of the images mirrored."""

    def __init__(self, fits: Fits, rows: Tensor) -> None:
        self.fits, self.rows = fits, rows.cpu()
        known = fits.train.instances
        assert known is not None
        if known.crowd is not None:
            keep = ~known.crowd
            kept = {name: getattr(known, name)[keep] for name in ("image", "box", "label")}
        else:
            keep = torch.ones_like(known.label, dtype=torch.bool)
            kept = {name: getattr(known, name) for name in ("image", "box", "label")}
        counts = torch.bincount(kept["image"], minlength=len(fits.train)).tolist()
        self.boxes = kept["box"].split(counts)
        self.labels = (kept["label"] + 1).split(counts)  # 0 is the background
        masks = known.mask if fits.protocol.masks else None
        self.masks = None if masks is None else masks[keep].split(counts)

    def __call__(self, step: int) -> tuple[Tensor, list[Target]]:
        """Normalised images N×3×H×W, and boxes, labels and masks of each."""
        subject, seed = self.fits.subject, self.fits.seed
        chosen = self._chosen(step)
        key = stream_key(seed, "detection flip", step)
        places = torch.arange(len(chosen))
        flipped = uniform(key, places, 1)[:, 0] < self.fits.protocol.flip
        images = normalize(self.fits.train.images[chosen.to(subject.device)], subject.mean,
                           subject.std)  # fmt: skip
        mirrored = flipped.to(subject.device)[:, None, None, None]
        images = torch.where(mirrored, images.flip(-1), images)
        rows = zip(chosen.tolist(), flipped.tolist(), strict=True)
        return images, [self._target(image, mirror) for image, mirror in rows]

    def _target(self, image: int, mirror: bool) -> Target:
        box = self.boxes[image]
        if mirror:
            left, top, right, bottom = box.unbind(1)
            side = self.fits.train.images.shape[-1]
            box = torch.stack([side - right, top, side - left, bottom], 1)
        target = {"boxes": box, "labels": self.labels[image]}
        if self.masks is not None:
            mask = self.masks[image]
            target["masks"] = (mask.flip(-1) if mirror else mask).to(torch.uint8)
        return target

    def _chosen(self, step: int) -> Tensor:
        """Positions among the training images of the step's batch, on the CPU."""
        size, count = self.fits.protocol.batch_size, len(self.rows)
        places = range(step * size, (step + 1) * size)
        orders = {epoch: self._order(epoch) for epoch in {place // count for place in places}}
        return torch.stack([orders[place // count][place % count] for place in places])

    def _order(self, epoch: int) -> Tensor:
        return self.rows[permutation(stream_key(self.fits.seed, "detection order", epoch),
                                     len(self.rows))]  # fmt: skip


def precisions(split: Split, found: Detections) -> Precisions:
    """AP, AP50 and AP75 of what was found in a split; with masks those of boxes and of masks."""
    assert split.instances is not None
    truth = split.instances.to("cpu")
    boxes = average_precision(truth, found, num_images=len(split))
    if found.mask is None:
        return boxes
    masks = average_precision(truth, found, num_images=len(split), kind="segm")
    return {f"box_{name}": value for name, value in boxes.items()} | {
        f"mask_{name}": value for name, value in masks.items()
    }


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
