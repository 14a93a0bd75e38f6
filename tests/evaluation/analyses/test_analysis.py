from __future__ import annotations

import dataclasses

import pytest
import torch

from sslbench.engine.folder import RunFolder
from sslbench.errors import UserError
from sslbench.evaluation.analyses import analysis
from sslbench.evaluation.analyses.analysis import (
    batches,
    blocks,
    check_batch_sizes,
    embeddings,
    histogram,
    pairs,
    rows_of,
    temperature_of,
)
from sslbench.evaluation.evaluate import evaluate, open_subject
from sslbench.evaluation.geometry import alignment
from sslbench.recipes import RECIPES
from sslbench.recipes.specs import CrossCorrelation


@pytest.mark.parametrize("at_a_time", [1, 40, 2**22])
def test_an_anchor_meets_both_views_of_all_other_images(sphere, monkeypatch, at_a_time):
    monkeypatch.setattr(analysis, "PAIRS", at_a_time)
    first, second = sphere(5, 3), sphere(5, 3, 1)
    views = [*first, *second]
    place = 0
    for block in blocks(first, second):
        for row, image in enumerate(block.images.tolist()):
            anchor, other = views[place], views[(place + 5) % 10]
            assert image == place % 5
            assert float(block.positive[row]) == pytest.approx(float(anchor @ other))
            expected = [float(anchor @ v) for j, v in enumerate(views) if j % 5 != image]
            assert block.cosines[row][block.negative[row]].tolist() == pytest.approx(expected)
            place += 1
    assert place == 10


def test_histogram_counts_everything_and_integrates_to_one():
    values = torch.tensor([-3.0, -0.9, 0.1, 0.2, 0.9, 5.0])
    edges = torch.linspace(-1, 1, 5, dtype=torch.float64)
    centres, density = histogram(values, edges)
    assert centres.tolist() == [-0.75, -0.25, 0.25, 0.75]
    assert (density * 0.5 * 6).tolist() == pytest.approx([2, 0, 2, 2])


def test_an_image_is_in_one_batch_at_most():
    parts = batches(23, 5)
    assert parts.shape == (4, 5)
    assert len(parts.unique()) == 20
    assert int(parts.max()) < 23
    assert torch.equal(parts, batches(23, 5))


def test_batch_sizes_are_those_that_there_are_images_for():
    assert check_batch_sizes(None, 200) == [32, 64, 128]
    assert check_batch_sizes([16, 8, 16], 20) == [8, 16]
    for sizes, available in (([1], 20), ([21], 20), (None, 20)):
        with pytest.raises(UserError, match="batch-sizes"):
            check_batch_sizes(sizes, available)


def test_temperature_is_the_runs_own_or_must_be_given(subject):
    assert temperature_of(subject, None) == subject.recipe.objective.temperature
    assert temperature_of(subject, 0.5) == 0.5
    other = subject.recipe.but(objective=CrossCorrelation())
    for recipe in (other, RECIPES["supervised"]):
        with pytest.raises(UserError, match="--temperature"):
            temperature_of(dataclasses.replace(subject, recipe=recipe), None)
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(UserError, match="above 0"):
            temperature_of(subject, wrong)


def test_projections_are_the_projector_on_the_cached_features(subject):
    rows = rows_of(subject)
    h = embeddings(subject, rows, space="representation")
    assert torch.equal(h, subject.features.test[rows])
    z = h
    state = subject.projector.state_dict()
    for layer in subject.projector:
        z = layer(z)
    assert torch.equal(embeddings(subject, rows, space="projection"), z)
    assert all(not value.requires_grad for value in state.values())


def test_the_projector_is_the_one_that_was_trained(subject, trained):
    """In evaluation mode, and not the initialisation that the same recipe starts with."""
    from sslbench.engine.building import build_method

    start = build_method(trained.experiment(), subject.dataset).projector.state_dict()
    kept = subject.projector.state_dict()
    assert start.keys() == kept.keys()
    assert not any(torch.equal(start[k], kept[k]) for k in kept if k.endswith("running_mean"))
    assert not subject.projector.training


def test_pairs_are_those_of_the_geometry_protocol(subject, trained):
    first, second = pairs(subject, rows_of(subject), space="representation")
    score = evaluate(trained, ["geometry"], root=trained.path.parent)["geometry.v1"]
    assert alignment(first, second, power=2.0) == pytest.approx(score.values["alignment"], rel=1e-5)
    for views in (first, second, *pairs(subject, rows_of(subject), space="projection")):
        assert torch.allclose(views.norm(dim=1), torch.ones(32))


def test_a_run_without_its_projector_is_refused_in_a_sentence(trained, tmp_path):
    import shutil

    folder = RunFolder(shutil.copytree(trained.path, tmp_path / trained.path.name))
    folder.network_path("projector").unlink()
    old = open_subject(folder, root=tmp_path)
    with pytest.raises(UserError, match="earlier version"):
        embeddings(old, rows_of(old), space="projection")
    assert len(embeddings(old, rows_of(old), space="representation")) == 32


def test_without_a_projector_in_the_recipe_the_projection_is_the_representation(subject):
    bare = dataclasses.replace(subject, recipe=subject.recipe.but(projector=None))
    rows = rows_of(bare)
    z, h = (embeddings(bare, rows, space=s) for s in ("projection", "representation"))
    assert torch.equal(z, h)
    projected, plain = (pairs(bare, rows, space=s) for s in ("projection", "representation"))
    assert all(torch.equal(a, b) for a, b in zip(projected, plain, strict=True))


def test_supervised_training_has_no_projection(subject):
    recipe = RECIPES["supervised"].but(encoder=subject.recipe.encoder)
    supervised = dataclasses.replace(subject, recipe=recipe)
    with pytest.raises(UserError, match="with labels"):
        embeddings(supervised, rows_of(supervised), space="projection")
