"""Segmentation fine-tuned: crops that move the map too, scratch beside it, and as it was where it
was killed."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sslbench.engine.folder import RunFolder
from sslbench.engine.pretrain import Options, pretrain
from sslbench.errors import Interrupted, UserError
from sslbench.evaluation import segmentation_finetune, segmentation_fits
from sslbench.evaluation.dense_kinds import LONGER
from sslbench.evaluation.evaluate import evaluate, open_subject
from sslbench.evaluation.per_image import ClassPixels
from sslbench.evaluation.protocols import PROTOCOLS
from sslbench.evaluation.segmentation import truth_of
from sslbench.evaluation.segmentation_fits import SegmentationFits, Segmenter, fcn_head
from sslbench.recipes.specs import Scenes
from sslbench.views.geometry import resample_labels
from tests.evaluation.test_per_image import assert_kept
from tests.killed import kill_at, killed
from tests.tiny import tiny

DATA = Scenes(resolution=16, num_train=40, num_test=12)
QUICK = dataclasses.replace(
    PROTOCOLS["segmentation.finetune.v1"], name="quick.v1", iterations=6, choice_iterations=3,
    batch_size=8, width=8, learning_rates=(4e-3, 3e-2), layer_decays=(1.0,),
)  # fmt: skip
ONE = dataclasses.replace(QUICK, name="one.v1", learning_rates=(4e-3,))


def trained(recipe: str, path: Path, **changes) -> RunFolder:
    options = Options(device="cpu", precision="fp32", compile="off", threads=1)
    experiment = dataclasses.replace(tiny(recipe, **changes), data=DATA)
    return pretrain(experiment, provenance={}, runs=path, root=path, options=options)


def score(folder: RunFolder, protocol=QUICK, **more):
    (found,) = evaluate(folder, [protocol], root=folder.path.parent, **more).values()
    return found


def kept(folder: RunFolder, name: str) -> dict[str, np.ndarray]:
    with np.load(folder.predictions_path("scenes", name)) as file:
        return dict(file)


def test_it_scores_a_run_beside_scratch_and_a_longer_scratch(tmp_path):
    run = trained("simclr", tmp_path)
    found = score(run)
    values = found.values
    assert set(values) == {value.key for value in QUICK.values}
    assert values["gain"] == pytest.approx(values["miou"] - values["scratch"])
    assert values["gain_long"] == pytest.approx(values["miou"] - values["scratch_long"])
    assert found.chosen["learning_rate"] in QUICK.learning_rates
    assert set(found.heldout) == {"miou"}
    arrays = kept(run, "quick.v1")
    assert arrays["semantic"].shape == (12, 16, 16) and arrays["semantic"].dtype == np.uint8
    truth = truth_of(open_subject(run, root=tmp_path, labelled=False).dataset.test).numpy()
    assert values["accuracy"] == pytest.approx(100 * float((arrays["semantic"] == truth).mean()))
    assert_kept(run, found, QUICK, ClassPixels)
    assert arrays["curve"][:, 0].tolist() == [1, 2, 3, 4, 5, 6]
    assert np.isfinite(arrays["curve"]).all() and arrays["curve"].dtype == np.float32
    assert not run.path.joinpath("fits").exists() or not list(run.path.joinpath("fits").iterdir())
    (untrained,) = (RunFolder(path) for path in tmp_path.glob("untrained-*"))
    plain = score(untrained)
    assert plain.values["miou"] == values["scratch"] and plain.values["gain"] == 0
    assert "scratch_long" not in plain.values
    names = {path.name for path in untrained.path.joinpath("scores").iterdir()}
    assert f"scenes.quick.v1.long-{LONGER}.json" in names
    longer = QUICK.longer(plain)
    assert longer.iterations == LONGER * QUICK.iterations
    assert longer.learning_rates == (plain.chosen["learning_rate"],)
    assert len(kept(untrained, longer.name)["curve"]) == LONGER * QUICK.iterations


def test_a_vit_is_scored_too(tmp_path):
    found = score(trained("untrained-vit", tmp_path), ONE)
    assert found.chosen == {"learning_rate": 4e-3, "layer_decay": 1.0} and found.heldout == {}


def test_killed_at_any_moment_it_goes_on_to_the_same_numbers(tmp_path):
    whole = trained("untrained", tmp_path / "a")
    expected = score(whole)
    other = trained("untrained", tmp_path / "b")
    for moment in (5, 9):  # while the settings are chosen (of 6 steps), and after
        assert killed(lambda moment=moment: score(other, progress=kill_at(moment)))
    seen = []
    found = score(other, progress=lambda step, steps, metrics: seen.append((step, steps)))
    assert seen == [(step, 12) for step in (9, 10, 11, 12)]  # after step 8 it was saved
    assert (found.values, found.chosen, found.heldout) == (
        expected.values, expected.chosen, expected.heldout,
    )  # fmt: skip
    for name, array in kept(whole, "quick.v1").items():
        assert np.array_equal(kept(other, "quick.v1")[name], array), name


def test_a_stopped_fit_ends_with_the_same_weights(tmp_path):
    run = trained("untrained", tmp_path)

    def weights(name, progress=None):
        subject = open_subject(run, root=tmp_path, labelled=False)
        subject = dataclasses.replace(subject, progress=progress)
        fits = SegmentationFits(dataclasses.replace(ONE, name=name), subject)
        return fits.fitted(torch.arange(40), (4e-3, 1.0), iterations=6)[0].state_dict()

    def stop(step, steps, metrics):
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    whole = weights("a.v1")
    with pytest.raises(Interrupted, match="after step 3 of 6 of the segmentation of untrained"):
        weights("b.v1", stop)
    resumed = weights("b.v1")
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


def test_image_and_map_move_together(tmp_path, monkeypatch):
    subject = open_subject(trained("untrained", tmp_path), root=tmp_path, labelled=False)
    fits = SegmentationFits(ONE, subject)
    places = fits.classes.places(fits.truth)
    # Images that show their own map: after any crop the nearest label is the one that is seen.
    fits.__dict__["images"] = (places * 20)[:, None].expand(-1, 3, -1, -1).contiguous()
    object.__setattr__(subject, "mean", (0.0, 0.0, 0.0))
    object.__setattr__(subject, "std", (1.0, 1.0, 1.0))
    seen = []

    class Looking(torch.nn.Module):
        def forward(self, images):
            seen.append(images[:, 0] * 255 / 20)
            return torch.zeros(len(images), len(fits.classes.values), 16, 16)

    asked = []
    monkeypatch.setattr(
        segmentation_fits, "summed_loss",
        lambda logits, labels: asked.append(labels) or logits.sum(),
    )  # fmt: skip
    loss = segmentation_fits._Loss(fits, Looking(), torch.arange(40), 8)
    for step in range(5):
        loss(step)
    shown, labels = torch.cat(seen), torch.cat(asked)
    near = (shown - labels).abs() < 0.5  # at edges bilinear pixels lie between two labels
    assert float(near.float().mean()) > 0.85
    mirrored = (shown - labels.flip(2)).abs() < 0.5
    assert float(mirrored.float().mean()) < float(near.float().mean()) - 0.02
    again = segmentation_fits._Loss(fits, Looking(), torch.arange(40), 8)
    asked.clear()
    again(0)
    assert torch.equal(asked[0], labels[:8])


def test_labels_are_those_of_the_nearest_pixel():
    maps = torch.arange(3 * 8 * 8).view(3, 8, 8)
    whole = torch.tensor([[0.0, 0.0, 8.0, 8.0]]).expand(3, 4)
    flipped = torch.tensor([False, True, False])
    found = resample_labels(maps, whole, flipped, side=8)
    assert torch.equal(found[0], maps[0]) and torch.equal(found[1], maps[1].flip(1))
    boxes = torch.tensor([[2.0, 1.0, 4.0, 6.0], [0.0, 0.0, 8.0, 8.0], [4.0, 4.0, 2.0, 2.0]])
    found = resample_labels(maps, boxes, None, side=4)
    for n, (top, left, height, width) in enumerate(boxes.tolist()):
        for i in range(4):
            for j in range(4):
                row = int(top + (i + 0.5) * height / 4)
                column = int(left + (j + 0.5) * width / 4)
                assert found[n, i, j] == maps[n, row, column]


def test_a_setting_that_diverges_loses_and_all_that_do_are_a_sentence(tmp_path):
    run = trained("untrained", tmp_path)
    wild = dataclasses.replace(QUICK, learning_rates=(4e-3, 1e30))
    assert score(run, wild).chosen["learning_rate"] == 4e-3
    hopeless = dataclasses.replace(wild, learning_rates=(1e30, 1e31))
    with pytest.raises(UserError, match=r"Every fit of quick.v1 on untrained-s0-\w+ has diverged"):
        score(run, hopeless)


def test_void_is_not_learned_and_a_batch_of_nothing_else_is_no_mishap(tmp_path):
    subject = open_subject(trained("untrained", tmp_path), root=tmp_path, labelled=False)
    fits = SegmentationFits(ONE, subject)
    truth = fits.truth.clone()
    truth[:20] = 255
    fits.__dict__["truth"] = truth
    module = fits._start()
    nothing = segmentation_fits._Loss(fits, module, torch.arange(20), 8)(0)
    assert float(nothing.detach()) == 0
    logits = torch.randn(2, 3, 4, 4)
    places = torch.tensor([0, 1, 2, 255]).expand(2, 4, 4)
    expected = F.cross_entropy(
        logits.permute(0, 2, 3, 1)[places != 255], places[places != 255], reduction="sum"
    )
    assert torch.allclose(segmentation_fits.summed_loss(logits, places), expected)


def test_the_head_is_two_3x3_convolutions_and_a_1x1_and_draws_nothing_global(tmp_path):
    head = fcn_head(5, 4, width=6, dilation=2)
    kernels = [m.weight.shape for m in head if isinstance(m, torch.nn.Conv2d)]
    assert kernels == [(6, 5, 3, 3), (6, 6, 3, 3), (4, 6, 1, 1)]
    assert head(torch.zeros(2, 5, 7, 7)).shape == (2, 4, 7, 7)
    subject = open_subject(trained("untrained", tmp_path), root=tmp_path, labelled=False)
    before = torch.get_rng_state()
    one, two = (SegmentationFits(ONE, subject)._start() for _ in range(2))
    assert torch.equal(before, torch.get_rng_state()) and isinstance(one, Segmenter)
    assert all(map(torch.equal, one.state_dict().values(), two.state_dict().values()))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"layer_decays": (0.0,)}, "layer decay 0 must lie above 0"),
        ({"warmup": 1.5}, r"a warm-up of 1\.5 must be a share"),
        ({"batch_size": 1}, "a batch norm needs batches of two images or more"),
        ({"iterations": 0}, "needs at least one iteration"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, sentence, tmp_path):
    subject = open_subject(trained("untrained", tmp_path), root=tmp_path, labelled=False)
    with pytest.raises(UserError, match=sentence):
        segmentation_finetune.check(dataclasses.replace(QUICK, **changes), subject)


def test_an_encoder_without_parameters_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"has no parameters; use segmentation\.linear\.v1"):
        score(trained("raw-pixels", tmp_path))
