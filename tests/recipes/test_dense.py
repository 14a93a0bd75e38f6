"""Dense recipes that cannot be are refused in a sentence, before anything runs."""

from __future__ import annotations

import pytest

from sslbench.errors import UserError
from sslbench.recipes import RECIPES
from sslbench.recipes.families import DenseRecipe
from sslbench.recipes.recipe import Recipe
from sslbench.recipes.resolve import resolve
from sslbench.recipes.specs import MapHead, NegativeCosine
from tests.tiny import tiny

DENSE = [name for name, recipe in RECIPES.items() if isinstance(recipe, DenseRecipe)]


@pytest.mark.parametrize("recipe", DENSE)
def test_a_dense_recipe_comes_back_from_what_it_prints(recipe):
    assert Recipe.from_dict(RECIPES[recipe].to_dict()) == RECIPES[recipe]
    assert RECIPES[recipe].family == "dense"


@pytest.mark.parametrize(
    ("recipe", "changes", "says"),
    [
        ("pixpro", {"views__num_global": 1, "views__second": None}, "set views.num_global=2"),
        ("pixpro", {"views__local": "View", "views__num_local": 2}, "set views.num_global=2 and "
         "views.num_local=0"),
        ("pixpro", {"views__first__rotate": 0.5}, "quarter turns .* set views.first.rotate=0"),
        ("pixcontrast", {"views__second__rotate": 0.5}, "set views.second.rotate=0"),
        ("pixpro", {"views__common": {"kind": "View", "rotate": 0.1}}, "views.common.rotate=0"),
        ("densecl", {"objective__queue": 40}, r"the queue \(40\) .* try objective.queue=32"),
        ("densecl", {"instance__objective__queue": 8}, "try instance.objective.queue=16"),
        ("densecl", {"batch_norm__splits": 16}, "16 equal groups of at least 2"),
        ("pixpro", {"batch_norm__joint_views": True}, "set batch_norm.joint_views=false"),
        ("pixpro", {"objective__threshold": 0}, "threshold must be > 0"),
        ("pixcontrast", {"objective__temperature": 0}, "temperature must be > 0"),
        ("densecl", {"objective__weight": 0}, "weight must be > 0"),
        ("densecl", {"objective__warmup_epochs": -1}, "warmup_epochs must be >= 0"),
        ("pixpro", {"predictor__gamma": -1}, "gamma must be >= 0"),
        ("pixpro", {"predictor__layers": 3}, "predictor.layers"),
        ("pixpro", {"projector__out": 0}, "widths must be >= 1"),
        ("pixpro", {"projector": "MLP"}, "projector"),
        ("pixpro", {"target": "Shared"}, "target"),
        ("pixpro", {"instance__weight": -1}, "weight must be >= 0"),
        ("pixpro", {"instance__objective": {"kind": "InfoNCE", "negatives": "bank"}},
         "no memory bank here"),
        ("pixpro", {"objective__treshold": 1}, "did you mean 'threshold'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(recipe, changes, says):
    with pytest.raises(UserError, match=says):
        tiny(recipe, **changes)


def test_a_match_by_features_needs_no_place():
    tiny("densecl", views__first__rotate=0.5)


def test_a_queue_of_a_branch_without_weight_is_not_asked_for():
    tiny("densecl", instance__objective__queue=8, instance__weight=0)


def test_pixpro_is_the_papers():
    recipe = RECIPES["pixpro"]
    assert (recipe.objective.threshold, recipe.predictor.gamma) == (0.7, 2.0)
    assert recipe.projector == MapHead(hidden=(4096,), out=256)
    assert recipe.instance.weight == 0 and recipe.instance.objective == NegativeCosine(scale=4.0)
    lowest = recipe.schedule.floor * recipe.optimizer.lr * recipe.batch_size / 256
    assert lowest == pytest.approx(1e-6)


def test_densecl_is_the_papers():
    recipe = RECIPES["densecl"]
    both = (recipe.objective, recipe.instance.objective)
    assert {(o.temperature, o.queue) for o in both} == {(0.2, 65536)}
    assert recipe.objective.weight == recipe.instance.weight == 0.5
    assert recipe.projector.bias and not recipe.projector.hidden_norm
    # 1,000 of ImageNet's 5,004 steps an epoch.
    assert recipe.objective.warmup_epochs == pytest.approx(1000 / 5004, rel=0.01)


def test_a_row_is_a_change_of_one_field():
    for changes in ({"instance.weight": 1}, {"predictor": None}, {"predictor.gamma": 1},
                    {"objective.threshold": 0.35}, {"objective": "PixelContrast"}):  # fmt: skip
        resolve("pixpro", scale="laptop", layers=[("row", changes)])


def test_the_parts_of_a_recipe_are_counted():
    recipe = tiny("densecl").recipe  # an encoder 8 wide, heads of 16 and 8, two queues of 32
    assert recipe.num_head_parameters() == 2 * (8 * 16 + 16 * 8) + 2 * 8 * 32
    pixpro = tiny("pixpro").recipe
    assert pixpro.num_head_parameters() == 8 * 16 + 16 * 8 + 8 * 8
    more = pixpro.but({"instance.weight": 1}).num_head_parameters()
    assert more - pixpro.num_head_parameters() == (8 * 16 + 16 * 8) + (8 * 8 + 8 * 8)


@pytest.mark.parametrize(
    ("recipe", "changes", "says"),
    [
        ("pixpro", {"predictor": None}, "no negatives and no predictor"),
        ("pixpro", {"target__momentum": 0.1}, "follows too fast"),
        ("pixpro", {}, "The learning rate may be too high"),
        ("pixcontrast", {}, "places of an image apart, not the images"),
        ("densecl", {}, "temperature"),
    ],
)
def test_a_collapse_has_a_cause(recipe, changes, says):
    assert says in tiny(recipe, **changes).recipe.cause(complete=True)
