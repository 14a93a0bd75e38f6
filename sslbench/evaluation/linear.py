"""Linear probes: every learning rate and weight decay trained at once, as one matrix product."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sslbench.evaluation.accuracy import (
    Outcome,
    accuracies,
    chunks,
    complement,
    predictions,
    ranks,
)
from sslbench.evaluation.features import Features
from sslbench.evaluation.large import Rows, is_large, parts
from sslbench.evaluation.protocols import Linear
from sslbench.evaluation.subject import Subject
from sslbench.streams import permutation, stream_key

_LOGITS = 2**24  # logits held at a time when a sweep is scored


@dataclass(frozen=True)
class Standardization:
    """Features less their mean, over their spread; a constant feature becomes 0.

    Attributes:
        mean, scale: D float32.
    """

    mean: Tensor
    scale: Tensor

    @classmethod
    def of(cls, x: Tensor | Rows, *, least_spread: float) -> Standardization:
        """From N×D features. Sums are float64: a mean far from 0 would swallow the spread."""
        mean, square = torch.zeros(2, x.shape[1], dtype=torch.float64, device=x.device)
        for part in parts(x, 8192):
            mean += part.double().sum(0) / len(x)
        for part in parts(x, 8192):
            square += (part.double() - mean).square().sum(0) / len(x)
        spread = square.sqrt()
        # Relative to the feature's own size: beside a large mean a small spread is rounding.
        constant = spread <= least_spread * (square + mean.square()).sqrt()
        scale = torch.where(constant, 0.0, 1.0 / torch.where(constant, 1.0, spread))
        return cls(mean.float(), scale.float())

    def __call__(self, x: Tensor) -> Tensor:
        return (x - self.mean) * self.scale


class Sweep:
    """S independent softmax regressions on the same batches, one for each pair of settings.

    Weights and biases start at zero and are updated by SGD with momentum as in torch.optim.SGD
    (decay enters the gradient; biases are decayed too). A regression that diverges touches no
    other.

    Args:
        settings: S pairs (learning rate, weight decay).
    """

    def __init__(
        self, settings: list[tuple[float, float]], *, num_features: int, num_classes: int,
        momentum: float, device: torch.device,
    ) -> None:  # fmt: skip
        self.settings, self.num_classes, self.momentum = settings, num_classes, momentum
        rows = len(settings) * num_classes
        # The problem is convex: zero is as good a start as any, and needs no seed. A feature's
        # weights lie apart: side by side, the products of one setting take two to three times as
        # long on a CPU.
        self._weights = torch.zeros(rows, num_features, device=device)
        self._biases = torch.zeros(rows, 1, device=device)
        self._velocities = torch.zeros_like(self._weights), torch.zeros_like(self._biases)
        rates, decays = torch.tensor(settings, device=device).T[:, :, None]
        self._rates = rates.repeat_interleave(num_classes, dim=0)
        self._decays = decays.repeat_interleave(num_classes, dim=0) if any(decays) else None

    def logits(self, x: Tensor) -> Tensor:
        """N×D features to S×N×C."""
        out = torch.addmm(self._biases.T, x, self._weights.T)  # N×(S C)
        return out.view(len(x), len(self.settings), self.num_classes).transpose(0, 1)

    def logits_of(self, index: int, x: Tensor) -> Tensor:
        """N×D features to the N×C logits of one regression."""
        rows = slice(index * self.num_classes, (index + 1) * self.num_classes)
        return torch.addmm(self._biases[rows].T, x, self._weights[rows].T)

    def step(self, x: Tensor, labels: Tensor, *, factor: float) -> None:
        """One SGD step of all regressions on N×D features, rates times `factor`."""
        # Softmax less one-hot, by hand: all S regressions in one product, without a graph.
        gradient = self.logits(x).transpose(0, 1).softmax(-1)  # N×S×C, of each sample's loss
        gradient[torch.arange(len(x), device=x.device), :, labels] -= 1
        gradient, mean = gradient.flatten(1).T, 1 / len(x)  # (S C)×N
        weights, biases = self._velocities
        weights.addmm_(gradient, x, beta=self.momentum, alpha=mean)  # (S C)×D
        biases.mul_(self.momentum).add_(gradient.sum(1, keepdim=True), alpha=mean)
        for value, velocity in zip((self._weights, self._biases), self._velocities, strict=True):
            if self._decays is not None:
                velocity.addcmul_(value, self._decays)
            value.addcmul_(velocity, self._rates, value=-factor)

    def heldout(self, x: Tensor | Rows, labels: Tensor) -> tuple[list[float], list[float]]:
        """Of each regression top-1 in percent, and the mean cross-entropy (inf if it diverged)."""
        rows = max(1, _LOGITS // len(self._weights))
        correct, loss = torch.zeros(2, len(self.settings), dtype=torch.float64, device=x.device)
        for part, part_labels in zip(parts(x, rows), chunks(labels, rows), strict=True):
            logits = self.logits(part)  # S×n×C
            correct += (ranks(logits, part_labels) == 0).sum(-1)
            true = logits.gather(-1, part_labels.expand(logits.shape[:-1])[..., None])[..., 0]
            loss += (logits.logsumexp(-1) - true).sum(-1, dtype=torch.float64)
        loss = loss.nan_to_num(nan=math.inf)
        return (100 * correct / len(x)).tolist(), (loss / len(x)).tolist()

    def best(self, x: Tensor | Rows, labels: Tensor) -> tuple[int, float]:
        """The regression with the highest top-1, of equal ones that of the lowest loss, and its
        top-1 in percent."""
        top1, loss = self.heldout(x, labels)
        index = max(range(len(top1)), key=lambda i: (top1[i], -loss[i], -i))
        return index, top1[index]


def settings_of(protocol: Linear) -> list[tuple[float, float]]:
    """Every (learning rate, weight decay), small rates first."""
    return list(itertools.product(protocol.learning_rates, protocol.weight_decays))


@dataclass(frozen=True)
class Plan:
    """How long a probe trains: whole epochs, each of so many steps."""

    epochs: int
    per_epoch: int

    @classmethod
    def of(cls, length: int, protocol: Linear) -> Plan:
        """For so many training images."""
        per_epoch = math.ceil(length / protocol.batch_size)
        return cls(max(protocol.epochs, math.ceil(protocol.least_steps / per_epoch)), per_epoch)

    def factor(self, epoch: int, step: int) -> float:
        """The share of the rate at a step of an epoch: half a cosine from 1 down towards 0."""
        done = (epoch * self.per_epoch + step) / (self.epochs * self.per_epoch)
        return 0.5 * (1 + math.cos(math.pi * done))


def batches(length: int, *, epoch: int, protocol: Linear) -> tuple[Tensor, ...]:
    """The batches of one epoch as positions; the last one may be smaller."""
    key = stream_key(protocol.order_seed, "linear probe order", epoch)
    return chunks(permutation(key, length), protocol.batch_size)


def fit(
    x: Tensor | Rows, labels: Tensor, settings: list[tuple[float, float]], *,
    num_classes: int, protocol: Linear,
) -> Sweep:  # fmt: skip
    """Train on N×D features, standardised or not, and N int64 labels on one device."""
    sweep = Sweep(settings, num_features=x.shape[1], num_classes=num_classes,
                  momentum=protocol.momentum, device=x.device)  # fmt: skip
    plan = Plan.of(len(x), protocol)
    for epoch in range(plan.epochs):
        for i, rows in enumerate(batches(len(x), epoch=epoch, protocol=protocol)):
            rows = rows.to(x.device)
            sweep.step(x[rows], labels[rows], factor=plan.factor(epoch, i))
    return sweep


def run(protocol: Linear, subject: Subject) -> Outcome:
    """`linear` on a run and its data."""
    return linear(
        subject.features, subject.train_labels, subject.test_labels,
        heldout=subject.heldout, num_classes=subject.num_classes, protocol=protocol,
        device=subject.device,
    )  # fmt: skip


def linear(
    features: Features, train_labels: Tensor, test_labels: Tensor, *,
    heldout: Tensor, num_classes: int, protocol: Linear, device: torch.device | str = "cpu",
) -> Outcome:  # fmt: skip
    """Choose the settings on the held-out part, fit on all training images, test once.

    Args:
        features: train N×D, test M×D.
        train_labels, test_labels: N and M int64.
        heldout: positions in train that the choice is made on.
    """
    device = torch.device(device)
    train = features.train if is_large(features.train) else features.train.to(device)
    train_labels, test_labels = train_labels.to(device), test_labels.to(device)
    heldout = heldout.to(device)
    rest = complement(heldout, len(train)).to(device)
    settings = settings_of(protocol)
    seen = _rows(train, rest, device)
    change = standardization(seen, protocol)  # the held-out part is unseen here too
    sweep = fit(_changed(seen, change), train_labels[rest], settings,
                num_classes=num_classes, protocol=protocol)  # fmt: skip
    left = _rows(train, heldout, device)
    best, heldout_top1 = sweep.best(_changed(left, change), train_labels[heldout])

    seen = _rows(train, None, device)
    change = standardization(seen, protocol)
    # The chosen setting alone, from the start, now on the held-out images as well.
    final = fit(_changed(seen, change), train_labels, [settings[best]],
                num_classes=num_classes, protocol=protocol)  # fmt: skip
    scores = final.logits_of(0, change(features.test.to(device)))
    return outcome(scores, test_labels, setting=settings[best], heldout_top1=heldout_top1)


def _rows(train: Tensor, rows: Tensor | None, device: torch.device) -> Tensor | Rows:
    """Some of the training features, or all; large ones are left in their file."""
    if not is_large(train):
        return train if rows is None else train[rows]
    return Rows(train, torch.arange(len(train)) if rows is None else rows.cpu(), device=device)


def _changed(x: Tensor | Rows, change: Standardization) -> Tensor | Rows:
    return replace(x, change=change) if isinstance(x, Rows) else change(x)


def standardization(x: Tensor | Rows, protocol: Linear) -> Standardization:
    """The protocol's change of features, by the statistics of N×D training features."""
    if protocol.standardize:
        return Standardization.of(x, least_spread=protocol.least_spread)
    mean, scale = torch.zeros(x.shape[1], device=x.device), torch.ones(x.shape[1], device=x.device)
    return Standardization(mean, scale)


def outcome(
    scores: Tensor, labels: Tensor, *, setting: tuple[float, float], heldout_top1: float
) -> Outcome:
    """The outcome of N×C test logits."""
    return Outcome(
        values=accuracies(scores, labels),
        chosen={"learning_rate": setting[0], "weight_decay": setting[1]},
        heldout={"top1": heldout_top1},
        predicted=predictions(scores),
    )
