"""Masked recipes that cannot be are refused in a sentence, before anything runs."""

from __future__ import annotations

import pytest

from sslbench.errors import UserError
from sslbench.methods import MaskedModelling
from sslbench.recipes import RECIPES
from sslbench.recipes.families import MaskedRecipe
from sslbench.recipes.recipe import Recipe
from sslbench.recipes.specs import Mask
from tests.tiny import tiny

MASKED = [name for name, recipe in RECIPES.items() if isinstance(recipe, MaskedRecipe)]


@pytest.mark.parametrize("recipe", MASKED)
def test_a_masked_recipe_comes_back_from_what_it_prints(recipe):
    assert Recipe.from_dict(RECIPES[recipe].to_dict()) == RECIPES[recipe]


@pytest.mark.parametrize(
    ("recipe", "changes", "says"),
    [
        ("mae", {"encoder__patch": 3}, "encoder.patch: 3 does not divide the resolution 16; try"),
        ("mae", {"mask__ratio": 0.99}, "mask.ratio 0.99 leaves none of the 16 squares visible"),
        ("mae", {"mask__unit": 16}, "leaves none of the 1 squares visible; set mask.ratio"),
        ("mae", {"mask__unit": 6}, "6 pixels is not a multiple of the patch of 4; set mask.unit=4"),
        ("mae", {"mask__unit": 12}, "12 pixels does not divide a view of 16; set mask.unit=4"),
        ("mae", {"mask__sampling": "grid", "mask__unit": 16}, "even number of patches a side"),
        ("mae", {"mask__sampling": "grid", "mask__ratio": 0.5}, "three of each four patches"),
        ("mae", {"mask__sampling": "stripes"}, "stripes.*(random|block|grid)"),
        ("mae", {"mask__ratio": 0}, "mask.ratio 0 must lie between 0 and 1"),
        ("mae", {"decoder": None}, "set mask.in_encoder=true, or a decoder"),
        ("mae", {"decoder__heads": 3}, "3 heads do not divide a width of 16; set decoder.heads"),
        ("mae", {"decoder__width": 18}, "a width that 4 divides, not 18; set decoder.width"),
        ("mae", {"decoder__depth": 0}, "decoder=null"),
        ("mae", {"encoder__width": 18, "encoder__heads": 2}, "not 18; set encoder.width"),
        ("mae", {"encoder": "ResNet"}, "encoder.*ViT"),
        ("mae", {"views__num_global": 2}, "one view is masked; set views.num_global=1"),
        ("mae", {"views__first__size": 18}, "the patch of 4 does not divide a view of 18 pixels"),
        ("beit", {"objective__loss": "l1"}, "set objective.loss=mse"),
        ("maskfeat", {"objective__target__cell": 8}, "set objective.target.cell=4"),
        ("mae", {"encoder__patch": 1, "objective__target__normalize": True}, "no spread"),
        ("mae", {"objective__target": {"kind": "PrincipalComponents", "components": 49}}, "48 num"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(recipe, changes, says):
    with pytest.raises(UserError, match=says):
        tiny(recipe, **changes)


def test_what_does_not_fit_images_of_unknown_side_is_refused_when_they_are_there():
    recipe = tiny("mae").recipe.but({"mask.sampling": "grid", "mask.unit": None})
    MaskedModelling(recipe, resolution=16)
    with pytest.raises(UserError, match="a view of 20 pixels has 5"):
        MaskedModelling(recipe, resolution=20)


def test_the_view_that_is_masked_may_have_a_size_of_its_own():
    recipe = tiny("mae", views__first__size=24).recipe
    model = MaskedModelling(recipe, resolution=16)
    assert (recipe.view_size(16), model.size, model.num_visible) == (24, 24, 9)


@pytest.mark.parametrize(
    ("ratio", "unit", "size", "visible"),
    [(0.75, None, 224, 49), (75 / 196, None, 224, 121), (0.6, 32, 224, 76), (0.4, None, 224, 117)],
)  # 49 squares of 32 pixels: 19 of them are visible, of four patches each
def test_published_masks_leave_the_published_number_visible(ratio, unit, size, visible):
    assert Mask(ratio=ratio, unit=unit).num_visible(size, patch=16) == visible
