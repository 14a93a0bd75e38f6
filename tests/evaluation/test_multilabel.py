"""Several classes in an image: VOC 2007's protocol beside scikit-learn, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.svm import LinearSVC

from sslbench.data.split import Split
from sslbench.errors import UserError
from sslbench.evaluation import multilabel
from sslbench.evaluation.average_precision import average_precision
from sslbench.evaluation.evaluate import evaluate
from sslbench.evaluation.features import Features
from sslbench.evaluation.multilabel import stratified
from sslbench.evaluation.per_image import LabelScores
from sslbench.evaluation.protocols import PROTOCOLS
from sslbench.recipes.specs import RawPixels, Scenes
from tests.evaluation.conftest import finished
from tests.evaluation.dense import dataset_of, subject_of
from tests.evaluation.test_per_image import assert_kept

PROTOCOL = dataclasses.replace(PROTOCOLS["multilabel.svm.v1"], costs=(0.01, 1.0, 100.0))
CLASSES = 4


def halves(generator, *, rows=(90, 60)):
    """Images that are all different, with labels and features that tell them in part."""
    found, features = [], []
    direction = torch.randn(CLASSES, 6, generator=generator)
    for count in rows:
        labels = torch.rand(count, CLASSES, generator=generator) < 0.3
        images = torch.randint(0, 256, (count, 3, 16, 16), generator=generator).byte()
        found.append(Split(images, multilabels=labels))
        told = labels.float() @ direction
        features.append(told + 0.8 * torch.randn(count, 6, generator=generator))
    return found, Features(*features)


@pytest.fixture(scope="module")
def known():
    return halves(torch.Generator().manual_seed(0))


def scored(folder, splits, features, protocol=PROTOCOL):
    subject = subject_of(folder, dataset_of(*splits, CLASSES))
    subject.__dict__["features"] = features
    multilabel.check(protocol, subject)
    return multilabel.run(protocol, subject)


def test_it_is_what_scikit_learn_makes_of_the_protocol(known, tmp_path):
    (train, test), features = known
    found = scored(tmp_path, (train, test), features)
    x, y = features.train.double().numpy(), features.test.double().numpy()
    x, y = (f / (np.linalg.norm(f, axis=1, keepdims=True) + 1e-5) for f in (x, y))
    precisions, validated = [], []
    for c in range(CLASSES):
        target = np.where(train.multilabels[:, c], 1, -1)

        def machine(cost):
            return LinearSVC(
                C=cost, class_weight={1: 2, -1: 1}, intercept_scaling=1.0, dual=True, tol=1e-7,
                max_iter=100_000, random_state=0,
            )  # fmt: skip

        means = [
            cross_val_score(machine(c), x, target, cv=3, scoring="average_precision").mean()
            for c in PROTOCOL.costs
        ]
        best = PROTOCOL.costs[int(np.argmax(means))]
        assert found.chosen[f"C of class {c}"] == best
        validated.append(max(means))
        scores = machine(best).fit(x, target).decision_function(y)
        assert np.allclose(found.kept["svm_score"][:, c], scores, atol=1e-3)
        precisions.append(
            average_precision(torch.from_numpy(scores), test.multilabels[:, c], interpolated=True)
        )
    assert np.allclose(found.kept["svm_ap"], 100 * np.array(precisions), atol=0.1)
    assert found.values["map"] == pytest.approx(100 * np.mean(precisions), abs=0.1)
    assert found.heldout["map"] == pytest.approx(100 * np.mean(validated), abs=0.1)
    share = 100 * float(test.multilabels.double().mean())
    assert found.values["chance"] == pytest.approx(share) and found.values["skipped"] == 0


@pytest.mark.parametrize("count", [7, 30, 31, 44])
def test_the_parts_are_scikit_learns(count):
    generator = torch.Generator().manual_seed(count)
    for share in (0.3, 0.6):
        positive = torch.rand(count, generator=generator) < share
        if min(int(positive.sum()), int((~positive).sum())) < 3:
            continue
        found = stratified(positive, 3)
        expected = StratifiedKFold(3).split(np.zeros(count), positive.numpy())
        for part, (_, rows) in enumerate(expected):
            assert (found == part).nonzero().flatten().tolist() == rows.tolist()


def test_doubtful_is_absent_when_training_and_not_asked_in_the_test(known, tmp_path):
    (train, test), features = known
    doubtful = [torch.zeros_like(split.multilabels) for split in (train, test)]
    doubtful[0][:20, 0] = True
    doubtful[1][5:25, 1] = True
    marked = [
        dataclasses.replace(split, multilabels=split.multilabels | each, doubtful=each)
        for split, each in zip((train, test), doubtful, strict=True)
    ]
    absent = dataclasses.replace(train, multilabels=train.multilabels & ~doubtful[0])
    found = scored(tmp_path / "a", marked, features)
    expected = scored(tmp_path / "b", (absent, test), features)
    assert np.array_equal(found.kept["svm_score"], expected.kept["svm_score"])
    asked = ~doubtful[1][:, 1]
    scores = torch.from_numpy(found.kept["svm_score"])[:, 1]
    alone = average_precision(scores[asked], test.multilabels[asked, 1], interpolated=True)
    assert found.kept["svm_ap"][1] == pytest.approx(100 * alone, abs=1e-3)
    assert found.kept["svm_ap"][2] == expected.kept["svm_ap"][2]


def test_classes_that_cannot_be_measured_are_left_out_and_counted(known, tmp_path):
    (train, test), features = known
    few, none = train.multilabels.clone(), test.multilabels.clone()
    few[:, 0] = False
    few[:2, 0] = True  # one part has none of them
    none[:, 3] = False
    splits = [
        dataclasses.replace(train, multilabels=few), dataclasses.replace(test, multilabels=none),
    ]  # fmt: skip
    found = scored(tmp_path, splits, features)
    assert found.values["skipped"] == 2
    assert set(found.chosen) == {"C of class 1", "C of class 2"}
    assert np.isnan(found.kept["svm_ap"]).tolist() == [True, False, False, True]
    whole = scored(tmp_path / "b", (train, test), features)
    assert found.values["map"] == pytest.approx(float(whole.kept["svm_ap"][1:3].mean()), abs=1e-3)


def test_fewer_than_two_classes_are_refused_by_name(known, tmp_path):
    (train, test), features = known
    every = train.multilabels.clone()
    every[:, 1:] = True  # no image lacks them
    with pytest.raises(UserError, match=r"needs two classes .* 'maps' has 1 \(not class 1, class"):
        scored(tmp_path, (dataclasses.replace(train, multilabels=every), test), features)


def test_test_images_that_were_trained_on_and_odd_costs_are_refused(known, tmp_path):
    (train, test), features = known
    with pytest.raises(UserError, match="every test image is also a training image"):
        scored(tmp_path / "a", (train, train), features)
    for changes, sentence in (
        ({"folds": 1}, "at least two folds"), ({"costs": (0.0, 1.0)}, "costs above 0"),
        ({"costs": (2.0, 1.0)}, "must ascend"),
    ):  # fmt: skip
        odd = dataclasses.replace(PROTOCOL, **changes)
        with pytest.raises(UserError, match=sentence):
            scored(tmp_path / sentence[:3], (train, test), features, odd)


@pytest.mark.parametrize("recipe", ["untrained", "color-histogram"])
def test_it_scores_a_run_on_scenes(recipe, tmp_path: Path):
    run = finished(recipe, tmp_path)
    data = Scenes(resolution=16, num_train=60, num_test=40)
    quick = dataclasses.replace(PROTOCOL, name="quick.v1")
    (found,) = evaluate(run, [quick], data=data, root=tmp_path).values()
    assert set(found.values) == {"map", "chance", "skipped"}
    assert found.values["map"] > found.values["chance"] / 2
    assert_kept(run, found, quick, LabelScores)


def test_features_that_would_take_hours_are_refused(known, tmp_path, monkeypatch):
    (train, test), features = known
    monkeypatch.setattr(multilabel, "MOST_FEATURES", 700)
    with pytest.raises(UserError, match="at most 700 features, and this encoder gives 768"):
        scored(tmp_path, (train, test), features)
    with pytest.raises(UserError, match="pixels are soon more"):
        PROTOCOL.require_encoder(RawPixels())
