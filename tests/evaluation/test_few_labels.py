from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from sslbench.errors import UserError
from sslbench.evaluation.accuracy import accuracies
from sslbench.evaluation.features import Features
from sslbench.evaluation.few_labels import check, choose, run, subset, taken
from sslbench.evaluation.linear import fit, settings_of, standardization
from sslbench.evaluation.protocols import PROTOCOLS, FewLabels
from tests.evaluation.test_linear import blobs

FULL = PROTOCOLS["fewshot.v1"]
assert isinstance(FULL, FewLabels)
SHORT = dataclasses.replace(FULL, learning_rates=(0.001, 0.1), least_steps=20, draws=3)
DRAWN = {"seed": FULL.draw_seed, "folds": FULL.folds}
SIZES = [200, 300, 250]
LABELS = torch.repeat_interleave(torch.arange(3), torch.tensor(SIZES))[
    torch.randperm(sum(SIZES), generator=torch.Generator().manual_seed(0))
]


def subject(labels: Tensor, features: Features | None = None, **more: Any) -> Any:
    """What a protocol reads of a run."""
    given = features or Features(torch.zeros(len(labels), 2), torch.zeros(1, 2))
    return SimpleNamespace(
        device=torch.device("cpu"), train_labels=labels, features=given, num_classes=6,
        dataset=SimpleNamespace(classes=tuple("abcdef")), **more,
    )  # fmt: skip


def of_blobs(*, shift: int = 0) -> Any:
    """Noisy points, of test labels that may be wrong."""
    (train, labels), (test, true) = blobs(1800, spread=0.7), blobs(300, spread=0.7, seed=1)
    return subject(labels, Features(train, test), test_labels=(true + shift) % 6)


def test_every_class_gives_its_share_rounded() -> None:
    assert taken(LABELS, 0.01) == [2, 3, 3]  # of 2, 3 and 2.5
    rows, _ = subset(LABELS, 0.1, **DRAWN, draw=0)
    assert torch.bincount(LABELS[rows]).tolist() == [20, 30, 25]
    assert torch.equal(rows, rows.unique())


def test_fewer_labels_lie_among_the_more_and_draws_differ() -> None:
    for draw in range(3):
        one, _ = subset(LABELS, 0.01, **DRAWN, draw=draw)
        ten, _ = subset(LABELS, 0.1, **DRAWN, draw=draw)
        assert set(one.tolist()) < set(ten.tolist())
    first, second = (set(subset(LABELS, 0.1, **DRAWN, draw=d)[0].tolist()) for d in (0, 1))
    assert len(first & second) < 40
    again, _ = subset(LABELS, 0.1, **DRAWN, draw=0)
    assert set(again.tolist()) == first


def test_another_seed_of_the_draws_gives_other_images() -> None:
    other = dataclasses.replace(FULL, draw_seed=1)
    a, b = (subset(LABELS, 0.1, seed=s, folds=5, draw=0)[0] for s in (0, 1))
    assert not torch.equal(a, b) and other.definition != FULL.definition


def test_all_labels_are_all_images() -> None:
    rows, _ = subset(LABELS, 1.0, **DRAWN, draw=0)
    assert torch.equal(rows, torch.arange(len(LABELS)))


def test_every_part_and_what_is_left_of_it_has_every_class() -> None:
    for fraction, parts in ((0.01, 2), (0.1, 5)):
        rows, folds = subset(LABELS, fraction, **DRAWN, draw=0)
        assert folds.unique().tolist() == list(range(parts))
        for part in range(parts):
            for these in (folds == part, folds != part):
                assert LABELS[rows[these]].unique().tolist() == [0, 1, 2]


def test_the_choice_is_the_setting_that_is_best_on_the_parts_left_out() -> None:
    x, labels = blobs(120, spread=1.0)
    x = standardization(x, SHORT)(x)
    folds = torch.arange(120) % 3
    right = []
    for setting in settings_of(SHORT):
        scores = torch.zeros(120, 6)
        for part in range(3):
            own = folds == part
            sweep = fit(x[~own], labels[~own], [setting], num_classes=6, protocol=SHORT)
            scores[own] = sweep.logits_of(0, x[own])
        right.append(accuracies(scores, labels)["top1"])
    setting, top1 = choose(x, labels, folds, num_classes=6, protocol=SHORT)
    assert right[0] != right[1]
    assert setting == settings_of(SHORT)[right.index(max(right))]
    assert top1 == pytest.approx(max(right))


