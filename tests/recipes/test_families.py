"""Families of recipes: what each has and refuses, and what is left of the one kind of before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sslbench.errors import UserError
from sslbench.recipes import RECIPES, Experiment
from sslbench.recipes.base import Spec, kinds
from sslbench.recipes.families import FixedRecipe, JointRecipe, SupervisedRecipe
from sslbench.recipes.recipe import Recipe
from sslbench.recipes.specs import InfoNCE, ObjectiveSpec

FORMER = json.loads(Path(__file__).with_name("former.json").read_text())


@pytest.mark.parametrize("name", FORMER)
def test_a_recipe_of_before_there_were_families_is_read_as_it_was(name):
    experiment = Experiment.from_dict(FORMER[name]["experiment"])
    assert experiment.recipe == type(experiment.recipe).from_dict(experiment.recipe.to_dict())
    assert experiment.digest() == FORMER[name]["digest"]
    assert type(experiment.recipe) is type(RECIPES[experiment.recipe.name])


def test_a_field_that_a_family_has_not_is_refused_where_it_said_something():
    data = FORMER["paper supervised"]["experiment"]["recipe"]
    with pytest.raises(UserError, match="no such field of SupervisedRecipe"):
        Recipe.from_dict({**data, "projector": {"kind": "MLP"}})


def test_families_are_kinds_of_one_interface():
    assert {JointRecipe, SupervisedRecipe, FixedRecipe} <= set(kinds(Recipe))
    with pytest.raises(UserError, match="no kind 'VideoRecipe'"):
        Recipe.from_dict({"kind": "VideoRecipe", "name": "x", "source": "y"})


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_what_a_recipe_prints_is_read_as_the_same(recipe):
    printed = recipe.to_dict()
    assert Recipe.from_dict(printed) == recipe
    trained = ["optimizer", "schedule", "epochs", "batch_size", "accumulate", "start"]
    assert list(printed)[-6:] == trained


def test_what_is_not_trained_cannot_be():
    with pytest.raises(UserError, match="nothing is trained, so epochs is 0"):
        RECIPES["untrained"].but(epochs=3).validate()
    assert not RECIPES["untrained"].has("epochs") and RECIPES["supervised"].has("epochs")


def test_only_the_pieces_that_are_there_have_fields():
    byol = RECIPES["byol"]
    assert byol.has("predictor.hidden") and byol.has("views.*.flip")
    assert not byol.but(predictor=None).has("predictor.hidden")
    assert not byol.has("validate") and not byol.has("epochs.warmup")


def test_a_final_spec_has_no_kinds_of_its_own():
    with pytest.raises(TypeError, match="InfoNCE is final"):

        class _Mine(InfoNCE):
            pass


def test_a_new_kind_of_an_interface_is_one_of_its_choices():
    class Plain(ObjectiveSpec, interface=True):
        pass

    assert issubclass(Plain, Spec) and kinds(Plain) == []  # an interface without kinds
