"""Detection: chosen without the test set, beside scratch, and as it was where it was killed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from sslbench.data import load
from sslbench.data.split import Instances
from sslbench.engine.folder import RunFolder
from sslbench.engine.pretrain import Options, pretrain
from sslbench.errors import UserError
from sslbench.evaluation import detection_fits
from sslbench.evaluation.detection_batches import parts
from sslbench.evaluation.detection_fits import Fits, precisions
from sslbench.evaluation.evaluate import evaluate, open_subject
from sslbench.evaluation.per_image import MaskVerdicts, Verdicts
from sslbench.evaluation.protocols import PROTOCOLS
from sslbench.recipes.specs import Scenes
from tests.evaluation.test_per_image import assert_kept
from tests.killed import kill_at, killed
from tests.tiny import tiny

DATA = Scenes(resolution=32, num_train=40, num_test=10)
SMALL = {"iterations": 8, "choice_iterations": 4, "batch_size": 4, "norm_batches": 2, "width": 8,
         "hidden": 16, "learning_rates": (0.01, 0.1)}  # fmt: skip
QUICK = dataclasses.replace(PROTOCOLS["detection.v1"], name="quick.v1", **SMALL)
ONE = dataclasses.replace(QUICK, name="one.v1", learning_rates=(0.05,))
C4 = dataclasses.replace(PROTOCOLS["detection.c4.v1"], **SMALL | {"learning_rates": (0.05,)})
MASKS = dataclasses.replace(PROTOCOLS["instance.v1"], **SMALL | {"learning_rates": (0.05,)})


def trained(recipe: str, path: Path, *, data=DATA, **changes) -> RunFolder:
    options = Options(device="cpu", precision="fp32", compile="off", threads=1)
    experiment = tiny(recipe, **changes).but(data=data)
    return pretrain(experiment, provenance={}, runs=path, root=path, options=options)


def score(folder: RunFolder, protocol, **more):
    (found,) = evaluate(folder, [protocol], root=folder.path.parent, **more).values()
    return found


def kept(folder: RunFolder, protocol) -> dict[str, np.ndarray]:
    with np.load(folder.predictions_path("scenes", protocol.name)) as file:
        return dict(file)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory) -> RunFolder:
    return trained("untrained", tmp_path_factory.mktemp("untrained"))


@pytest.mark.parametrize("recipe", ["simclr", "untrained-vit"])
def test_it_scores_any_encoder_beside_scratch(recipe, tmp_path):
    run = trained(recipe, tmp_path)
    found = score(run, QUICK)
    own = {"ap", "ap50", "ap75", "scratch", "gain"}
    assert set(found.values) == own | (
        {"scratch_long", "gain_long"} if recipe == "simclr" else set()
    )
    assert found.values["gain"] == found.values["ap"] - found.values["scratch"]
    assert all(0 <= found.values[name] <= 100 for name in ("ap", "ap50", "ap75", "scratch"))
    assert found.chosen["learning_rate"] in QUICK.learning_rates
    assert set(found.heldout) == {"ap", "ap50", "ap75"}
    assert not run.path.joinpath("fits", "scenes.quick.v1").exists()
    arrays = kept(run, QUICK)
    assert set(arrays) == {
        "det_image", "det_box", "det_score", "det_label", "curve", *Verdicts.names,
    }  # fmt: skip
    assert_kept(run, found, QUICK, Verdicts)
    assert arrays["curve"][:, 0].tolist() == list(range(1, 9))
    if recipe == "simclr":
        (path,) = tmp_path.glob("untrained-*")
        assert {file.name for file in (path / "scores").iterdir()} == {
            "scenes.quick.v1.json", "scenes.quick.v1.long-3.json",
        }  # fmt: skip


def test_masks_have_values_of_their_own(untrained):
    found = score(untrained, MASKS)
    assert set(found.values) == {
        *(f"{kind}_{name}" for kind in ("box", "mask") for name in ("ap", "ap50", "ap75")),
        "scratch_box_ap", "scratch_mask_ap", "gain_box", "gain_mask",
    }  # fmt: skip
    known = {value.key for value in MASKS.values}
    assert set(found.values) < known
    arrays = kept(untrained, MASKS)
    assert arrays["det_mask_shape"].tolist() == [len(arrays["det_image"]), 32, 32]
    assert np.bincount(arrays["det_image"], minlength=10).max() <= 20
    assert_kept(untrained, found, MASKS, MaskVerdicts)


def test_killed_at_any_moment_it_goes_on_to_the_same_numbers(tmp_path):
    whole = trained("untrained", tmp_path / "a")
    expected = score(whole, QUICK)
    other = trained("untrained", tmp_path / "b")
    for moment in (6, 12):  # while the rate is chosen (of 8 steps), and after
        assert killed(lambda moment=moment: score(other, QUICK, progress=kill_at(moment)))
    seen = []
    found = score(other, QUICK, progress=lambda step, steps, metrics: seen.append(step))
    assert seen == [12, 13, 14, 15, 16]  # what was saved after step 11 is not done again
    assert (found.values, found.chosen, found.heldout) == (
        expected.values, expected.chosen, expected.heldout,
    )  # fmt: skip
    before, after = kept(whole, QUICK), kept(other, QUICK)
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_rate_that_diverges_loses_and_all_that_do_are_a_sentence(untrained):
    wild = dataclasses.replace(QUICK, name="wild.v1", learning_rates=(0.01, 1e30))
    assert score(untrained, wild).chosen["learning_rate"] == 0.01
    hopeless = dataclasses.replace(wild, learning_rates=(1e30, 1e31))
    with pytest.raises(UserError, match=r"Every fit of wild.v1 on untrained-s0-\w+ has diverged"):
        score(untrained, hopeless, force=True)


def test_the_objects_of_the_test_set_choose_nothing(untrained, tmp_path):
    dataset = load(DATA, root=tmp_path)
    objects = dataset.test.instances
    wrong = dataclasses.replace(objects, label=objects.label.flip(0))
    poisoned = dataclasses.replace(dataset, test=dataclasses.replace(dataset.test, instances=wrong))
    honest, same = score(untrained, QUICK), kept(untrained, QUICK)
    fooled = score(untrained, QUICK, dataset=poisoned, force=True)
    assert (fooled.chosen, fooled.heldout) == (honest.chosen, honest.heldout)
    now = kept(untrained, QUICK)
    moved = {name for name, array in now.items() if not np.array_equal(same[name], array)}
    assert moved <= set(Verdicts.names)  # what was found is right or wrong by the objects


def with_objects(dataset, **changes):
    """The data set with other training objects."""
    found = dataclasses.replace(dataset.train.instances, **changes)
    return dataclasses.replace(dataset, train=dataclasses.replace(dataset.train, instances=found))


def test_batches_mirror_boxes_and_masks_with_their_images(untrained):
    subject = open_subject(untrained, root=untrained.path.parent, labelled=False)
    fits = Fits(dataclasses.replace(MASKS, flip=1.0), subject)
    images, targets = fits.batches(torch.arange(40))(3)
    unflipped = Fits(dataclasses.replace(MASKS, flip=0.0), subject)
    plain, straight = unflipped.batches(torch.arange(40))(3)
    assert torch.equal(images.flip(-1), plain)
    for target, other in zip(targets, straight, strict=True):
        assert torch.equal(target["masks"].flip(-1), other["masks"])
        for mask, (left, top, right, bottom) in zip(
            target["masks"], target["boxes"].long().tolist(), strict=True
        ):
            rows, columns = mask.nonzero().unbind(1)
            assert (columns.min(), rows.min()) == (left, top)
            assert (columns.max() + 1, rows.max() + 1) == (right, bottom)
        assert target["labels"].min() >= 1


def test_every_image_is_seen_once_before_any_is_seen_again(untrained):
    subject = open_subject(untrained, root=untrained.path.parent, labelled=False)
    batches = Fits(ONE, subject).batches(torch.arange(3, 13))
    seen = torch.cat([batches.chosen(step) for step in range(5)])  # 20 places, 10 images
    for part in seen.split(10):
        assert part.sort().values.tolist() == list(range(3, 13))


def test_crowds_are_not_trained_on_and_images_may_be_empty(untrained, tmp_path):
    dataset = load(DATA, root=tmp_path)
    crowd = dataset.train.instances.image < 38
    dataset = with_objects(dataset, crowd=crowd)
    subject = dataclasses.replace(
        open_subject(untrained, root=untrained.path.parent, labelled=False), dataset=dataset
    )
    batches = Fits(MASKS, subject).batches(torch.arange(4))
    assert all(len(target["boxes"]) == 0 for target in batches(0)[1])
    detector, curve = Fits(MASKS, subject).fitted(torch.arange(4), 0.05, iterations=3)
    state = detector.state_dict().values()
    assert all(bool(torch.isfinite(x).all()) for x in state if x.is_floating_point())
    assert [step for step, _ in curve] == [1, 2, 3]


def test_statistics_of_batch_norms_are_means_over_batches(untrained):
    subject = open_subject(untrained, root=untrained.path.parent, labelled=False)
    fits = Fits(ONE, subject)
    detector, _ = fits.fitted(torch.arange(40), 0.05, iterations=2)
    batches = fits.batches(torch.arange(40))
    first = detector.backbone.encoder.conv1
    outputs = [first(batches(step)[0]) for step in (2, 3)]
    norm = detector.backbone.encoder.bn1
    means = torch.stack([x.mean((0, 2, 3)) for x in outputs]).mean(0)
    torch.testing.assert_close(norm.running_mean, means, rtol=1e-4, atol=1e-5)
    assert norm.momentum == 0.1


def test_a_runs_drop_path_has_no_part_in_it(tmp_path):
    run = trained("untrained-vit", tmp_path, encoder__drop_path=0.5)
    subject = open_subject(run, root=tmp_path, labelled=False)
    kinds = {type(module).__name__ for module in subject.encoder.modules()}
    assert "DropPath" in kinds
    assert "DropPath" not in {type(m).__name__ for m in Fits(ONE, subject)._start().modules()}


def test_a_large_set_is_cut_and_a_small_one_is_not(untrained):
    subject = open_subject(untrained, root=untrained.path.parent, labelled=False)
    rest, heldout = parts(subject, 1000)
    assert (len(rest), len(heldout)) == (32, 8)
    few, some = parts(subject, 20)
    assert (len(few), len(some)) == (16, 4)
    assert set(few.tolist()) < set(rest.tolist())
    assert set(some.tolist()) < set(heldout.tolist())


def test_what_cannot_be_measured_is_refused_before_anything_is_fitted(
    untrained, tmp_path, monkeypatch
):
    monkeypatch.setattr(detection_fits.Fit, "run", None)
    dataset = load(DATA, root=tmp_path)
    objects = dataset.train.instances

    def refused(sentence, protocol=QUICK, changed=dataset, folder=untrained):
        with pytest.raises(UserError, match=sentence):
            score(folder, protocol, dataset=changed, force=True)

    none = torch.ones(len(objects), dtype=torch.bool)
    refused("needs boxes, and no training image of scenes has one",
            changed=with_objects(dataset, crowd=none))  # fmt: skip
    refused(r"of the test images' classes are in no training image of scenes",
            changed=with_objects(dataset, label=torch.zeros_like(objects.label)))  # fmt: skip
    boxes = Instances(image=objects.image, box=objects.box, label=objects.label)
    bare = dataclasses.replace(dataset, train=dataclasses.replace(dataset.train, instances=boxes))
    refused("instance.v1 needs masks", MASKS, bare)
    there = torch.isin(objects.image, dataset.heldout)
    refused("no image of scenes among them has a box", changed=with_objects(dataset, crowd=there))
    refused("need one batch or more", dataclasses.replace(QUICK, iterations=0))
    with pytest.raises(UserError, match="needs images of 32 pixels or more, and these have 16"):
        score(trained("untrained", tmp_path / "a", data=DATA.but(resolution=16)), QUICK)
    with pytest.raises(UserError, match="takes a ResNet of two stages"):
        score(trained("untrained-vit", tmp_path / "b"), C4)
    with pytest.raises(UserError, match="trains the encoder, and this one has no parameters"):
        score(trained("raw-pixels", tmp_path / "c"), QUICK)


def test_c4_is_scored(untrained):
    assert set(score(untrained, C4).values) == {"ap", "ap50", "ap75", "scratch", "gain"}


@pytest.mark.slow
def test_it_learns_twenty_images_by_heart(tmp_path):
    data = Scenes(num_train=20, num_test=20)
    encoder = {"encoder": {"kind": "NarrowResNet", "width": 16, "blocks": [1, 1, 1]}}
    run = trained("untrained", tmp_path, data=data, **encoder)
    protocol = dataclasses.replace(PROTOCOLS["detection.v1"], flip=0.0)
    subject = open_subject(run, root=tmp_path, labelled=False)
    fits = Fits(protocol, subject)
    detector, _ = fits.fitted(torch.arange(20), 0.08, iterations=200)
    train = subject.dataset.train
    found, _ = precisions(train, fits.found(detector, train.images))
    assert found["ap50"] > 90, found
