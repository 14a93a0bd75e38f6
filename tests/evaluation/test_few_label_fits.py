"""Fine-tuning on few labels: which images are read, and what is reported."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from sslbench.data import load
from sslbench.engine.folder import RunFolder
from sslbench.engine.pretrain import Options, pretrain
from sslbench.errors import UserError
from sslbench.evaluation import tuning_fits
from sslbench.evaluation.evaluate import evaluate
from sslbench.evaluation.few_labels import subset
from sslbench.evaluation.finetune_kinds import FewLabelFineTune
from sslbench.evaluation.protocols import PROTOCOLS
from sslbench.evaluation.scores import Score
from sslbench.recipes.specs import Shapes
from tests.tiny import tiny

FULL = PROTOCOLS["fewshot.finetune.v1"]
assert isinstance(FULL, FewLabelFineTune)
QUICK = dataclasses.replace(
    FULL, name="quick.few.v1", fractions=(0.1, 0.2), draws=2, epochs=2, choice_epochs=1,
    learning_rates=(1e-3, 8e-3), layer_decays=(1.0,), batch_size=16,
)  # fmt: skip
DATA = Shapes(resolution=16, num_train=400, num_test=40)


def trained(path: Path) -> RunFolder:
    experiment = dataclasses.replace(tiny("supervised-vit", epochs=1), data=DATA)
    options = Options(device="cpu", precision="fp32", compile="off", threads=1)
    return pretrain(experiment, provenance={}, runs=path, root=path, options=options)


def score(folder: RunFolder, protocol: FewLabelFineTune = QUICK, **more: Any) -> Score:
    (found,) = evaluate(folder, [protocol], root=folder.path.parent, **more).values()
    return found


def test_every_draw_chooses_among_its_own_labels_and_is_fitted_on_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(tmp_path)
    labels = load(DATA, root=tmp_path).train.labels
    assert labels is not None
    fits: list[tuple[set[int], int]] = []
    chosen: list[tuple[set[int], set[int]]] = []
    plain, choose = tuning_fits.Tuning.fitted, tuning_fits.Tuning.choose

    def fitted(self, rows, setting, *, epochs):
        fits.append((set(rows.tolist()), epochs))
        return plain(self, rows, setting, epochs=epochs)

    def chose(self, rows, heldout):
        chosen.append((set(rows.tolist()), set(heldout.tolist())))
        return choose(self, rows, heldout)

    monkeypatch.setattr(tuning_fits.Tuning, "fitted", fitted)
    monkeypatch.setattr(tuning_fits.Tuning, "choose", chose)
    found = score(run)
    draws = [
        set(subset(labels, fraction, seed=QUICK.draw_seed, folds=QUICK.folds, draw=d)[0].tolist())
        for fraction in (0.1, 0.2)
        for d in range(2)
    ]
    assert [rows | left for rows, left in chosen] == draws
    assert all(not rows & left and left for rows, left in chosen)
    assert [rows for rows, epochs in fits if epochs == 2] == draws
    for (rows, _), (tried, _) in zip(
        [fit for fit in fits if fit[1] == 1], [c for c in chosen for _ in range(2)], strict=True
    ):
        assert rows == tried
    assert set(found.values) == {"top1_10", "top1_20", "spread_10", "spread_20"}
    assert not run.path.joinpath("fits", "shapes.quick.few.v1").exists()


def test_means_are_over_the_draws_and_a_stopped_score_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained(tmp_path)
    kept: list[tuple[int, float]] = []
    judged = tuning_fits.Tuning.judged
    stop = True

    def watched(self, rows, setting, images, labels, *, epochs):
        if stop and len(kept) == 2:
            raise KeyboardInterrupt
        found = judged(self, rows, setting, images, labels, epochs=epochs)
        if epochs == QUICK.epochs:
            kept.append((len(rows), found["top1"]))
        return found

    monkeypatch.setattr(tuning_fits.Tuning, "judged", watched)
    with pytest.raises(KeyboardInterrupt):
        score(run)
    stop, before = False, list(kept)
    kept.clear()
    found = score(run).values
    assert kept[:2] == before  # read, or fitted to the same digit
    few = torch.tensor([top1 for _, top1 in kept[:2]], dtype=torch.float64)
    assert found["top1_10"] == pytest.approx(float(few.mean()))
    assert found["spread_10"] == pytest.approx(float(few.std()))
    again = score(run, force=True)
    assert again.values == found


def test_labels_outside_of_a_draw_and_of_the_test_images_have_no_say(tmp_path: Path) -> None:
    run, dataset = trained(tmp_path), load(DATA, root=tmp_path)
    honest = score(run, dataset=dataset)
    assert dataset.test.labels is not None
    turned = dataclasses.replace(dataset.test, labels=(dataset.test.labels + 1) % 10)
    other = score(run, dataset=dataclasses.replace(dataset, test=turned), force=True)
    assert (honest.chosen, honest.heldout) == (other.chosen, other.heldout)
    assert set(honest.heldout) == {"top1_10", "top1_20"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fractions": (0.01,)}, "1 % of the 40 training images .* need 2 of every class"),
        ({"fractions": (1.2,)}, "1.2 is no share"),
        ({"layer_decays": (0.0,)}, "layer decay 0 must lie above 0"),
        ({"batch_size": 1}, "a batch of 1 has no partner"),
    ],
)
def test_what_does_not_make_sense_is_refused_before_a_fit(
    changes: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning_fits.Tuning, "fitted", None)
    with pytest.raises(UserError, match=words):
        score(trained(tmp_path), dataclasses.replace(QUICK, **changes))
