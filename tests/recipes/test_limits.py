"""A slip of the keyboard is refused before anything is allocated; what is published is not."""

from __future__ import annotations

from typing import Any

import pytest

from sslbench.errors import UserError
from sslbench.models import build_encoder, build_head
from sslbench.recipes import RECIPES
from sslbench.recipes.limits import num_parameters, require_room
from sslbench.recipes.resolve import resolve
from sslbench.recipes.scales import SCALES
from sslbench.recipes.specs import MLP, ViT
from tests.tiny import tiny


@pytest.mark.parametrize("scale", SCALES)
def test_every_recipe_is_within_the_limits_at_every_scale(scale: str) -> None:
    for name in RECIPES:
        assert num_parameters(resolve(name, scale=scale).experiment.recipe) < 10**9


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 10**6}, "recipe.epochs: 1000000 is too large; at most 100000 fits"),
        ({"epochs": "1e300"}, "larger than any number"),
        ({"epochs": 10**400}, "larger than any number"),
        ({"batch_size": 10**6}, "recipe.batch_size: 1000000 is too large"),
        ({"encoder": {"kind": "NarrowResNet", "width": 10**6}}, "encoder.width: 1000000"),
        ({"encoder": {"kind": "ViT", "depth": 10**6}}, "encoder.depth"),
        ({"projector.hidden": [10**6, 10**6]}, "about 1.0e\\+12 parameters"),
        ({"projector.hidden": [64] * 100}, "projector.hidden: has 100 values"),
        ({"optimizer.lr": 1e300}, "larger than any number"),
        ({"name": "../../x"}, "is no name"),
    ],
)
def test_absurd_numbers_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        resolve("byol", scale="smoke", layers=[("--set", changes)])


@pytest.mark.parametrize("name", ["byol", "byol-vit"])
def test_the_estimate_of_an_encoder_is_near_what_is_built(name: str) -> None:
    recipe = tiny(name).recipe
    encoder = build_encoder(recipe.encoder, resolution=16)
    built = sum(p.numel() for p in encoder.parameters())
    assert num_parameters(recipe.but(projector=None, predictor=None)) == pytest.approx(
        built, rel=0.35
    )


def test_heads_are_counted_by_their_widths() -> None:
    recipe = RECIPES["byol"]
    head = recipe.projector
    assert isinstance(head, MLP) and not isinstance(recipe.encoder, ViT)
    built = sum(p.numel() for p in build_head(head, 2048).parameters() if p.ndim == 2)
    without = recipe.but(projector=None, predictor=None)
    assert num_parameters(recipe.but(predictor=None)) - num_parameters(without) == built


def test_more_than_there_is_memory_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny("simclr").recipe
    require_room(recipe, 16)
    monkeypatch.setattr("sslbench.memory.available_memory", lambda: 10**6)
    require_room(recipe, 16)
    with pytest.raises(UserError, match=r"Training simclr in batches of 4,096: about .* needed"):
        require_room(recipe.but(batch_size=4096), 16)
    with pytest.raises(UserError, match=r"Training simclr in batches of .* needed"):
        require_room(recipe, 16, unsaid=10**6)


def test_what_is_kept_of_each_weight_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    needed: list[int] = []
    monkeypatch.setattr(
        "sslbench.recipes.limits.require_memory", lambda count, **_: needed.append(count)
    )
    plain = RECIPES["simclr"].but(optimizer="SGD")
    for recipe in (plain, plain.but(optimizer="AdamW"), plain.but(target="EMA")):
        require_room(recipe, 224)
    weights = 4 * num_parameters(plain)
    assert [n - needed[0] for n in needed] == [0, weights, weights]
