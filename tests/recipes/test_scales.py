"""Scales as files: rules by piece, entries by recipe, and where each setting comes from."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from sslbench.errors import UserError
from sslbench.recipes import RECIPES
from sslbench.recipes.resolve import resolve
from sslbench.recipes.scales import SCALES
from sslbench.recipes.scales.reading import FOLDER, parse_scale
from sslbench.recipes.scales.scale import Settings, holds
from sslbench.recipes.specs import MLP, NarrowResNet, View, Views, ViT

DOCUMENT: dict[str, Any] = {"summary": "none", "data": {"kind": "Shapes"}}
SEARCH = {"search": "one seed", "data": ["shapes"], "kept": False}


def files() -> Iterator[tuple[str, str, Settings]]:
    """Every file of rules: what it is called, the family that it is of ("" of all), its rules."""
    for scale in SCALES.values():
        for folder, rules in ((scale.name, scale), *((f"{scale.name}/{d}", r)
                              for d, r in scale.on.items())):  # fmt: skip
            common = {"": rules.common} if rules.common else {}
            whole = Settings(when={**rules.when, **common}, found=rules.found)
            for family, settings in {"": whole, **rules.families}.items():
                yield f"{folder}/{family or 'all'}", family, settings


FILES = {name: (family, settings) for name, family, settings in files()}


def test_every_folder_is_a_scale() -> None:
    assert set(SCALES) == {path.parent.name for path in FOLDER.glob("*/scale.yaml")}
    assert [scale.name for scale in SCALES.values()] == list(SCALES)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", [n for n, r in RECIPES.items() if r.family != "fixed"])
def test_every_recipe_that_trains_says_where_its_settings_come_from(name: str, scale: str) -> None:
    family = RECIPES[name].family
    found = SCALES[scale].evidence(name, family)
    assert found is not None
    if found.as_published:
        assert name not in SCALES[scale].recipes
    if found.copied_from is not None:
        original = SCALES[scale].evidence(found.copied_from, RECIPES[found.copied_from].family)
        assert original is not None and original.copied_from is None


@pytest.mark.parametrize("file", FILES)
def test_every_rule_says_where_it_comes_from_and_nothing_else_does(file: str) -> None:
    _, settings = FILES[file]
    rules = {condition or "common" for condition in settings.when}
    assert rules == set(settings.found) - set(RECIPES)
    assert set(settings.recipes) <= set(settings.found)


@pytest.mark.parametrize("file", FILES)
def test_every_rule_finds_its_piece_and_fields_in_some_recipe(file: str) -> None:
    family, settings = FILES[file]
    recipes = [r for r in RECIPES.values() if family in ("", r.family)]
    for condition, changes in settings.when.items():
        fitting = [r for r in recipes if not condition or holds(condition, r)]
        for path in changes:
            assert any(recipe.has(path) for recipe in fitting), f"{condition}: {path}"


@pytest.mark.parametrize(
    ("condition", "recipes"),
    [
        ("encoder=ViT", {"dino", "moco-v3-vit"}),
        ("encoder=ViT|SmallAlexNet", {"dino", "moco-v3-vit", "align-uniform"}),
        ("objective.queue", {"moco-v1", "ressl"}),
        ("objective.queue, encoder=ResNet, projector.hidden", {"ressl"}),
        ("projector.hidden_norm=false", {"dino", "ressl"}),
        ("predictor=null", {"dino", "moco-v1", "ressl", "align-uniform"}),
        ("batch_norm.splits=8", {"moco-v1", "ressl"}),
        ("objective.nothing", set()),
    ],
)
def test_a_condition_asks_for_kinds_values_and_what_is_there(condition, recipes) -> None:
    names = ("dino", "moco-v1", "moco-v3-vit", "ressl", "align-uniform")
    assert {name for name in names if holds(condition, RECIPES[name])} == recipes


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a recipe that no file of a scale knows."""
    head = MLP(hidden=(8192, 8192), out=8192)
    recipe = RECIPES["simclr"].but(
        {"name": "own", "source": "here", "projector": head, "target": "EMA"}
    )
    monkeypatch.setitem(RECIPES, "own", recipe)
    return "own"


def test_a_recipe_without_an_entry_gets_what_its_pieces_get(own: str) -> None:
    resolved = resolve(own, scale="laptop")
    recipe, provenance = resolved.experiment.recipe, resolved.provenance
    assert isinstance(recipe.encoder, NarrowResNet)
    assert recipe.projector.hidden == (256, 256) and recipe.projector.out == 8192
    assert (recipe.target.momentum, recipe.epochs) == (0.9, 12)
    assert provenance["target.momentum"] == "scale laptop, target=EMA"
    assert provenance["epochs"] == "scale laptop"
    assert provenance["projector.out"] == "recipe"


def test_a_rule_passes_over_what_a_recipe_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = RECIPES["simclr"].but({"name": "whole", "views.first.crop": None, "projector": None})
    monkeypatch.setitem(RECIPES, "whole", whole)
    recipe = resolve("whole", scale="laptop").experiment.recipe
    assert recipe.views.first.crop is None and recipe.projector is None


def test_an_entry_may_be_added_and_comes_after_all_rules(own: str, monkeypatch) -> None:
    monkeypatch.setitem(SCALES["laptop"].recipes, own, {"target.momentum": 0.5, "epochs": 3})
    laptop, smoke = resolve(own, scale="laptop"), resolve(own, scale="smoke")
    assert (laptop.experiment.recipe.target.momentum, laptop.experiment.recipe.epochs) == (0.5, 3)
    assert laptop.provenance["epochs"] == "scale laptop, own"
    # The scale built on it has the entry too, and its own changes after that.
    assert (smoke.experiment.recipe.target.momentum, smoke.experiment.recipe.epochs) == (0.5, 6)
    assert smoke.provenance["epochs"] == "scale smoke"


