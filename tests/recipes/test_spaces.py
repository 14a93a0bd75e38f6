"""The space of a study: by piece, around the present setting, which is always in it."""

from __future__ import annotations

from typing import Any

import pytest

from sslbench.errors import UserError
from sslbench.recipes import RECIPES
from sslbench.recipes.recipe import Recipe
from sslbench.recipes.resolve import resolve
from sslbench.recipes.scales.scale import holds
from sslbench.recipes.spaces import parse_spaces, read_spaces, space_of

TRAINED = [name for name, recipe in RECIPES.items() if recipe.epochs > 0]


def scaled(name: str) -> Recipe:
    return resolve(name, scale="laptop", tuned=False).experiment.recipe


@pytest.mark.parametrize("name", TRAINED)
def test_the_present_setting_and_both_ends_of_every_dimension_are_recipes(name: str) -> None:
    recipe = scaled(name)
    space = space_of(name, recipe)
    assert space.changes({d.name: d.default for d in space}) == {}
    experiment = resolve(name, scale="laptop").experiment
    for d in space:
        assert d.low <= d.default <= d.high and (not d.choices or d.default in d.choices)
        for end in d.choices or (d.low, d.high):
            changed = recipe.but(space.changes({d.name: end}))
            experiment.but(recipe=changed)  # its pieces fit
            assert (changed == recipe) == (end == d.default)


@pytest.mark.parametrize("name", TRAINED)
def test_every_recipe_that_trains_has_a_rate_and_a_decay(name: str) -> None:
    assert {"rate", "decay"} <= {d.name for d in space_of(name, scaled(name))}


def test_pieces_bring_their_dimensions_to_a_recipe_that_no_file_knows() -> None:
    recipe = scaled("simclr").but({"target": {"kind": "EMA", "momentum": 0.9}})
    names = {d.name for d in space_of("own", recipe)}
    assert {"momentum", "temperature", "jitter", "batch"} <= names
    bare = recipe.but({"views.first.jitter": None, "views.first.grayscale": 0.0})
    assert not {"jitter", "grey"} & {d.name for d in space_of("own", bare)}


def one(name: str, recipe: str) -> Any:
    return next(d for d in space_of(recipe, scaled(recipe)) if d.name == name)


def test_fields_that_move_together_keep_their_proportions_and_limits() -> None:
    jitter = one("jitter", "moco-v2")
    assert jitter.changes(0.2) == {
        "views.first.jitter.brightness": 0.2,
        "views.first.jitter.contrast": 0.2,
        "views.first.jitter.saturation": 0.2,
        "views.first.jitter.hue": 0.05,
    }
    hue = one("jitter", "instdisc")  # 0.4 beside brightness 0.4, and at most 0.5
    assert hue.high == 0.5


def test_a_momentum_moves_by_what_it_lacks_of_1_and_an_area_by_its_lower_bound() -> None:
    assert one("momentum", "moco-v2").changes(0.01) == {"target.momentum": 0.99}
    assert one("area", "moco-v2").changes(0.2) == {"views.first.crop.scale": (0.2, 1.0)}
    assert one("prototypes", "swav").changes(61) == {"prototypes.count": 61}


def test_a_view_that_has_an_operation_switched_off_keeps_it_so() -> None:
    assert one("grey", "ressl").paths == ("views.first.grayscale",)
    assert len(one("grey", "swav").paths) == 2  # first and local; the second is drawn as the first


@pytest.mark.parametrize("name", ["untrained", "untrained-vit", "raw-pixels", "color-histogram"])
def test_what_is_not_trained_has_nothing_to_tune(name: str) -> None:
    with pytest.raises(UserError, match=f"{name} has nothing to tune"):
        space_of(name, scaled(name))


def test_a_recipe_may_have_less_or_another_range_with_its_reason() -> None:
    assert "temperature" in space_of("barlow-twins", scaled("barlow-twins")).left_out
    spaces = parse_spaces(
        {
            "when": {"optimizer": {"rate": {"fields": ["optimizer.lr"], "times": [0.1, 10]}}},
            "narrowed": {
                "simclr": {"rate": {"because": "why", "rule": {"fields": ["optimizer.lr"],
                                                               "times": [0.5, 2]}}},
            },
        }
    )  # fmt: skip
    [rate] = space_of("simclr", scaled("simclr"), spaces=spaces)
    [usual] = space_of("dcl", scaled("dcl"), spaces=spaces)
    assert (rate.low, rate.high) == (0.01, 0.04) and (usual.low, usual.high) == (0.002, 0.2)


def test_every_condition_holds_for_some_recipe_and_every_name_is_known() -> None:
    spaces = read_spaces()
    recipes = {name: scaled(name) for name in TRAINED}
    for condition in spaces.when:
        assert any(holds(condition, recipe) for recipe in recipes.values()), condition
    assert {*spaces.inherits, *spaces.narrowed} <= set(RECIPES)
    for name, how in spaces.inherits.items():
        own = {d.name for d in space_of(name, recipes[name])}
        assert how.parent in RECIPES and set(how.own) <= own


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"range": [0.5, 0.5]}, r"when.optimizer.x: the range from 0.5 to 0.5 is empty"),
        ({"times": [10, 0.1]}, r"from 10 to 0.1 is empty; the lower bound comes first"),
        ({}, "say one of times, range and factors"),
        ({"times": [0.1, 2], "factors": [1]}, "say one of times, range and factors"),
        ({"factors": [0.5, 2]}, "factors needs 1 among them"),
        ({"times": [0, 2]}, "begin above 0"),
        ({"range": [0, 2], "log": True}, "begin above 0"),
        ({"times": [0.1, 2], "most": [1, 1]}, "most needs a value for each field"),
        ({"time": [0.1, 2]}, "no such field 'time'; did you mean 'times'"),
    ],
)
def test_a_wrong_range_is_refused_with_its_place(rule: dict[str, Any], words: str) -> None:
    document = {"when": {"optimizer": {"x": {"fields": ["optimizer.lr"], **rule}}}}
    with pytest.raises(UserError, match=words):
        parse_spaces(document)


def test_a_parent_has_none_itself() -> None:
    inherits = {"dcl": {"parent": "simclr"}, "dclw": {"parent": "dcl"}}
    with pytest.raises(UserError, match=r"inherits.dclw: dcl has a parent itself"):
        parse_spaces({"when": {}, "inherits": inherits})
