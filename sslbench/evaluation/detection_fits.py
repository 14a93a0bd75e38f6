"""The fits of detection: short ones that choose the rate, and the long one that is judged."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sslbench.data.split import Split
from sslbench.engine.fit import Curve, Diverged, Fit
from sslbench.engine.progress import Progress
from sslbench.engine.schedules import learning_rate_factor
from sslbench.evaluation.accuracy import chunks
from sslbench.evaluation.detection_batches import Batches
from sslbench.evaluation.detection_kinds import Detection
from sslbench.evaluation.detection_metrics import Detections, judged
from sslbench.evaluation.detectors import build_detector
from sslbench.evaluation.features import evaluation_mode
from sslbench.evaluation.fits import Steps, all_diverged, fit_name
from sslbench.evaluation.layers import rate_groups, set_drop_path
from sslbench.evaluation.subject import Subject, loaded_encoder
from sslbench.files import exists, read_json, user_io, write_atomically
from sslbench.recipes import specs
from sslbench.streams import seed_generator, stream_key
from sslbench.typed import read_as
from sslbench.views import normalize

Precisions = dict[str, float]  # of boxes, and of masks; nothing where a fit has diverged
IMAGES = 16  # for which a rate is given
_BATCH = 32  # images in which objects are looked for at a time


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

    def batches(self, rows: Tensor) -> Batches:
        """Of some rows of the training images."""
        subject = self.subject
        return Batches(self.train, rows, protocol=self.protocol, seed=self.seed, mean=subject.mean,
                       std=subject.std)  # fmt: skip

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
            raise all_diverged(self.protocol, self.subject)
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
                found, _ = precisions(split, self.found(detector, split.images))
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
        protocol = self.protocol
        detector = self._start()
        scaled = rate * protocol.batch_size / IMAGES
        groups = rate_groups(detector, None, rate=scaled, decay=1.0,
                             weight_decay=protocol.weight_decay)  # fmt: skip

        name, batches = self._name(rows, rate, iterations), self.batches(rows)
        optimizer = torch.optim.SGD(groups, momentum=protocol.momentum, fused=True)
        fit = self.fit(detector, optimizer, batches, steps=iterations,
                       path=self._folder / f"{name}.pt", digest=name,
                       progress=self.steps.watch(self.subject))  # fmt: skip
        fit.run()
        self._renew_norms(detector, batches, first=iterations)
        return detector.eval(), fit.curve

    def fit(
        self, detector: nn.Module, optimizer: torch.optim.Optimizer, batches: Batches, *,
        steps: int, path: Path, digest: str = "", progress: Progress | None = None,
    ) -> Fit:  # fmt: skip
        """The training of a detector, in training mode, under the protocol's schedule."""
        protocol = self.protocol
        schedule = specs.Steps(milestones=protocol.milestones, factor=0.1,
                               warmup_epochs=protocol.warmup)  # fmt: skip
        rate = optimizer.param_groups[0]["base_lr"] * IMAGES / protocol.batch_size
        return Fit(
            what=f"{protocol.name} of {self.subject.folder.path.name} (learning_rate {rate:g})",
            module=detector,
            optimizer=optimizer,
            steps=steps,
            loss_of=lambda step: torch.stack(list(detector(*batches(step)).values())).sum(),
            factor_of=lambda step: learning_rate_factor(
                schedule, step=step, steps_per_epoch=steps, total_epochs=1
            ),
            seed=self.seed,
            path=path,
            digest=digest,
            progress=progress,
        )

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
        set_drop_path(encoder, 0.0)  # a run may have had one, and its scratch has none
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
                seed_generator(stream_key(self.seed, "detection norms", step), device)
                detector(*batches(step))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum

    @property
    def _folder(self) -> Path:
        return self.subject.fits_path(self.protocol.name)

    def _name(self, rows: Tensor, rate: float, iterations: int) -> str:
        """What a fit is of, as 16 hex digits."""
        return fit_name(self.protocol, self.subject, rows, self.seed, rate, iterations)


def precisions(split: Split, found: Detections) -> tuple[Precisions, dict[str, np.ndarray]]:
    """AP, AP50 and AP75 of what was found in a split, and the verdicts on it as they are kept; with
    masks those of boxes and of masks."""
    assert split.instances is not None
    truth = split.instances.to("cpu")
    boxes = judged(truth, found, num_images=len(split))
    if found.mask is None:
        return boxes.values, boxes.verdicts
    masks = judged(truth, found, num_images=len(split), kind="segm")
    values = {f"box_{name}": value for name, value in boxes.values.items()}
    values |= {f"mask_{name}": value for name, value in masks.values.items()}
    verdicts = {f"mask_{name}": array for name, array in masks.verdicts.items()}
    return values, boxes.verdicts | verdicts
