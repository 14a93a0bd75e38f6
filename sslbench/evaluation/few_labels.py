"""Linear probes on few labels: nested, stratified subsets of the training images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median, stdev
from typing import NamedTuple

import torch
from torch import Tensor

from sslbench.errors import UserError
from sslbench.evaluation.accuracy import Outcome, accuracies
from sslbench.evaluation.linear import fit, settings_of, standardization
from sslbench.evaluation.protocols import FewLabels
from sslbench.evaluation.subject import Subject
from sslbench.streams import permutation, stream_key

Setting = tuple[float, float]


def check(protocol: FewLabels, subject: Subject) -> None:
    """Raise UserError for a fraction that is none, or leaves a class too few labels."""
    for fraction in protocol.fractions:
        require_fraction(subject.train_labels, fraction, classes=subject.dataset.classes, least=2)


def run(protocol: FewLabels, subject: Subject) -> Outcome:
    """Mean and standard deviation over the draws of the test accuracy, for each fraction."""
    device = subject.device
    train, test = subject.features.train.to(device), subject.features.test.to(device)
    change = standardization(train, protocol)
    train, test = change(train), change(test)
    labels, true = subject.train_labels, subject.test_labels.to(device)
    found: dict[str, list[Drawn]] = {}
    for fraction in protocol.fractions:
        draws = found[f"{100 * fraction:g}"] = []
        for draw in range(protocol.draws):
            rows, folds = subset(
                labels, fraction, seed=protocol.draw_seed, folds=protocol.folds, draw=draw
            )
            x, y = train[rows.to(device)], labels[rows].to(device)
            setting, inside = choose(
                x, y, folds.to(device), num_classes=subject.num_classes, protocol=protocol
            )
            sweep = fit(x, y, [setting], num_classes=subject.num_classes, protocol=protocol)
            top1 = accuracies(sweep.logits_of(0, test), true)["top1"]
            draws.append(Drawn(top1, setting[0], inside))
    return over_draws(found)


class Drawn(NamedTuple):
    """What one draw of labels gave: top-1 on the test images, the chosen rate, and its top-1 among
    the drawn labels; in percent, the last None where there was no choice."""

    top1: float
    rate: float
    inside: float | None


def over_draws(found: Mapping[str, Sequence[Drawn]]) -> Outcome:
    """Means and sample standard deviations of at least two draws of each percentage of labels."""
    values: dict[str, float] = {}
    chosen: dict[str, float] = {}
    heldout: dict[str, float] = {}
    for name, draws in found.items():
        scores = [draw.top1 for draw in draws]
        values |= {f"top1_{name}": fmean(scores), f"spread_{name}": stdev(scores)}
        chosen[f"median_learning_rate_{name}"] = median(draw.rate for draw in draws)
        if inside := [draw.inside for draw in draws if draw.inside is not None]:
            heldout[f"top1_{name}"] = fmean(inside)
    return Outcome(values=values, chosen=chosen, heldout=heldout)


def subset(
    labels: Tensor, fraction: float, *, seed: int, folds: int, draw: int
) -> tuple[Tensor, Tensor]:
    """Which images keep their labels, and in which part of the cross-validation each is.

    Of every class the first of an order that is its own in each draw, so that a smaller fraction
    lies inside a larger one. Parts take a class in turn: each has some of every class.

    Args:
        labels: N int64 on the CPU.
        folds: how many parts at most; a class that has fewer images decides.
    Returns:
        n int64 positions, ascending, and n int64 parts.
    """
    rows, parts = [], []
    for c, count in enumerate(taken(labels, fraction)):
        members = (labels == c).nonzero().flatten()
        key = stream_key(seed, "few labels", draw, c)
        rows.append(members[permutation(key, len(members))[:count]])
        parts.append(torch.arange(count))
    order = torch.argsort(torch.cat(rows))
    smallest = min(len(r) for r in rows if len(r))
    part = torch.cat(parts) % min(folds, smallest)
    return torch.cat(rows)[order], part[order]


def taken(labels: Tensor, fraction: float) -> list[int]:
    """How many images of each class keep their labels: the share, rounded, a half upwards."""
    return [math.floor(fraction * count + 0.5) for count in torch.bincount(labels).tolist()]


def require_fraction(
    labels: Tensor, fraction: float, *, classes: Sequence[str], least: int
) -> None:
    """Raise UserError unless 0 < fraction <= 1, and it leaves each class that has images as many
    as `least`."""
    if not 0 < fraction <= 1:
        raise UserError(f"{fraction:g} is no share of the labels; it lies above 0, up to 1.")
    for name, there, count in zip(
        classes, torch.bincount(labels).tolist(), taken(labels, fraction), strict=False
    ):
        if there and count < least:
            raise UserError(
                f"{100 * fraction:g} % of the {there} training images of class '{name}' are "
                f"{count}, and few-label probes need {least} of every class; use more training "
                "images."
            )


def choose(
    x: Tensor, labels: Tensor, folds: Tensor, *, num_classes: int, protocol: FewLabels
) -> tuple[Setting, float]:
    """The setting of the best cross-validated top-1, and that top-1 in percent.

    Args:
        x: n×D features, standardised; labels, folds: n int64, on one device.
    """
    settings = settings_of(protocol)
    top1, loss = torch.zeros(2, len(settings), dtype=torch.float64)
    for part in range(int(folds.max()) + 1):
        left = folds == part
        sweep = fit(x[~left], labels[~left], settings, num_classes=num_classes, protocol=protocol)
        share = float(left.double().mean())
        right, cost = sweep.heldout(x[left], labels[left])
        top1 += share * torch.tensor(right, dtype=torch.float64)
        loss += share * torch.tensor(cost, dtype=torch.float64)
    pairs = list(zip(top1.tolist(), loss.tolist(), strict=True))
    best = max(range(len(settings)), key=lambda i: (round(pairs[i][0], 9), -pairs[i][1], -i))
    return settings[best], pairs[best][0]
