"""Layers: recipe < scale < table < row < --set, with the origin of every field."""

from __future__ import annotations

from typing import Any

import pytest

from sslbench.errors import UserError
from sslbench.recipes import RECIPES
from sslbench.recipes.resolve import resolve
from sslbench.recipes.scales import SCALES
from sslbench.recipes.specs import NarrowResNet, RawPixels


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_resolves_at_every_scale(recipe, scale):
    resolved = resolve(recipe, scale=scale)
    assert set(resolved.provenance) == {path for path, _ in resolved.experiment.recipe.leaves()}


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_paper_scale_is_the_recipe_as_published(recipe):
    assert resolve(recipe, scale="paper").experiment.recipe == RECIPES[recipe]


def test_later_layers_win_and_are_named():
    layers = [("table t", {"epochs": 200, "batch_size": 32}), ("row r", {"epochs": 400})]
    resolved = resolve("byol", scale="laptop", layers=[*layers, ("--set", {"epochs": 3})])
    assert resolved.experiment.recipe.epochs == 3
    assert resolved.provenance["epochs"] == "--set"
    assert resolved.provenance["batch_size"] == "table t"
    assert resolved.provenance["views.first.blur"] == "scale laptop"
    assert resolved.provenance["encoder.width"] == "scale laptop, encoder=ResNet|SmallAlexNet"
    assert resolved.provenance["target.momentum"] == "scale laptop, byol"
    assert resolved.provenance["views.second.flip"] == "recipe"


def test_published_values_of_a_row_are_mapped_and_set_is_literal():
    axis = SCALES["laptop"].axes["epochs"]
    row = resolve("byol", scale="laptop", layers=[("row r", {"epochs": 800})])
    literal = resolve("byol", scale="laptop", layers=[("--set", {"epochs": 800})])
    assert row.experiment.recipe.epochs == axis[800]
    assert literal.experiment.recipe.epochs == 800


def test_a_star_leaves_out_the_views_without_that_piece():
    layers = [("row r", {"views.second.crop": None}), ("--set", {"views.*.crop.scale": [0.5, 1]})]
    views = resolve("byol", scale="paper", layers=layers).experiment.recipe.views
    assert views.first.crop.scale == (0.5, 1.0) and views.second.crop is None
    with pytest.raises(UserError, match="no such field 'scael' of Crop"):
        resolve("byol", scale="paper", layers=[("--set", {"views.*.crop.scael": 1})])


def test_a_star_sets_every_width_of_a_list():
    def hidden(recipe: str) -> tuple[int, ...]:
        layers = [("--set", {"projector.hidden.*": 64})]
        return resolve(recipe, scale="laptop", layers=layers).experiment.recipe.projector.hidden

    assert (hidden("byol"), hidden("simsiam"), hidden("moco-v1")) == ((64,), (64, 64), ())


def test_values_published_on_small_images_have_axes_of_their_own():
    layers = [("row r", {"batch_size": 256, "epochs": 200})]

    def resolved(scale: str, **more: Any) -> tuple[int, int]:
        recipe = resolve("simclr", scale=scale, layers=layers, **more).experiment.recipe
        return recipe.batch_size, recipe.epochs

    assert resolved("cifar", published_at="cifar") == (256, 200)
    assert resolved("laptop", published_at="cifar") == (64, 12)
    assert resolved("cifar") == (64, 100)
    assert resolved("paper") == (256, 200)


def test_a_published_encoder_is_mapped_too():
    layers = [("row r", {"encoder": {"kind": "ViT", "arch": "base"}})]

    def arch(scale: str) -> str:
        return resolve("simclr", scale=scale, layers=layers).experiment.recipe.encoder.arch

    assert (arch("paper"), arch("laptop"), arch("cifar")) == ("base", "tiny", "tiny")


def test_fields_inside_a_mapping_are_mapped_too():
    change = {"kind": "InfoNCE", "negatives": "queue", "queue": 65536, "temperature": 0.07}
    resolved = resolve("moco-v1", scale="laptop", layers=[("row r", {"objective": change})])
    assert resolved.experiment.recipe.objective.queue == 2048


def test_an_axis_of_one_recipe_leaves_others_alone():
    layers = [("row r", {"projector.out": 2048})]
    assert resolve("simsiam", scale="laptop", layers=layers).experiment.recipe.projector.out == 256
    assert resolve("byol", scale="laptop", layers=layers).experiment.recipe.projector.out == 2048


def test_baselines_stay_untrained_and_keep_their_encoder():
    untrained = resolve("untrained", scale="laptop").experiment.recipe
    pixels = resolve("raw-pixels", scale="laptop").experiment.recipe
    assert untrained.epochs == pixels.epochs == 0
    assert isinstance(untrained.encoder, NarrowResNet)
    assert isinstance(pixels.encoder, RawPixels)


def test_equal_experiments_have_equal_digests_whatever_the_scale_is_called():
    a = resolve("byol", scale="laptop").experiment
    assert a.digest() == a.but(scale="cifar").digest()
    assert a.digest() != a.but(seed=1).digest()


@pytest.mark.parametrize(
    ("recipe", "scale", "words"),
    [("simclar", "laptop", "did you mean 'simclr'"), ("byol", "labtop", "did you mean 'laptop'")],
)
def test_unknown_names_are_refused_with_the_nearest(recipe, scale, words):
    with pytest.raises(UserError, match=words):
        resolve(recipe, scale=scale)


