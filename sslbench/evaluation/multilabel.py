"""Which classes are in an image: a support vector machine for each, on frozen features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sslbench.data import Dataset
from sslbench.data.split import Split
from sslbench.errors import UserError
from sslbench.evaluation.accuracy import Outcome
from sslbench.evaluation.average_precision import average_precision
from sslbench.evaluation.dense_maps import check_apart
from sslbench.evaluation.multilabel_kinds import MOST_FEATURES, MultilabelSVM
from sslbench.evaluation.subject import Subject
from sslbench.evaluation.support_vectors import fit
from sslbench.models.heads import width

_NUMBERS = 2**25  # images times problems solved at a time


@dataclass(frozen=True)
class Truth:
    """What is in the images, and which classes can be measured.

    Attributes:
        train: bool N×C, doubtful ones false; test, asked: bool M×C, of those that are asked for.
        folds: N×C int64, the part that an image is in when C is chosen for a class.
        measured: positions of the classes that are measured.
    """

    train: Tensor
    test: Tensor
    asked: Tensor
    folds: Tensor
    measured: list[int]

    @classmethod
    def of(cls, dataset: Dataset, folds: int) -> Truth:
        """Of a data set with multi-labels."""
        train, test = _labels(dataset.train), _labels(dataset.test)
        asked = torch.ones_like(test)
        if dataset.test.doubtful is not None:
            asked = ~dataset.test.doubtful.cpu()
        parts = torch.stack([stratified(each, folds) for each in train.T], 1)
        measured = [
            c for c in range(train.shape[1])
            if _both_in_each(train[:, c], folds)
            and 0 < int((test[:, c] & asked[:, c]).sum()) < int(asked[:, c].sum())
        ]  # fmt: skip
        return cls(train, test, asked, parts, measured)


def _labels(split: Split) -> Tensor:
    """bool N×C, without the doubtful ones, on the CPU."""
    assert split.multilabels is not None  # the protocol needs them
    found = split.multilabels.cpu()
    return found if split.doubtful is None else found & ~split.doubtful.cpu()


def _both_in_each(positive: Tensor, folds: int) -> bool:
    """Whether each part gets an image that has the class, and one that lacks it."""
    count = int(positive.sum())
    return min(count, len(positive) - count) >= folds


def stratified(positive: Tensor, folds: int) -> Tensor:
    """N int64: the part that each image is in, with as many that have the class in each, in order.

    As scikit-learn's `StratifiedKFold` without shuffling.
    """
    positive = positive.cpu()
    first = bool(positive[0]) if len(positive) else False
    kinds = (positive != first).long()  # the first image's kind is 0
    ordered = kinds.sort().values
    found = torch.empty(len(positive), dtype=torch.int64)
    for kind in (0, 1):
        share = torch.tensor([int((ordered[i::folds] == kind).sum()) for i in range(folds)])
        found[kinds == kind] = torch.arange(folds).repeat_interleave(share)
    return found


def check(protocol: MultilabelSVM, subject: Subject) -> None:
    """Raise UserError where fewer than two classes can be measured, or settings make no sense."""
    name, dataset = protocol.name, subject.dataset
    if protocol.folds < 2 or not protocol.costs or min(protocol.costs) <= 0:
        raise UserError(f"{name} needs at least two folds, and costs above 0.")
    if list(protocol.costs) != sorted(protocol.costs):
        raise UserError(f"{name}: the costs must ascend; sort them.")
    features = width(subject.encoder, "num_features")
    if features > MOST_FEATURES:
        raise UserError(
            f"{name} takes at most {MOST_FEATURES:,} features, and this encoder gives "
            f"{features:,}; use a narrower one."
        )
    check_apart(name, dataset.train, dataset.test)
    truth = Truth.of(dataset, protocol.folds)
    if len(truth.measured) < 2:
        left = [dataset.classes[c] for c in range(truth.train.shape[1]) if c not in truth.measured]
        raise UserError(
            f"{name} needs two classes that at least {protocol.folds} training images and a test "
            f"image have, and as many lack; '{dataset.name}' has {len(truth.measured)} "
            f"(not {', '.join(left[:5])}{', …' if len(left) > 5 else ''}); use more images."
        )


def run(protocol: MultilabelSVM, subject: Subject) -> Outcome:
    """Choose C for each class on parts of the training images, fit on all of them, test once."""
    truth = Truth.of(subject.dataset, protocol.folds)
    train = scaled(subject.features.train, protocol.shift).to(subject.device)
    test = scaled(subject.features.test, protocol.shift).to(subject.device)
    positive = truth.train[:, truth.measured].to(subject.device)
    costs, heldout = _choose(train, positive, truth, protocol)
    weights = _weights(positive, protocol) * torch.tensor(costs, device=train.device).double()
    (machines,) = fit(train, positive, [weights])
    scores = machines.scores(test).cpu()
    names = [subject.dataset.classes[c] for c in truth.measured]
    precisions = torch.full((truth.train.shape[1],), torch.nan, dtype=torch.float64)
    every = torch.full((len(scores), truth.train.shape[1]), torch.nan)
    chance = []
    for place, c in enumerate(truth.measured):
        asked = truth.asked[:, c]
        there = truth.test[asked, c]
        precisions[c] = average_precision(scores[asked, place], there, interpolated=True)
        chance.append(float(there.double().mean()))
        every[:, c] = scores[:, place].float()
    return Outcome(
        values={
            "map": 100 * float(precisions[truth.measured].mean()),
            "chance": 100 * float(np.mean(chance)),
            "skipped": float(truth.train.shape[1] - len(truth.measured)),
        },
        chosen={f"C of {name}": cost for name, cost in zip(names, costs, strict=True)},
        heldout={"map": heldout},
        kept={
            "svm_score": every.numpy(),  # NaN of classes that are left out
            "svm_ap": (100 * precisions).float().numpy(),
            "svm_label": truth.test.numpy(),
            "svm_asked": truth.asked.numpy(),
        },
    )


def scaled(features: Tensor, shift: float) -> Tensor:
    """N×D float64: each row over its length, which is never 0."""
    x = features.double()
    return x / (x.norm(dim=1, keepdim=True) + shift)


def _weights(positive: Tensor, protocol: MultilabelSVM) -> Tensor:
    """N×P float64: what the loss of each image counts beside C."""
    return torch.where(positive, protocol.positive_weight, 1.0).double()


def _choose(
    x: Tensor, positive: Tensor, truth: Truth, protocol: MultilabelSVM
) -> tuple[list[float], float]:
    """Of each measured class the best cost, and the mean of their average precision in percent."""
    folds = truth.folds[:, truth.measured].to(x.device)
    at_once = max(1, _NUMBERS // (len(x) * protocol.folds))
    precisions: list[Tensor] = []  # each C×costs
    for start in range(0, len(truth.measured), at_once):
        columns = slice(start, start + at_once)
        precisions.append(_validated(x, positive[:, columns], folds[:, columns], protocol))
    mean = torch.cat(precisions)
    best = [row.index(max(row)) for row in mean.tolist()]
    chosen = [protocol.costs[place] for place in best]
    return chosen, 100 * float(mean.amax(1).mean())


def _validated(x: Tensor, positive: Tensor, folds: Tensor, protocol: MultilabelSVM) -> Tensor:
    """P×K float64: of each class and cost the mean average precision on the parts left out."""
    count = protocol.folds
    out = torch.stack([folds == part for part in range(count)], 2)  # N×P×F
    signs = positive[:, :, None].expand_as(out).flatten(1)
    kept = _weights(signs, protocol) * ~out.flatten(1)
    found = fit(x, signs, [kept * cost for cost in protocol.costs])
    mean = torch.zeros(positive.shape[1], len(found), dtype=torch.float64)
    for k, machines in enumerate(found):
        scores = machines.scores(x).view(len(x), -1, count).cpu()
        for p, f in np.ndindex(positive.shape[1], count):
            rows = out[:, p, f].cpu()
            part = average_precision(scores[rows, p, f], positive[:, p].cpu()[rows],
                                     interpolated=False)  # fmt: skip
            mean[p, k] += part / count
    return mean
