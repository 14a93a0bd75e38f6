"""What recipes took from a paper or from its authors' code, where the two are easily mistaken."""

from __future__ import annotations

import pytest

from sslbench.recipes import RECIPES
from sslbench.recipes.resolve import resolve
from sslbench.recipes.scales import SCALES
from sslbench.recipes.specs import MLP, Cosine, ResNet, ViT


@pytest.mark.parametrize(
    ("recipe", "zero"),
    [("simclr", True), ("byol", True), ("simsiam", True), ("barlow-twins", True),
     ("moco-v3", True), ("directclr", True), ("moco-v2", False), ("swav", False),
     ("dino-resnet", False), ("ressl", False)],
)  # fmt: skip
def test_which_residual_blocks_start_as_the_identity(recipe: str, zero: bool) -> None:
    encoder = RECIPES[recipe].encoder
    assert isinstance(encoder, ResNet) and encoder.zero_init_residual is zero


@pytest.mark.parametrize(
    ("recipe", "splits"),
    [("moco-v1", 8), ("moco-v2", 8), ("moco-ft", 8), ("ressl", 8), ("align-uniform-queue", 4),
     ("moco-ring", 1)],
)  # fmt: skip
def test_batch_norm_is_split_as_on_the_authors_devices(recipe: str, splits: int) -> None:
    norm = RECIPES[recipe].batch_norm
    assert norm.splits == splits
    assert norm.shuffle == (splits > 1)


def test_no_scale_splits_the_batch_norm_of_the_ring() -> None:
    for scale in SCALES:
        assert resolve("moco-ring", scale=scale).experiment.recipe.batch_norm.splits == 1


def test_dinos_moco_has_a_head_of_three_layers_with_batch_norm() -> None:
    recipe = RECIPES["moco-v2-vit"]
    assert isinstance(recipe.encoder, ViT)
    assert recipe.projector == MLP(hidden=(2048, 2048), out=256, hidden_norm=True)
    for scale in SCALES:
        head = resolve("moco-v2-vit", scale=scale).experiment.recipe.projector
        assert isinstance(head, MLP)
        assert len(head.hidden) == 2 and head.hidden_norm and head.out == 256


def test_dino_on_a_resnet_is_the_readmes_command() -> None:
    recipe = RECIPES["dino-resnet"]
    assert (recipe.batch_size, recipe.epochs, recipe.optimizer.lr) == (512, 100, 0.03)
    assert isinstance(recipe.schedule, Cosine)
    highest = recipe.optimizer.lr * recipe.batch_size / 256
    assert recipe.schedule.floor * highest == pytest.approx(1e-6, rel=1e-3)
    assert "Table 2" not in recipe.source


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("recipe", ["simclr", "simclr-multicrop", "dcl", "dclw"])
def test_simclrs_output_norm_has_no_shift_at_any_scale(recipe: str, scale: str) -> None:
    head = resolve(recipe, scale=scale).experiment.recipe.projector
    assert isinstance(head, MLP)
    assert head.out_norm and head.out_norm_affine and not head.out_norm_shift
