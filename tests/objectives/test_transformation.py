from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from sslbench.objectives.transformation import extrapolate, interpolate
from sslbench.recipes.specs import FeatureTransformation, InfoNCE
from sslbench.streams import beta, stream_key, uniform
from tests.reference import objectives as reference
from tests.reference.embeddings import assert_same, embeddings, queue_loss, unit_rows

QUEUE = InfoNCE(temperature=0.2, negatives="queue", queue=20, symmetric=False)
STEP, DIMENSION = FeatureTransformation(per="step"), FeatureTransformation(per="dimension")


def test_one_factor_moves_all_pairs_of_a_step_and_one_all_negatives() -> None:
    q, k = embeddings()
    k, queue, key = k.detach(), unit_rows(20), stream_key(0, "step")
    first_query, first_negative = torch.tensor([0]), torch.tensor([2 * 5])
    mu_positive = 1 + beta(key, first_query, 1, alpha=2.0).double().expand(5, 4)
    mu_negative = beta(key, first_negative, 1, alpha=1.6).double().expand(20, 4)
    order = torch.argsort(uniform(key, 2 * 5 + torch.arange(20) + 20, 1)[:, 0]).tolist()
    loss = queue_loss(QUEUE.but(transform=STEP), q, k, queue, key=key)
    authors = reference.transformed_moco(q, k, queue, 0.2, mu_positive, mu_negative, order)
    assert_same(loss, authors, [q])


def test_a_factor_for_each_dimension_of_each_row() -> None:
    q, k = embeddings()
    k, queue, key = k.detach(), unit_rows(20), stream_key(0, "step")
    mu_positive = 1 + beta(key, torch.arange(5), 4, alpha=2.0).double()
    places = 2 * 5 + torch.arange(20)
    mu_negative = beta(key, places, 4, alpha=1.6).double()
    order = torch.argsort(uniform(key, places + 20, 1)[:, 0]).tolist()
    loss = queue_loss(QUEUE.but(transform=DIMENSION), q, k, queue, key=key)
    paper = reference.transformed_moco(q, k, queue, 0.2, mu_positive, mu_negative, order)
    assert_same(loss, paper, [q])


@pytest.mark.parametrize("form", ["step", "dimension"])
@pytest.mark.parametrize("side", ["positive", "negative"])
def test_one_side_alone_is_the_loss_with_factors_of_1_on_the_other(side: str, form: str) -> None:
    q, k = embeddings()
    k, queue, key = k.detach(), unit_rows(20), stream_key(0, "step")
    step = form == "step"
    width, pairs, entries = 1 if step else 4, torch.arange(5), 2 * 5 + torch.arange(20)
    positive = 1 + beta(key, 0 * pairs if step else pairs, width, alpha=2.0).double()
    negative = beta(key, 0 * entries + 10 if step else entries, width, alpha=1.6).double()
    order = torch.argsort(uniform(key, entries + 20, 1)[:, 0]).tolist()
    other = "negative" if side == "positive" else "positive"
    spec = FeatureTransformation(per=form).but({f"{other}_alpha": None})
    loss = queue_loss(QUEUE.but(transform=spec), q, k, queue, key=key)
    mu = {"positive": positive.expand(5, 4), "negative": negative.expand(20, 4)}
    mu[other] = torch.ones_like(mu[other])
    paper = reference.transformed_moco(q, k, queue, 0.2, mu["positive"], mu["negative"], order)
    assert_same(loss, paper, [q])


def test_the_form_enters_the_digest_of_every_recipe_that_transforms() -> None:
    assert FeatureTransformation() == STEP  # the authors' command
    assert "per" in STEP.to_dict(for_digest=True)  # runs made before it are others


@pytest.mark.parametrize("spec", [STEP, DIMENSION], ids=["step", "dimension"])
def test_extrapolated_pairs_agree_less_and_keep_their_sum(spec: FeatureTransformation) -> None:
    q, k = unit_rows(64, seed=2), unit_rows(64, seed=3)
    far_q, far_k = extrapolate(spec, q, k, key=7, view=0)
    assert ((far_q * far_k).sum(dim=1) < (q * k).sum(dim=1)).all()
    assert_close(far_q + far_k, q + k)
    same, _ = extrapolate(spec, q, q, key=7, view=0)
    assert_close(same, q)


@pytest.mark.parametrize("spec", [STEP, DIMENSION], ids=["step", "dimension"])
def test_interpolated_negatives_lie_between_two_entries_and_the_queue_stays(
    spec: FeatureTransformation,
) -> None:
    queue = unit_rows(50)
    before = queue.clone()
    mixed = interpolate(spec, queue, key=7, batch_size=8)
    assert torch.equal(queue, before)
    assert (mixed >= queue.min(dim=0).values).all() and (mixed <= queue.max(dim=0).values).all()
    assert_close(mixed.mean(dim=0), queue.mean(dim=0), atol=0.1, rtol=0)
    assert not torch.equal(mixed, interpolate(spec, queue, key=8, batch_size=8))


def test_either_side_of_the_transformation_can_stay_as_it_is() -> None:
    q, k = (x.detach() for x in embeddings())
    queue = unit_rows(20)
    plain = queue_loss(QUEUE, q, k, queue)
    losses = [
        queue_loss(QUEUE.but(transform=t), q, k, queue, key=7)
        for t in (
            FeatureTransformation(negative_alpha=None),
            FeatureTransformation(positive_alpha=None),
            FeatureTransformation(),
        )
    ]
    assert len({x.item() for x in [plain, *losses]}) == 4


@pytest.mark.parametrize("spec", [STEP, DIMENSION], ids=["step", "dimension"])
def test_the_two_directions_draw_different_numbers(spec: FeatureTransformation) -> None:
    ones = torch.ones(5, 4)
    first, second = (extrapolate(spec, ones, 0 * ones, key=7, view=v)[0] for v in (0, 1))
    assert not torch.equal(first, second)
    assert (len(first.unique()) == 1) == (spec.per == "step")