def test_an_error_names_recipe_and_layer():
    with pytest.raises(UserError, match=r"byol, row r: predictor\.hiden"):
        resolve("byol", scale="laptop", layers=[("row r", {"predictor.hiden": [3]})])


def test_a_real_set_follows_the_scale():
    data = SCALES["laptop"].dataset("cifar10")
    assert (data.name, data.resolution, data.num_train) == ("cifar10", 32, 8_000)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"encoder": {"kind": "ViT", "patch": 8}, "views.local.size": 20},
            r"patch of 8 does not divide a view of 20 pixels; try views\.local\.size=16",
        ),
        (
            {"encoder": {"kind": "ViT", "patch": 12}, "views.local.size": 24},
            r"encoder\.patch: 12 does not divide the resolution 32; try encoder\.patch=8",
        ),
        ({"encoder": "SmallAlexNet"}, r"SmallAlexNet: takes images of one size; .*num_local=0"),
    ],
)
def test_crops_that_the_encoder_cannot_take_are_refused(changes, message):
    crops = {"views.local": {"kind": "View", "size": 16}, "views.num_local": 2}
    with pytest.raises(UserError, match=message):
        resolve("byol", scale="laptop", layers=[("--set", crops | changes)])


def test_width_and_heads_of_a_vit_are_set_one_after_the_other() -> None:
    sets = {"encoder.width": 96, "encoder.heads": 3}
    for layer in (sets, dict(reversed(sets.items()))):
        recipe = resolve("dino", scale="smoke", layers=[("--set", layer)]).experiment.recipe
        assert recipe.encoder.shape()[::2] == (96, 3)
    with pytest.raises(UserError, match="3 heads do not divide a width of 64"):
        resolve("dino", scale="smoke", layers=[("--set", {"encoder.heads": 3})])


def test_a_local_view_that_is_not_drawn_may_have_any_size() -> None:
    changes = {"encoder": "SmallAlexNet", "views.first.size": None, "views.num_local": 0}
    recipe = resolve("simclr-multicrop", scale="laptop", layers=[("--set", changes)])
    assert recipe.experiment.recipe.views.num_local == 0


def test_a_list_of_mappings_in_a_layer_is_refused_in_a_sentence():
    layers = [("row a", {"encoder.blocks": [{"a": 1}]})]
    with pytest.raises(UserError, match=r"encoder.blocks\[0\]: needs a whole number"):
        resolve("byol", scale="laptop", layers=layers)


HOT = {"kind": "InfoNCE", "temperature": 2.5}


def test_a_start_by_name_is_that_recipe_at_the_scale_under_the_same_layers_changes() -> None:
    row = {"epochs": 400, "start": "moco-v2", "start.objective.temperature": 0.3,
           "start.objective.queue": 65536}  # fmt: skip
    found = resolve("simclr", scale="laptop", layers=[("row x", row)])
    own = {k.removeprefix("start."): v for k, v in row.items() if k.startswith("start.")}
    alone = resolve("moco-v2", scale="laptop", layers=[("row x", own)])
    assert found.start is not None and found.experiment.recipe.epochs == 24
    assert found.start.experiment == alone.experiment
    assert found.start.provenance == alone.provenance
    assert alone.experiment.recipe.objective.queue == 2048
    assert set(found.provenance) == set(dict(found.experiment.recipe.leaves()))
    assert found.provenance["start.kind"] == "row x"


def test_later_layers_change_a_start_and_map_its_values() -> None:
    layers = [
        ("row x", {"start": "align-uniform"}),
        ("row y", {"start.objective": HOT, "start.batch_size": 4096}),
        ("--set", {"start.epochs": 400}),
    ]
    found = resolve("align-uniform", scale="laptop", layers=layers)
    recipe = found.start.experiment.recipe
    assert (recipe.objective.temperature, recipe.batch_size, recipe.epochs) == (2.5, 256, 400)
    assert found.provenance["start.kind"] == "row x"
    assert found.provenance["start.batch_size"] == "row y"
    assert found.provenance["start.epochs"] == "--set"
    assert found.provenance["start.encoder.width"].startswith("scale laptop")
    gone = resolve("align-uniform", scale="laptop", layers=[*layers, ("row z", {"start": None})])
    assert (
        gone.start is None
        and gone.experiment == resolve("align-uniform", scale="laptop").experiment
    )
    assert set(gone.provenance) == set(dict(gone.experiment.recipe.leaves()))


def test_a_published_recipe_with_a_start_is_brought_to_the_scale_whole(monkeypatch) -> None:
    tuned = RECIPES["align-uniform"].but(
        name="tuned", start=RECIPES["simclr"].but(encoder="SmallAlexNet")
    )
    monkeypatch.setitem(RECIPES, "tuned", tuned)
    found = resolve("tuned", scale="laptop")
    assert found.start.experiment.recipe == resolve("simclr", scale="laptop").experiment.recipe
    assert found.start.provenance["epochs"] == "scale laptop"


def test_a_start_of_a_start_is_named_by_its_path() -> None:
    layers = [("--set", {"start": "simclr", "start.start": "byol", "start.start.epochs": 3})]
    found = resolve("simclr", scale="laptop", layers=layers)
    assert found.start.start.experiment.recipe.epochs == 3
    assert found.start.start.start is None
    assert found.provenance["start.start.epochs"] == "--set"
