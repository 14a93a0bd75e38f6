"""The fits of fine-tuning: short ones that choose the settings, and the long one that is judged."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslbench.data import Reader, Split
from sslbench.engine.fit import Diverged, Fit
from sslbench.engine.schedules import learning_rate_factor
from sslbench.evaluation.accuracy import accuracies
from sslbench.evaluation.features import encode
from sslbench.evaluation.finetune_kinds import Tuned
from sslbench.evaluation.fits import Steps, all_diverged, fit_name
from sslbench.evaluation.layers import layer_map, rate_groups, set_drop_path, set_modes, train_last
from sslbench.evaluation.subject import Subject, loaded_encoder
from sslbench.files import exists, read_json, user_io, write_atomically
from sslbench.models.heads import width
from sslbench.recipes.specs import Cosine, Crop, View, Views
from sslbench.streams import permutation, seed_generator, stream_key
from sslbench.typed import read_as
from sslbench.views import Augmenter
from sslbench.views.mixing import erase, mix, soft_labels

Setting = tuple[float, float]  # rate for 256 images, layer decay


class Judged(TypedDict, total=False):
    """What a fit gave on images that it was not fitted on: top-1 in percent, mean cross-entropy;
    nothing where it diverged."""

    top1: float
    loss: float


class Classifier(nn.Module):
    """An encoder and a linear head on its output.

    Args:
        encoder: N×3×H×W to N×num_features.
        std: of the head's truncated normal weights; its bias is 0.
        key: from `streams.stream_key`; the global generator stays as it was.
    """

    def __init__(self, encoder: nn.Module, num_classes: int, *, std: float, key: int) -> None:
        super().__init__()
        self.encoder = encoder
        with torch.random.fork_rng(devices=[]):
            seed_generator(key)
            self.head = nn.Linear(width(encoder, "num_features"), num_classes)
            nn.init.trunc_normal_(self.head.weight, std=std)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        """N×3×H×W normalised images to N×C logits."""
        logits: Tensor = self.head(self.encoder(images).flatten(1))
        return logits


@dataclass(frozen=True)
class Choice:
    """The best pair of rate and layer decay, and its top-1 on the held-out part in percent; None
    where there was one pair alone."""

    setting: Setting
    heldout: float | None


@dataclass(frozen=True)
class Tuning:
    """The fits of one protocol on one subject.

    Attributes:
        blocks: how many of the encoder's last blocks are trained (`layers.train_last`); None: all
            of it.
        steps: of all the score's fits.
    """

    protocol: Tuned
    subject: Subject
    blocks: float | None = None
    steps: Steps = field(default_factory=Steps)

    @functools.cached_property
    def train(self) -> Split:
        """The training images and labels on the device."""
        return self.subject.dataset.train.to(self.subject.device)

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

    def planned(self, rows: int, choosing: int) -> int:
        """Steps of a choice on so many images, if there is one, and a fit on all `rows`."""
        choice = 0
        if len(self.settings) > 1:
            choice = len(self.settings) * self._steps(choosing, self.protocol.choice_epochs)
        return choice + self._steps(rows, self.protocol.epochs)

    def choose(self, rows: Tensor, heldout: Tensor) -> Choice:
        """The best setting, by short fits on some rows of the training images, on others.

        Args:
            rows, heldout: int64 positions, of which none is in both.
        Raises:
            UserError: every fit has diverged.
        """
        if len(self.settings) == 1:
            return Choice(self.settings[0], None)
        images = self.train[heldout.to(self.subject.device)].images
        labels = self.subject.train_labels[heldout]
        found: dict[Setting, tuple[float, float]] = {}
        for setting in self.settings:
            judged = self.judged(rows, setting, images, labels, epochs=self.protocol.choice_epochs)
            if judged:
                found[setting] = (judged["top1"], -judged["loss"])
        if not found:
            raise all_diverged(self.protocol, self.subject)
        # The first of equal ones has the lower rate.
        best = max(found, key=lambda setting: found[setting])
        return Choice(best, found[best][0])

    def scores(self, rows: Tensor, setting: Setting, images: Tensor, *, epochs: int) -> Tensor:
        """N×C logits of uint8 images after a fit on some rows of the training images.

        Raises:
            Diverged, Interrupted, UserError: as `Fit.run`.
        """
        classifier = self.fitted(rows, setting, epochs=epochs)
        return encode(classifier, images, mean=self.subject.mean, std=self.subject.std)

    def fitted(self, rows: Tensor, setting: Setting, *, epochs: int) -> Classifier:
        """Encoder and head after so many epochs on some rows of the training images, from the
        run's own weights. Its checkpoint stays until the score is kept."""
        rows = rows.to(self.subject.device)
        module = self._start()
        rate, decay = setting
        groups = rate_groups(
            module, layer_map(module.encoder), rate=rate * self.batch(len(rows)) / 256,
            decay=decay, weight_decay=self.protocol.weight_decay,
        )  # fmt: skip
        per_epoch = len(rows) // self.batch(len(rows))
        schedule = Cosine(warmup_epochs=self.protocol.warmup * epochs)

        name = self._name(rows, setting, epochs)
        loss = _Loss(self, module, rows, per_epoch, epochs)
        fit = Fit(
            what=f"fine-tuning of {self.subject.folder.path.name} (learning_rate {rate:g}, "
            f"layer_decay {decay:g})",
            module=module,
            optimizer=torch.optim.AdamW(groups, betas=self.protocol.betas, fused=True),
            steps=epochs * per_epoch,
            loss_of=loss,
            factor_of=lambda step: learning_rate_factor(
                schedule, step=step, steps_per_epoch=per_epoch, total_epochs=epochs
            ),
            seed=self.seed,
            path=self._folder / f"{name}.pt",
            digest=name,
            progress=self.steps.watch(self.subject),
        )
        with contextlib.closing(loss.reader):
            fit.run()
        return module

    def judged(
        self, rows: Tensor, setting: Setting, images: Tensor, labels: Tensor, *, epochs: int
    ) -> Judged:
        """A fit on some rows of the training images, judged on other images and kept, so that a
        command that goes on where this one was killed reads it."""
        begun, name = self.steps.done, self._name(rows, setting, epochs)
        path = self._folder / f"{name}.json"
        if exists(path):
            found = read_as(read_json(path), Judged, where=path,
                            remedy="delete it and run the same command again")  # fmt: skip
        else:
            found = self._judge(rows, setting, images, labels, epochs)
            write_atomically(path, json.dumps(found))
        with user_io(path):
            path.with_suffix(".pt").unlink(missing_ok=True)
        self.steps.done = begun + self._steps(len(rows), epochs)
        return found

    def _judge(
        self, rows: Tensor, setting: Setting, images: Tensor, labels: Tensor, epochs: int
    ) -> Judged:
        try:
            logits = self.scores(rows, setting, images, epochs=epochs)
        except Diverged:
            return {}
        loss = float(F.cross_entropy(logits.double(), labels))
        if not math.isfinite(loss):
            return {}
        return {"top1": accuracies(logits, labels)["top1"], "loss": loss}

    def _start(self) -> Classifier:
        """The run's weights and a new head, of which what is to be trained is."""
        subject = self.subject
        encoder = loaded_encoder(
            subject.folder, subject.recipe, resolution=subject.dataset.resolution,
            mean=subject.mean, std=subject.std,
        )  # fmt: skip
        encoder.requires_grad_(True)
        set_drop_path(encoder, self.protocol.drop_path)
        if self.blocks is not None:
            layers = layer_map(encoder)
            assert layers is not None  # which the check has seen
            train_last(encoder, layers, blocks=self.blocks)
        key = stream_key(self.seed, "finetune head")
        module = Classifier(encoder, subject.num_classes, std=self.protocol.head_std, key=key)
        set_modes(module)
        return module.to(subject.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def _folder(self) -> Path:
        return self.subject.fits_path(self.protocol.name)

    def batch(self, count: int) -> int:
        """Images of a step, of so many: all of them where they are few."""
        return min(self.protocol.batch_size, count)

    def _steps(self, count: int, epochs: int) -> int:
        return epochs * (count // self.batch(count))

    def _name(self, rows: Tensor, setting: Setting, epochs: int) -> str:
        """What a fit is of, as 16 hex digits."""
        return fit_name(self.protocol, self.subject, rows, self.seed, self.blocks, setting, epochs)


class _Loss:
    """The loss of a step: crops and flips, erasing, mixing, soft cross-entropy."""

    def __init__(
        self, tuning: Tuning, module: Classifier, rows: Tensor, per_epoch: int, epochs: int
    ) -> None:
        self.tuning, self.module, self.rows, self.per_epoch = tuning, module, rows, per_epoch
        protocol, subject = tuning.protocol, tuning.subject
        view = View(crop=Crop(scale=protocol.crop_scale), flip=protocol.flip, jitter=None,
                    grayscale=0.0, blur=None)  # fmt: skip
        self.augment = Augmenter(
            Views(first=view, num_global=1), resolution=subject.dataset.resolution,
            mean=subject.mean, std=subject.std,
        )  # fmt: skip
        self.batch = tuning.batch(len(rows))
        self.reader = Reader(tuning.train.images, self._chosen, epochs * per_epoch)
        self._order = functools.lru_cache(maxsize=2)(self._order_of)  # reading ahead needs the next

    def __call__(self, step: int) -> Tensor:
        epoch, within = divmod(step, self.per_epoch)
        protocol, train = self.tuning.protocol, self.tuning.train
        assert train.labels is not None
        chosen = self._chosen(step)
        (view,) = self.augment(
            self.reader.batch(step), key=self._key("views", epoch, within), samples=chosen
        )
        images = erase(view.images, key=self._key("erasing", epoch, within), samples=chosen,
                       probability=protocol.erasing)  # fmt: skip
        targets = soft_labels(train.labels[chosen], self.tuning.subject.num_classes,
                              smoothing=protocol.label_smoothing)  # fmt: skip
        images, targets = mix(images, targets, key=self._key("mixing", epoch, within),
                              mixup=protocol.mixup, cutmix=protocol.cutmix)  # fmt: skip
        logits = self.module(images.contiguous(memory_format=torch.channels_last))
        return F.cross_entropy(logits.float(), targets)

    def _key(self, purpose: str, epoch: int, step: int) -> int:
        return stream_key(self.tuning.seed, f"finetune {purpose}", epoch, step)

    def _chosen(self, step: int) -> Tensor:
        """Positions among the training images of a step's batch of its epoch's permutation."""
        epoch, within = divmod(step, self.per_epoch)
        return self._order(epoch)[within * self.batch : (within + 1) * self.batch]

    def _order_of(self, epoch: int) -> Tensor:
        key = stream_key(self.tuning.seed, "finetune order", epoch)
        return self.rows[permutation(key, len(self.rows)).to(self.rows.device)]
