from __future__ import annotations

import dataclasses

import pytest
import torch

from sslbench.engine.pretrain import pretrain
from sslbench.errors import UserError
from sslbench.evaluation.analyses import analyze_reconstruction
from sslbench.evaluation.evaluate import open_subject
from sslbench.evaluation.subject import Subject
from sslbench.streams import stream_key
from sslbench.views import normalize
from sslbench.views.masks import hidden_patches
from tests.tiny import tiny

PATCH = 4


def made(folder, **changes) -> Subject:
    experiment = tiny("mae", encoder__patch=PATCH, **changes)
    run = pretrain(experiment, provenance={}, runs=folder / "runs", root=folder)
    return open_subject(run, root=folder)


@pytest.fixture(scope="module")
def subject(tmp_path_factory) -> Subject:
    return made(tmp_path_factory.mktemp("masked"))


def patches(image):
    """A 3×16×16 image as its 16 patches, each 3×4×4."""
    return [image[:, y : y + 4, x : x + 4] for y in range(0, 16, 4) for x in range(0, 16, 4)]


def test_visible_patches_stay_and_hidden_ones_are_grey_then_predicted(subject):
    result = analyze_reconstruction(subject, index=[3])
    (point,) = result.points
    image = subject.dataset.test.images[3]
    seen = result.pictures[f"{point['picture']} seen"]
    filled = result.pictures[f"{point['picture']} filled"]
    assert torch.equal(result.pictures[point["image"]], image)
    grey = 0
    for true, here, made_of in zip(patches(image), patches(seen), patches(filled), strict=True):
        if bool((here == 128).all()):
            grey += 1
            assert not torch.equal(made_of, true)
        else:
            assert torch.equal(here, true) and torch.equal(made_of, true)
    assert grey == 12


def test_errors_are_those_of_a_loop_over_hidden_patches(subject):
    (line,) = analyze_reconstruction(subject).summary
    images = normalize(subject.dataset.test.images, subject.mean, subject.std)
    model, count = subject.masked, len(images)
    hidden = hidden_patches(
        model.mask, side=4, patch=PATCH, key=stream_key(0, "reconstruction masks"),
        samples=torch.arange(count),
    )  # fmt: skip
    with torch.no_grad():
        predicted = model.reconstruct(images, hidden)
    error = colour = 0.0
    for n in range(count):
        true = patches(images[n])
        visible = torch.stack([p for p, h in zip(true, hidden[n], strict=True) if not h])
        mean = visible.mean(dim=(0, 2, 3))
        for place in range(16):
            if hidden[n, place]:
                pixels = true[place].permute(1, 2, 0)
                guess = predicted[n, place].view(4, 4, 3)
                error += float((guess - pixels).square().mean()) / (12 * count)
                colour += float((mean - pixels).square().mean()) / (12 * count)
    assert line["images"] == count
    assert line["hidden_mse"] == pytest.approx(error, rel=1e-5)
    assert line["loss"] == pytest.approx(error, rel=1e-5)  # the recipe's own loss is the same
    assert line["mean_colour_mse"] == pytest.approx(colour, rel=1e-5)


def test_the_same_masks_every_time_and_others_by_another_seed(subject):
    first, again, other = (analyze_reconstruction(subject, index=[0], seed=s) for s in (0, 0, 1))
    assert first.summary == again.summary != other.summary
    (name,) = (p["picture"] for p in first.points)
    assert torch.equal(first.pictures[f"{name} seen"], again.pictures[f"{name} seen"])
    assert not torch.equal(first.pictures[f"{name} seen"], other.pictures[f"{name} seen"])


def test_each_ratio_is_a_line_and_a_pair_of_pictures(subject):
    result = analyze_reconstruction(subject, count=2, ratios=[0.25, 0.5])
    assert [line["ratio"] for line in result.summary] == [0.25, 0.5]
    assert len(result.points) == 4
    for point in result.points:
        seen = result.pictures[f"{point['picture']} seen"]
        grey = sum(bool((p == 128).all()) for p in patches(seen))
        assert grey == 16 * point["ratio"]


def test_a_fitted_target_is_drawn_as_the_run_fitted_it(tmp_path):
    own = made(
        tmp_path, objective__target={"kind": "Codebook", "size": 4, "patches": 400, "iterations": 2}
    )
    result = analyze_reconstruction(own, index=[0])
    (point,) = result.points
    filled = result.pictures[f"{point['picture']} filled"]
    seen = result.pictures[f"{point['picture']} seen"]
    x = own.masked.target.centres.view(4, 4, 4, 3).permute(0, 3, 1, 2)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (own.mean, own.std))
    entries = (255 * (x * std + mean).clamp(0, 1)).round().byte()
    for here, made_of in zip(patches(seen), patches(filled), strict=True):
        if bool((here == 128).all()):
            assert any(torch.equal(made_of, entry) for entry in entries)


def test_the_true_spread_of_a_patch_is_said_where_it_is_not_predicted(tmp_path):
    own = made(tmp_path, objective__target__normalize=True)
    result = analyze_reconstruction(own, index=[0])
    assert "the true ones" in result.notes[0]
    assert result.summary[0]["loss"] != result.summary[0]["hidden_mse"]


def test_what_is_no_picture_is_refused_in_a_sentence(subject, tmp_path):
    own = made(tmp_path, objective__target={"kind": "HOG", "cell": 4})
    with pytest.raises(UserError, match="predicts HOG, of which no picture"):
        analyze_reconstruction(own)
    with pytest.raises(UserError, match="not trained to fill in hidden patches"):
        analyze_reconstruction(dataclasses.replace(subject, recipe=tiny("simclr").recipe))
    with pytest.raises(UserError, match=r"--ratio: Mask: mask.ratio 1\.5"):
        analyze_reconstruction(subject, ratios=[1.5])
    with pytest.raises(UserError, match="--ratio: Mask"):
        analyze_reconstruction(subject, ratios=[0.99])


def test_images_are_brought_to_the_size_of_the_masked_view(tmp_path):
    own = made(tmp_path, views__first__size=8)
    result = analyze_reconstruction(own, index=[0])
    (point,) = result.points
    assert result.pictures[f"{point['picture']} filled"].shape == (3, 8, 8)
    assert result.summary[0]["hidden_mse"] > 0