def test_a_vit_is_made_small_and_stays_a_vit(own: str) -> None:
    recipe = RECIPES["simclr"].but(encoder=ViT(arch="small", patch=4), views=Views(first=View()))
    layers = SCALES["laptop"].layers(own, recipe)
    assert [name for name, changes in layers if "encoder.width" in changes] == [
        "scale laptop, encoder=ViT"
    ]
    assert not any("encoder" in changes for _, changes in layers)


@pytest.mark.parametrize(
    ("document", "families", "words"),
    [
        ({"sumary": "x"}, {}, r"own/scale.yaml: no such field 'sumary'; did you mean 'summary'"),
        ({"name": "other"}, {}, r"own/scale.yaml: name: is not said here"),
        ({"base": "labtop"}, {}, r"own/scale.yaml: base: no scale 'labtop'"),
        ({"data": {"kind": "Shape"}}, {}, r"data: no kind 'Shape'; did you mean 'Shapes'"),
        (
            {"axes": {"epochs": {"published": [100, 200], "here": [6]}}},
            {},
            r"axes.epochs: needs as many values here as published",
        ),
        ({"as_published": True, "common": {"epochs": 3}}, {}, r"as_published: yet it changes"),
        ({}, {"joint": {"recipe": {}}}, r"own/joint.yaml: no such field 'recipe'; did you mean"),
        (
            {},
            {"joint": {"found": {"simclr": {"serch": "one seed"}}}},
            r"found.simclr: no such field 'serch'; did you mean 'search'",
        ),
        (
            {},
            {"joint": {"found": {"simclr": {**SEARCH, "copied_from": "dcl"}}}},
            r"own/joint.yaml: found.simclr: say one of study, search, copied_from",
        ),
        (
            {},
            {"joint": {"found": {"simclr": {"search": "one seed"}}}},
            r"found.simclr: a search says its data",
        ),
        (
            {},
            {"joint": {"recipes": {"byol": {}}}, "video": {"recipes": {"byol": {}}}},
            r"own/video.yaml: 'byol' is in another file too",
        ),
    ],
)
def test_what_is_wrong_in_a_scale_is_said_in_a_sentence(document, families, words) -> None:
    with pytest.raises(UserError, match=words):
        parse_scale({**DOCUMENT, **document}, families, name="own")


def test_a_later_family_is_one_more_file() -> None:
    families = {"video": {"when": {"encoder=ViT": {"epochs": 3}}, "recipes": {"siam": {}}}}
    scale = parse_scale(DOCUMENT, families, name="own")
    assert set(scale.families) == {"video"} and "siam" in scale.recipes


ON_CIFAR10 = {
    "set": {
        "num_train": 500,
        "common": {"epochs": 4},
        "axes": {"epochs": {"published": [100], "here": [2]}},
    },
    "joint": {"recipes": {"simclr": {"batch_size": 8}}},
    "tuned": {
        "simclr": {"study": "x.json", "digest": "0" * 16, "changes": {"batch_size": 16}},
    },
}


def test_a_folder_in_a_scale_is_what_it_changes_on_that_data_set() -> None:
    joint = {"recipes": {"simclr": {"batch_size": 4, "epochs": 9}}}
    scale = parse_scale(DOCUMENT, {"joint": joint}, name="own", sets={"cifar10": ON_CIFAR10})

    def batch(**where: Any) -> tuple[int, int]:
        recipe = RECIPES["simclr"]
        for _, changes in scale.layers("simclr", recipe, **where):
            recipe = recipe.but(changes)
        return recipe.batch_size, recipe.epochs

    assert batch() == batch(dataset="shapes") == (4, 9)
    assert batch(dataset="cifar10", tuned=False) == (8, 4)
    assert batch(dataset="cifar10") == (16, 4)
    assert scale.dataset("cifar10").num_train == 500 and scale.dataset("cifar100").num_train is None
    assert scale.axes_of("paper", dataset="cifar10")["epochs"][100] == 2
    assert scale.axes_of("paper") == {} == scale.axes_of("cifar", dataset="cifar10")
    assert scale.evidence("simclr", "joint", dataset="cifar10").study == "x.json"
    assert scale.evidence("simclr", "joint") is None


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"set": {"tuned": {}}}, r"own/cifar10/set.yaml: tuned: is not said here"),
        ({"set": {"base": "smoke"}}, r"own/cifar10/set.yaml: no such field 'base'"),
        ({"tuned": {"byol": {"study": "x"}}}, r"own/cifar10/tuned.yaml: byol: .*missing"),
        ({"joint": {"recipe": {}}}, r"own/cifar10/joint.yaml: no such field 'recipe'"),
        (
            {"set": {"small_axes": {"epochs": {"published": [1], "here": []}}}},
            r"own/cifar10/set.yaml: small_axes.epochs: needs as many",
        ),
    ],
)
def test_what_is_wrong_in_the_folder_of_a_data_set_is_said(files, words) -> None:
    with pytest.raises(UserError, match=words):
        parse_scale(DOCUMENT, {}, name="own", sets={"cifar10": files})


def test_no_file_is_read_before_a_scale_is_asked_for() -> None:
    code = """
from sslbench.recipes import RECIPES
from sslbench.recipes.scales import SCALES
from sslbench.recipes.scales.reading import read_scale
assert list(SCALES) and read_scale.cache_info().currsize == 0
SCALES["paper"]
assert read_scale.cache_info().currsize == 1
"""
    subprocess.run([sys.executable, "-c", code], check=True)
