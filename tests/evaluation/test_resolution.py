"""Scores at another side than the run's own: `--resolution`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import sslbench
from sslbench.engine.folder import RunFolder
from sslbench.engine.pretrain import pretrain
from sslbench.errors import UserError
from sslbench.evaluation.evaluate import evaluate
from sslbench.evaluation.subject import loaded_encoder
from sslbench.evaluation.transfer import transfer
from sslbench.recipes.specs import ViT
from tests.evaluation.conftest import finished
from tests.tiny import DATA, tiny

VIT = ViT(patch=4, width=16, depth=1, heads=2)


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """An untrained ViT on 16 pixels, in patches of 4."""
    folder = tmp_path_factory.mktemp("vit")
    experiment = tiny("untrained")
    experiment = experiment.but(recipe=experiment.recipe.but(encoder=VIT))
    return pretrain(experiment, provenance={}, runs=folder / "runs", root=folder)


def test_a_set_is_seen_at_the_side_that_is_asked_for(tmp_path: Path) -> None:
    run = finished("untrained", tmp_path)
    sides = [evaluate(run, ["knn"], resolution=side, root=tmp_path)["knn.v1"].inputs["resolution"]
             for side in (None, 16, 24)]  # fmt: skip
    assert sides == [16, 16, 24]
    (score,) = transfer(
        run, [DATA.but(seed=3)], ["knn"], resolution=24, root=tmp_path
    )["shapes"].values()  # fmt: skip
    assert score.inputs["resolution"] == 24
    own = sslbench.open_run(run.path, root=tmp_path)
    assert own.evaluate("knn", resolution=24)["knn"].inputs["resolution"] == 24
    assert len(list((run.path / "scores").iterdir())) == 3  # each side is a set of its own


def test_a_vit_keeps_its_positions_at_its_own_side_and_has_them_resampled_at_another(
    vit: RunFolder,
) -> None:
    mean = std = (0.5, 0.5, 0.5)
    recipe = vit.experiment().recipe
    small, large = (
        loaded_encoder(vit, recipe, resolution=side, mean=mean, std=std) for side in (16, 32)
    )
    assert small.pos_embed.shape == (1, 17, 16) and large.pos_embed.shape == (1, 65, 16)
    assert torch.equal(small.pos_embed[:, 0], large.pos_embed[:, 0])  # of the class token
    middle = large.pos_embed[0, 1:].reshape(8, 8, 16)[3:5, 3:5].mean((0, 1))
    around = small.pos_embed[0, 1:].reshape(4, 4, 16)[1:3, 1:3].mean((0, 1))
    assert torch.allclose(middle, around, atol=0.02)
    score = evaluate(vit, ["knn"], resolution=32, root=vit.path.parent.parent)["knn.v1"]
    assert score.inputs["resolution"] == 32


def test_a_side_that_the_patches_do_not_divide_is_refused(vit: RunFolder) -> None:
    with pytest.raises(UserError, match=r"patches of 4 pixels do not divide images of 18; .* 16\."):
        evaluate(vit, ["knn"], resolution=18, root=vit.path.parent.parent)
