from __future__ import annotations

import dataclasses
import json
import typing
from pathlib import Path

import numpy as np
import pytest
import torch

from sslbench.data import load
from sslbench.engine.checkpoint import load_weights, save_weights
from sslbench.engine.folder import RunFolder
from sslbench.errors import UserError
from sslbench.evaluation.evaluate import evaluate
from sslbench.evaluation.finetune_kinds import Tuned
from sslbench.evaluation.protocols import (
    KNN,
    PROTOCOLS,
    FewLabels,
    Linear,
    ProjectedLinear,
    TokenLinear,
)
from sslbench.evaluation.scores import Score, load_score
from sslbench.recipes.specs import Shapes
from tests.evaluation.conftest import finished
from tests.tiny import DATA

# What takes a ViT, many images, objects or parameters to train is in tests of its own.
ALL = tuple(
    n
    for n, p in PROTOCOLS.items()
    if p.needs == {"labels"}
    and not isinstance(p, TokenLinear | FewLabels | ProjectedLinear | Tuned)
)


def root_of(folder: RunFolder) -> Path:
    return folder.path.parent.parent


def results(scores: typing.Mapping[str, Score]) -> dict[str, Score]:
    """Scores without their time."""
    return {k: dataclasses.replace(s, elapsed_seconds=0.0) for k, s in scores.items()}


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linear probes of two epochs."""
    for name, protocol in PROTOCOLS.items():
        if isinstance(protocol, Linear):
            quick = dataclasses.replace(protocol, epochs=2, least_steps=0)
            monkeypatch.setitem(PROTOCOLS, name, quick)


@pytest.mark.parametrize("recipe", ["untrained", "raw-pixels", "color-histogram"])
def test_every_protocol_scores_every_kind_of_encoder(recipe: str, tmp_path: Path) -> None:
    run = finished(recipe, tmp_path)
    scores = evaluate(run, ALL, root=tmp_path)
    assert tuple(scores) == ALL
    for name, score in scores.items():
        assert (score.protocol, score.definition) == (name, PROTOCOLS[name].definition)
        assert score.fingerprint == run.summary()["fingerprint"]
        assert (score.dataset, score.num_train, score.num_test) == ("shapes", 96, 32)
        assert score.shared == 0
        assert load_score(run.score_path("shapes", name)) == score
        if name != "geometry.v1":
            assert 0 <= score.values["top1"] <= score.values["top5"] <= 100


def test_predictions_of_each_image_lie_beside_the_score(run: RunFolder) -> None:
    scores = evaluate(run, ["knn", "linear"], root=root_of(run))
    labels = load(DATA, root=root_of(run)).test.labels
    assert labels is not None
    for name, score in scores.items():
        with np.load(run.predictions_path("shapes", name)) as kept:
            assert np.array_equal(kept["label"], labels.numpy())
            right = kept["label"] == kept["predicted"]
        assert 100 * right.mean() == pytest.approx(score.values["top1"])


def test_scoring_again_gives_the_same_numbers(run: RunFolder) -> None:
    first = evaluate(run, ALL, root=root_of(run))
    again = evaluate(run, ALL, root=root_of(run), force=True)
    assert results(first) == results(again)


def test_what_is_scored_is_not_scored_again(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = evaluate(run, ["knn"], root=root_of(run))
    monkeypatch.setattr("sslbench.evaluation.evaluate.load", None)  # calling it would fail
    assert evaluate(run, ["knn.v1"], root=root_of(run)) == first


@pytest.mark.parametrize("change", ["force", "definition", "encoder", "damaged"])
def test_it_is_scored_again_when_something_changed(
    change: str, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = evaluate(run, ["knn"], root=root_of(run))["knn.v1"]
    path = run.score_path("shapes", "knn.v1")
    path.write_text(json.dumps(before.to_dict() | {"elapsed_seconds": -1.0}))
    if change == "definition":
        assert isinstance(PROTOCOLS["knn.v1"], KNN)
        other = dataclasses.replace(PROTOCOLS["knn.v1"], neighbors=(3,))
        monkeypatch.setitem(PROTOCOLS, "knn.v1", other)
    elif change == "encoder":
        state = {k: 2 * v for k, v in load_weights(run.encoder_path).items()}
        save_weights(run.encoder_path, state, {})
    elif change == "damaged":
        path.write_text("{")
    after = evaluate(run, ["knn"], root=root_of(run), force=change == "force")["knn.v1"]
    assert after.elapsed_seconds >= 0
    assert (after.encoder == before.encoder) == (change != "encoder")


def test_protocols_share_features_which_are_computed_once(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sslbench.evaluation import subject

    calls = []
    extract = subject.extract
    monkeypatch.setattr(subject, "extract", lambda *a, **k: calls.append(1) or extract(*a, **k))
    evaluate(run, ["knn"], root=root_of(run))
    evaluate(run, ["linear", "geometry"], root=root_of(run))
    assert len(calls) == 1
    (cache,) = run.features_dir.iterdir()
    cache.write_bytes(cache.read_bytes()[:-1])
    first = evaluate(run, ["knn"], root=root_of(run))
    again = evaluate(run, ["knn"], root=root_of(run), force=True)
    assert len(calls) == 2
    assert results(first) == results(again)


def test_test_labels_have_no_say_in_any_choice(run: RunFolder) -> None:
    dataset = load(DATA, root=root_of(run))
    assert dataset.test.labels is not None
    wrong = dataclasses.replace(dataset.test, labels=(dataset.test.labels + 1) % 10)
    names = ["knn", "linear"]
    honest = evaluate(run, names, root=root_of(run))
    other = evaluate(run, names, root=root_of(run), force=True,
                     dataset=dataclasses.replace(dataset, test=wrong))  # fmt: skip
    for name, score in honest.items():
        assert (score.chosen, score.heldout) == (other[name].chosen, other[name].heldout)


def test_the_augmented_probe_draws_other_views_in_each_epoch_and_no_test_labels(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sslbench.evaluation.subject import Subject

    name, seen = "linear.augmented.v1", []
    encode = Subject.encode_views

    def spy(*args: typing.Any, **kwargs: typing.Any) -> list[torch.Tensor]:
        seen.append(encode(*args, **kwargs))
        return seen[-1]

    monkeypatch.setattr(Subject, "encode_views", spy)
    dataset = load(DATA, root=root_of(run))
    assert dataset.test.labels is not None
    wrong = dataclasses.replace(dataset.test, labels=(dataset.test.labels + 1) % 10)
    other = dataclasses.replace(dataset, test=wrong)
    honest = evaluate(run, [name], root=root_of(run))[name]
    shuffled = evaluate(run, [name], root=root_of(run), force=True, dataset=other)[name]
    assert (honest.chosen, honest.heldout) == (shuffled.chosen, shuffled.heldout)
    assert len(seen) == 4
    assert not torch.equal(seen[0][0], seen[1][0])
    assert torch.equal(seen[0][0], seen[2][0])


def test_another_version_of_a_data_set_does_not_take_its_place(run: RunFolder) -> None:
    own = evaluate(run, ["knn"], root=root_of(run))["knn.v1"]
    other = evaluate(run, ["knn"], data=DATA.but(seed=1), root=root_of(run))["knn.v1"]
    assert own.fingerprint != other.fingerprint
    assert load_score(run.score_path("shapes", "knn.v1")) == own
    assert load_score(run.score_path(f"shapes-{other.fingerprint[:12]}", "knn.v1")) == other


def test_an_unfinished_run_is_refused(run: RunFolder) -> None:
    run.write_summary(run.summary() | {"status": "interrupted"})
    with pytest.raises(UserError, match="interrupted, not finished"):
        evaluate(run, ["knn"], root=root_of(run))


def test_a_score_that_cannot_be_written_is_a_sentence(run: RunFolder) -> None:
    run.score_path("shapes", "knn.v1").mkdir(parents=True)
    with pytest.raises(UserError, match=r"Cannot write .*shapes.knn.v1.json"):
        evaluate(run, ["knn"], root=root_of(run))


def test_a_run_whose_recipe_was_edited_is_not_scored(run: RunFolder) -> None:
    text = run.experiment_path.read_text()
    run.experiment_path.write_text(text.replace("batch_size: 16", "batch_size: 32"))
    with pytest.raises(UserError, match="is not what this run trained"):
        evaluate(run, ["knn"], root=root_of(run))


def test_data_that_changed_since_the_training_is_refused(run: RunFolder) -> None:
    run.write_summary(run.summary() | {"fingerprint": "0" * 64})
    with pytest.raises(UserError, match="is not what"):
        evaluate(run, ["knn"], root=root_of(run))


def test_a_set_without_labels_is_refused(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def bare(spec: Shapes, *, root: Path) -> object:
        dataset = load(spec, root=root)
        return dataclasses.replace(dataset, train=dataclasses.replace(dataset.train, labels=None))

    monkeypatch.setattr("sslbench.evaluation.evaluate.load", bare)
    with pytest.raises(UserError, match=r"knn.v1 needs labels, which data set 'shapes' lacks"):
        evaluate(run, ["knn"], root=root_of(run))


def test_a_set_too_small_to_hold_some_out_is_refused(run: RunFolder) -> None:
    with pytest.raises(UserError, match="too few"):
        evaluate(run, ["knn"], data=DATA.but(num_train=1), root=root_of(run))


def test_a_damaged_encoder_is_named(run: RunFolder) -> None:
    run.encoder_path.write_bytes(b"not tensors")
    with pytest.raises(UserError, match=r"encoder\.safetensors"):
        evaluate(run, ["knn"], root=root_of(run))


def test_an_encoder_of_another_architecture_is_named(run: RunFolder) -> None:
    save_weights(run.encoder_path, {"weight": torch.ones(2)}, {})
    with pytest.raises(UserError, match="does not fit NarrowResNet"):
        evaluate(run, ["knn"], root=root_of(run))
