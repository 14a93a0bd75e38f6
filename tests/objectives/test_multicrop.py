"""Losses of more than two views: every online view against every global one but itself."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from sslbench.objectives.candidates import NO_MEMORY, compare
from sslbench.objectives.embeddings import anchor_views, directions
from sslbench.recipes.specs import (
    AlignUniform,
    CrossCorrelation,
    FeatureTransformation,
    InfoNCE,
    NegativeCosine,
    ObjectiveSpec,
    SimpleContrast,
)
from tests.reference import objectives as reference
from tests.reference.embeddings import assert_same, compute, embeddings, unit_rows

VIEWS = 5  # two global, three local


def loss_of(
    spec: ObjectiveSpec, online: list[Tensor | None], target: list[Tensor], **given
) -> Tensor:
    return compute(spec, online, target, **given)[0]


def mean(terms: list[Tensor]) -> Tensor:
    return torch.stack(terms).mean()


def test_pairs_leave_out_a_view_against_itself() -> None:
    assert directions(symmetric=True) == [(0, 1), (1, 0)]
    assert directions(symmetric=False) == [(0, 1)]
    local = [(2, 0), (2, 1), (3, 0), (3, 1)]
    assert directions(symmetric=True, num_views=4) == [(0, 1), (1, 0), *local]
    assert directions(symmetric=False, num_views=4) == [(0, 1), (2, 1), (3, 1)]
    assert len(directions(symmetric=True, num_views=5, num_targets=5)) == 20
    assert anchor_views(symmetric=False, num_views=4) == [0, 2, 3]


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_nt_xent_of_all_views_is_swavs_multicrop_form(temperature: float) -> None:
    z = embeddings(VIEWS)
    theirs = reference.multicrop_nt_xent(z, temperature)
    assert_same(loss_of(InfoNCE(temperature=temperature), z, z), theirs, z)


def test_the_multicrop_form_of_two_views_is_nt_xent() -> None:
    z = embeddings(2)
    assert_close(reference.multicrop_nt_xent(z, 0.5), reference.nt_xent(*z, 0.5))


def test_cosine_is_the_mean_over_pairs() -> None:
    p, z = embeddings(VIEWS), embeddings(2, seed=1)
    pairs = [(i, j) for i in range(VIEWS) for j in range(2) if i != j]
    rows = [reference.cosine(p[i][n], z[j][n]) for i, j in pairs for n in range(len(z[j]))]
    assert_same(loss_of(NegativeCosine(), p, z), -mean(rows), [*p, *z])


def test_keys_of_the_batch_are_the_mean_over_pairs() -> None:
    p, z = embeddings(VIEWS), embeddings(2, seed=1)
    pairs = [(i, j) for i in range(VIEWS) for j in range(2) if i != j]
    theirs = mean([reference.batch_keys(p[i], z[j], 0.2) for i, j in pairs])
    spec = InfoNCE(temperature=0.2, negatives="other_view")
    assert_same(loss_of(spec, p, z), theirs, [*p, *z])


def test_one_sided_queue_contrasts_query_and_crops_with_the_key() -> None:
    p, (key,), queue = embeddings(VIEWS), embeddings(1, seed=1), unit_rows(12)
    theirs = mean([reference.moco(p[i], key, queue, 0.2) for i in (0, 2, 3, 4)])
    spec = InfoNCE(temperature=0.2, negatives="queue", queue=12, symmetric=False)
    asked = [p[0], None, *p[2:]]
    ours = loss_of(spec, asked, [key, key], queue=queue)
    assert_same(ours, theirs, [p[0], *p[2:], key])


def test_transformed_queue_draws_differently_for_every_view() -> None:
    (z,), (key,), queue = embeddings(1), embeddings(1, seed=1), unit_rows(12)
    spec = InfoNCE(negatives="queue", queue=12, transform=FeatureTransformation())
    two = loss_of(spec, [z, z], [key, key], queue=queue, key=3)
    four = loss_of(spec, [z, z, z, z], [key, key], queue=queue, key=3)
    assert not math.isclose(two.item(), four.item(), rel_tol=1e-6)


def test_correlation_is_the_mean_over_unordered_pairs() -> None:
    z = embeddings(VIEWS, n=6)
    spec = CrossCorrelation(off_diagonal_weight=0.3)
    pairs = [(0, 1), *((i, j) for i in (2, 3, 4) for j in (0, 1))]
    theirs = mean([loss_of(spec, [z[i], None], [None, z[j]]) for i, j in pairs])  # type: ignore[list-item]
    assert_same(loss_of(spec, z, z[:2]), theirs, z)


def test_alignment_over_pairs_and_uniformity_over_views() -> None:
    z = embeddings(VIEWS)
    pairs = [(i, j) for i in range(VIEWS) for j in range(2) if i != j]
    theirs = mean([reference.alignment(z[i], z[j], 2.0) for i, j in pairs])
    theirs = theirs + mean([reference.uniformity(x, 2.0) for x in z])
    assert_same(loss_of(AlignUniform(), z, z[:2]), theirs, z)


def test_with_a_memory_bank_every_view_is_an_anchor() -> None:
    z, bank, own = embeddings(3), unit_rows(12), list(range(5))
    given = {"bank": bank, "indices": torch.tensor(own)}
    spec = InfoNCE(negatives="bank")
    theirs = mean([reference.bank_softmax(x, bank, own, spec.temperature) for x in z])
    assert_same(loss_of(spec, z, [bank[:5]] * 2, **given), theirs, z)
    theirs = mean([reference.simple(x, bank, own, 1.0) for x in z])
    assert_same(loss_of(SimpleContrast(), z, [bank[:5]] * 2, **given), theirs, z)


def test_dcl_of_many_views_leaves_the_positive_out_of_every_pair() -> None:
    z = embeddings(VIEWS)
    terms = []
    for i, anchors in enumerate(z):
        for n, anchor in enumerate(anchors):
            others = [reference.cosine(anchor, x[m]) for x in z for m in range(len(x)) if m != n]
            below = torch.logsumexp(torch.stack(others) / 0.5, dim=0)
            positives = [reference.cosine(anchor, z[j][n]) for j in range(VIEWS) if j != i]
            terms += [below - positive / 0.5 for positive in positives]
    spec = InfoNCE(temperature=0.5, positive_in_denominator=False)
    assert_same(loss_of(spec, z, z), mean(terms), z)


def test_metrics_of_many_views_are_those_of_their_pairs() -> None:
    z = embeddings(VIEWS)
    candidates = compare(InfoNCE(), z, z, memory=NO_MEMORY)
    each = candidates.one_each()
    assert candidates.anchor is not None and each.anchor is None
    assert len(candidates.scores) == VIEWS * 5 and len(each.scores) == VIEWS * (VIEWS - 1) * 5
    log_sum, entropy = candidates.log_sum()
    assert_close(each.positive(), candidates.positive())
    assert_close(each.log_sum(), (log_sum, entropy))
    assert torch.equal(each.is_best(), candidates.is_best())
