"""The held-out score: of labels that no probe was fitted on, without the test images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sslbench.data import load
from sslbench.engine.folder import RunFolder
from sslbench.engine.pretrain import Options
from sslbench.errors import UserError
from sslbench.evaluation.evaluate import evaluate
from sslbench.evaluation.heldout import current_heldout, heldout_path, heldout_score
from sslbench.evaluation.monitored import pretrain_monitored
from tests.tiny import DATA, tiny

ROOT = Path("unused")
OPTIONS = Options(device="cpu", precision="fp32", compile="off", threads=1)


@pytest.fixture(scope="module")
def dataset():
    return load(DATA, root=Path("unused"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    runs = tmp_path_factory.mktemp("runs")
    return pretrain_monitored(tiny("simclr"), provenance={}, runs=runs, root=runs, options=OPTIONS)


def test_it_is_what_the_protocols_choose_by(folder: RunFolder, dataset, tmp_path: Path) -> None:
    score = heldout_score(folder, dataset, root=ROOT)
    scores = evaluate(folder, ["linear", "knn"], root=tmp_path, dataset=dataset)
    assert score.linear == scores["linear.features.v1"].heldout["top1"]
    assert score.knn == scores["knn.v1"].heldout["top1"]
    assert score.num_train + score.num_heldout == 96 and score.num_heldout == len(dataset.heldout)


def test_the_held_out_labels_reach_no_probe(folder: RunFolder, dataset) -> None:
    heldout_path(folder).unlink(missing_ok=True)
    labels = dataset.train.labels.clone()
    labels[dataset.heldout] = (labels[dataset.heldout] + 1) % len(dataset.classes)
    honest = heldout_score(folder, dataset, root=ROOT)
    heldout_path(folder).unlink()
    other = replace(dataset, train=replace(dataset.train, labels=labels))
    moved = heldout_score(folder, other, root=ROOT)
    heldout_path(folder).unlink()
    # The same predictions against other labels: both cannot be right about an image.
    assert honest.linear + moved.linear <= 100 and honest.knn + moved.knn <= 100


def test_it_is_kept_and_measured_again_for_another_encoder(folder: RunFolder, dataset) -> None:
    score = heldout_score(folder, dataset, root=ROOT)
    assert current_heldout(folder) == score
    weights = folder.encoder_path.read_bytes()
    folder.encoder_path.write_bytes(weights + b" ")
    assert current_heldout(folder) is None
    folder.encoder_path.unlink()  # its runs may be cleared away; the scores stay
    assert current_heldout(folder) == score
    folder.encoder_path.write_bytes(weights)
    heldout_path(folder).write_text("{}")
    assert current_heldout(folder) is None
    assert heldout_score(folder, dataset, root=ROOT) == score


def test_images_that_the_run_left_out_are_what_it_is_compared_on(
    folder: RunFolder, dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    heldout_path(folder).unlink(missing_ok=True)
    unused = load(DATA.but(num_train=400), root=ROOT).train[torch.arange(200, 320)]

    def scored(split):
        monkeypatch.setattr("sslbench.evaluation.heldout.unused_images", lambda *a, **k: split)
        score = heldout_score(folder, dataset, root=ROOT)
        heldout_path(folder).unlink()
        return score

    score = scored(unused)
    assert (score.num_train, score.num_heldout, score.images) == (96, 120, "left out")
    moved = scored(replace(unused, labels=(unused.labels + 1) % len(dataset.classes)))
    assert score.linear + moved.linear <= 100 and score.knn + moved.knn <= 100
    # The probes are fitted on all of the run's own images, the tenth among them.
    assert scored(None).images == "tenth"


def test_features_that_are_not_finite_have_no_score(
    folder: RunFolder, dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    heldout_path(folder).unlink(missing_ok=True)
    nowhere = torch.full((96, 8), float("nan"))
    monkeypatch.setattr("sslbench.evaluation.heldout.encode", lambda *a, **k: nowhere)
    score = heldout_score(folder, dataset, root=ROOT)
    assert score.linear is None and score.knn is None
    heldout_path(folder).unlink()


def test_data_without_labels_is_refused(folder: RunFolder, dataset) -> None:
    heldout_path(folder).unlink(missing_ok=True)
    bare = replace(dataset, train=replace(dataset.train, labels=None))
    with pytest.raises(UserError, match="has no labels"):
        heldout_score(folder, bare, root=ROOT)


def test_a_supervised_run_may_leave_the_held_out_images_out(dataset, tmp_path: Path) -> None:
    experiment = tiny("supervised").but(without_heldout=True)
    assert experiment.digest() != tiny("supervised").digest()
    folder = pretrain_monitored(
        experiment, provenance={}, runs=tmp_path, root=tmp_path, options=OPTIONS
    )
    assert folder.summary()["images"]["train"] == 96 - len(dataset.heldout)
    rest = dataset.without_heldout()
    assert len(rest.train) == 96 - len(dataset.heldout) and len(rest.heldout) == 0
    kept = dataset.train.images[[i for i in range(96) if i not in dataset.heldout.tolist()]]
    assert torch.equal(rest.train.images, kept)


def test_a_run_stops_at_an_epoch_and_goes_on_bit_for_bit(tmp_path: Path) -> None:
    def train(runs: Path, **more) -> RunFolder:
        options = replace(OPTIONS, **more)
        return pretrain_monitored(
            tiny("byol"), provenance={}, runs=runs, root=tmp_path, options=options
        )

    half = train(tmp_path / "a", until_epoch=1)
    assert (half.status(), half.summary()["steps"]) == ("interrupted", 6)
    assert half.checkpoint_path.exists() and not half.encoder_path.exists()
    assert train(tmp_path / "a", until_epoch=1).summary()["steps"] == 6
    whole, joined = train(tmp_path / "b"), train(tmp_path / "a", until_epoch=2)
    assert joined.status() == "finished"
    assert whole.encoder_path.read_bytes() == joined.encoder_path.read_bytes()
    assert whole.metrics() == joined.metrics()
    with pytest.raises(UserError, match="until_epoch 0: needs at least 1"):
        train(tmp_path / "b", until_epoch=0)
