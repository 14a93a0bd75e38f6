"""What the monitors read on embeddings of known shape, and the verdicts drawn from them."""

from __future__ import annotations

import math

import pytest
import torch

from sslbench.engine.monitors import effective_rank, embedding_std, verdict
from sslbench.recipes import RECIPES

D = 64


def gaussian(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def judge(recipe="simsiam", *, std=1.0, rank=30.0, loss=-0.5, **changes):
    """Verdict at a std given as a share of 1/sqrt(D)."""
    final = {"loss": loss, "std": std / math.sqrt(D), "effective_rank": rank}
    fields = {name.replace("__", "."): value for name, value in changes.items()}
    return verdict(final, recipe=RECIPES[recipe].but(fields), out_dim=D)


@pytest.mark.parametrize(("std", "state"), [(0.05, "healthy"), (1e-4, "collapsed")])
def test_embeddings_of_masked_images_may_have_a_large_part_in_common(std, state):
    assert judge("maskfeat", std=std, rank=1.5).state == state
    assert judge("simsiam", std=std).state == "collapsed"


@pytest.mark.parametrize("d", [8, 64, 512])
def test_the_std_of_an_isotropic_gaussian_is_one_over_the_root_of_its_width(d):
    assert float(embedding_std(gaussian(4096, d))) == pytest.approx(1 / math.sqrt(d), rel=0.02)


def test_wide_supervised_features_of_few_classes_are_healthy():
    final = {"loss": 0.1, "std": 0.015, "effective_rank": 9.0}  # a ResNet-50 with ten classes
    assert verdict(final, recipe=RECIPES["supervised"], out_dim=2048).state == "healthy"


def test_the_std_of_a_constant_is_zero_and_does_not_depend_on_length():
    z = gaussian(1, D).expand(32, D) * torch.arange(1.0, 33)[:, None]
    assert float(embedding_std(z)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("odd", "share"), [(1, 0.248), (2, 0.348), (3, 0.423)])
def test_batch_norm_without_a_shift_ends_at_one_direction_with_odd_images(odd, share):
    """What SimSiam without stop-gradient ends at there: its outputs cannot all be equal."""
    z = torch.ones(64, D)
    z[:odd] = -1
    z = torch.nn.BatchNorm1d(D, affine=False)(z + 5)
    assert float(embedding_std(z)) * math.sqrt(D) == pytest.approx(share, abs=5e-4)
    assert judge(std=share, rank=1.0).state == "dimensional"


@pytest.mark.parametrize("shape", [(256, 32), (32, 256)])
def test_the_rank_of_an_isotropic_gaussian_is_near_what_its_shape_allows(shape):
    rank = float(effective_rank(gaussian(*shape)))
    assert 0.9 * min(shape) < rank <= 32


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_equal_singular_values_count_as_themselves(rank):
    basis, _ = torch.linalg.qr(gaussian(D, rank))
    rows, _ = torch.linalg.qr(gaussian(200, rank + 1) - gaussian(200, rank + 1).mean(0))
    z = rows[:, :rank] @ basis.T
    z = z - z.mean(0) + 7  # a common offset is not a direction
    assert float(effective_rank(z)) == pytest.approx(rank, rel=0.02)


def test_the_rank_is_that_of_the_singular_values():
    z = gaussian(50, 20) * torch.linspace(0.1, 3, 20)
    s = torch.linalg.svdvals((z - z.mean(0)).double())
    p = s / s.sum()
    assert float(effective_rank(z)) == pytest.approx(float((-(p * p.log()).sum()).exp()), rel=1e-6)


def test_the_rank_is_of_the_first_rows_or_of_all():
    z = torch.cat([gaussian(50, 20) * torch.linspace(0.1, 3, 20), gaussian(50, 20)])
    assert float(effective_rank(z, rows=50)) == float(effective_rank(z[:50]))
    assert float(effective_rank(z, rows=None)) > float(effective_rank(z, rows=50))


def test_equal_rows_have_rank_zero_and_nan_stays_nan():
    assert float(effective_rank(torch.ones(8, 4))) == 0
    assert math.isnan(float(effective_rank(torch.full((8, 4), math.nan))))


def test_spread_embeddings_are_healthy():
    assert judge() == verdict({"loss": 1.0, "std": 0.1, "effective_rank": 9.0},
                              recipe=RECIPES["simclr"], out_dim=D)  # fmt: skip
    assert judge().state == "healthy"
    assert judge().cause == ""


def test_the_collapse_threshold_is_a_tenth_of_the_even_spread():
    assert judge(std=0.101).state == "healthy"
    assert judge(std=0.099).state == "collapsed"


def test_few_directions_are_a_dimensional_collapse():
    assert judge(rank=4.01).state == "healthy"
    assert judge(rank=3.99).state == "dimensional"


def test_what_few_directions_are_depends_on_width_and_batch():
    def state(rank, *, out_dim, batch_size):
        recipe = RECIPES["simclr"].but(batch_size=batch_size)
        final = {"loss": 1.0, "std": 1.0, "effective_rank": rank}
        return verdict(final, recipe=recipe, out_dim=out_dim).state

    assert state(5.0, out_dim=128, batch_size=4096) == "healthy"
    assert state(5.0, out_dim=2048, batch_size=4096) == "dimensional"
    assert state(5.0, out_dim=2048, batch_size=64) == "healthy"
    assert state(1.5, out_dim=4, batch_size=64) == "healthy"


def test_supervised_features_may_lie_in_few_directions():
    assert judge("supervised", rank=1.5).state == "healthy"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_divergence(value):
    assert judge(loss=value).state == "diverged"
    assert judge(rank=value).state == "diverged"


def test_a_run_without_any_log_point_is_no_healthy_run():
    assert verdict({}, recipe=RECIPES["byol"], out_dim=D).state == "diverged"


@pytest.mark.parametrize(
    ("recipe", "changes", "cause"),
    [
        ("simsiam", {"target__stop_gradient": False}, "no stop-gradient"),
        ("simsiam", {"predictor": None}, "no predictor"),
        ("simsiam", {"predictor__trainable": False}, "frozen"),
        ("simsiam", {}, "learning rate"),
        ("byol", {"predictor": None}, "no predictor"),
        ("byol", {"target__momentum": 0.0}, "follows too fast"),
        ("byol", {"projector__hidden_norm": False, "predictor__hidden_norm": False}, "batch norm"),
        ("simclr", {"objective__negative_weight": 0.0}, "no stop-gradient"),
        ("simclr", {}, "temperature 0.1"),
        ("simclr", {"objective": "SimpleContrast"}, "away alike"),
        ("barlow-twins", {"objective__off_diagonal_weight": 0.0}, "redundancy term is off"),
        ("barlow-twins", {}, "off_diagonal_weight too small"),
        ("dino", {"target": "Shared"}, "needs target=EMA"),
        ("dino", {"objective__assignment__temperature": 0.1}, "0.1 is not below the student's 0.1"),
        ("dino", {}, "centre's momentum"),
        ("swav-vit", {}, "do not tell images apart"),
        ("ressl", {"objective__teacher_temperature": 0.2}, "is not below"),
        ("ressl", {}, "queue too short"),
        ("supervised", {}, "learning rate"),
        ("dino", {"objective.loss": "normalized_mse"}, "Nothing sharpens a squared error"),
    ],
)
def test_the_recipe_names_the_cause_of_a_collapse(recipe, changes, cause):
    found = judge(recipe, std=0.0, rank=0.0, **changes)
    assert found.state == "collapsed"
    assert cause in found.cause


def test_contrastive_runs_collapse_in_dimension_for_another_reason():
    assert "Few directions" in judge("moco-v2", rank=1.0).cause