def test_a_setting_that_diverges_is_not_chosen() -> None:
    x, labels = blobs(120, spread=1.0)
    wild = dataclasses.replace(SHORT, learning_rates=(0.01, 1e38))
    setting, _ = choose(x / 100, labels, torch.arange(120) % 3, num_classes=6, protocol=wild)
    assert setting[0] == 0.01


def test_more_labels_are_better_and_means_are_of_the_draws() -> None:
    outcome = run(SHORT, of_blobs())
    assert set(outcome.values) == {value.key for value in SHORT.values}
    assert outcome.values["top1_1"] + 5 < outcome.values["top1_10"] < 100
    assert outcome.values["spread_1"] > 0
    singles = []
    for draw in range(3):
        s = of_blobs()
        rows, folds = subset(s.train_labels, 0.01, **DRAWN, draw=draw)
        change = standardization(s.features.train, SHORT)
        x, y = change(s.features.train)[rows], s.train_labels[rows]
        setting, _ = choose(x, y, folds, num_classes=6, protocol=SHORT)
        sweep = fit(x, y, [setting], num_classes=6, protocol=SHORT)
        scores = sweep.logits_of(0, change(s.features.test))
        singles.append(accuracies(scores, s.test_labels)["top1"])
    found = torch.tensor(singles, dtype=torch.float64)
    assert outcome.values["top1_1"] == pytest.approx(float(found.mean()))
    assert outcome.values["spread_1"] == pytest.approx(float(found.std()))


def test_labels_outside_of_the_subset_and_of_the_test_have_no_say() -> None:
    honest, shifted = run(SHORT, of_blobs()), run(SHORT, of_blobs(shift=1))
    assert (honest.chosen, honest.heldout) == (shifted.chosen, shifted.heldout)
    one = dataclasses.replace(SHORT, fractions=(0.1,))
    clean, spoilt = of_blobs(), of_blobs()
    read = torch.cat([subset(clean.train_labels, 0.1, **DRAWN, draw=d)[0] for d in range(3)])
    unread = torch.ones(1800, dtype=torch.bool)
    unread[read] = False
    # Labels are exchanged inside their class's count, so that the shares stay as they are.
    swapped = spoilt.train_labels.clone()
    swapped[unread] = swapped[unread].flip(0)
    assert not torch.equal(swapped, clean.train_labels)
    rows = [subset(clean.train_labels, 0.1, **DRAWN, draw=d) for d in range(3)]
    spoilt.train_labels = swapped

    def same(labels, fraction, *, seed, folds, draw):
        return rows[draw]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sslbench.evaluation.few_labels.subset", same)
        assert run(one, clean).values == run(one, spoilt).values


@pytest.mark.parametrize(
    ("fractions", "words"),
    [
        ((0.0,), "0 is no share"), ((1.5,), "1.5 is no share"), ((-0.1,), "-0.1 is no share"),
        ((float("nan"),), "nan is no share"),
        ((0.001,), r"0.1 % of the 200 .* 'a' are 0, and .* need 2 of every class; use more"),
        ((0.1, 0.005), r"0.5 % of the 200 training images of class 'a' are 1"),
    ],
)  # fmt: skip
def test_a_fraction_that_leaves_too_little_is_refused(fractions, words) -> None:
    with pytest.raises(UserError, match=words):
        check(dataclasses.replace(FULL, fractions=fractions), subject(LABELS))


def test_a_class_without_training_images_is_passed_over() -> None:
    labels = LABELS * 2  # classes 1 and 3 have none
    check(FULL, subject(labels))
    assert torch.bincount(labels[subset(labels, 0.1, **DRAWN, draw=0)[0]]).tolist() == [
        20, 0, 30, 0, 25,
    ]  # fmt: skip
