from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from sslbench.errors import UserError
from sslbench.recipes.specs import FeatureTransformation, InfoNCE, Ring
from sslbench.streams import stream_key
from tests.reference import objectives as reference
from tests.reference.embeddings import assert_same, embeddings, loss_of, queue_loss, unit_rows

QUEUE = InfoNCE(temperature=0.2, negatives="queue", queue=20, symmetric=False)


@pytest.mark.parametrize("ring", [Ring(outer=0.3), Ring(outer=0.5, inner=0.4), Ring(outer=1.0)])
def test_a_ring_keeps_the_negatives_between_two_quantiles(ring: Ring) -> None:
    q, k = embeddings()
    queue = unit_rows(20)
    ball, dropped = ring.counts(20)
    loss = queue_loss(QUEUE.but(ring=ring), q, k.detach(), queue)
    assert_same(loss, reference.ring(q, k.detach(), queue, 0.2, range(dropped, ball)), [q])


@pytest.mark.parametrize("negatives", ["both_views", "other_view", "bank", "queue"])
@pytest.mark.parametrize("options", [{}, {"hardness": 1.0, "class_prior": 0.1}])
def test_a_ring_of_all_negatives_changes_nothing(negatives: str, options: dict[str, float]) -> None:
    z = embeddings()
    queue = 20 if negatives == "queue" else None
    spec = InfoNCE(negatives=negatives, queue=queue, **options)
    own = torch.tensor([3, 0, 7, 11, 4])
    context = {"queue": unit_rows(20), "bank": unit_rows(12), "indices": own}
    plain = loss_of(spec, z, **context)
    assert_same(loss_of(spec.but(ring=Ring(outer=1.0)), z, **context), plain, z)


def test_a_ring_over_a_batch_never_holds_the_anchor_or_its_positive() -> None:
    z = embeddings()
    ours = loss_of(InfoNCE(temperature=0.5, ring=Ring(outer=1 / 8)), z)
    rows = [F.normalize(x, dim=1) for x in z]
    total = []
    for i in range(10):
        anchor, positive = rows[i // 5][i % 5], rows[1 - i // 5][i % 5]
        others = torch.cat([x[torch.arange(5) != i % 5] for x in rows])
        pair = torch.stack([anchor @ positive, (others @ anchor).max()]) / 0.5
        total.append(pair.logsumexp(0) - pair[0])
    assert_close(ours, torch.stack(total).mean())


def test_annealing_narrows_the_ball_from_all_negatives() -> None:
    for anneal in ("linear", "step", "exponential"):
        ring = Ring(outer=0.1, inner=0.1, anneal=anneal, anneal_share=0.5)
        balls = [ring.counts(1000, progress=p / 100)[0] for p in range(0, 101, 5)]
        assert balls[0] == 1000 and balls[10:] == [100] * 11
        assert balls == sorted(balls, reverse=True)
        assert ring.counts(1000, progress=0.25)[1] == round(balls[5] / 10)
    assert Ring(outer=0.1, anneal="linear").counts(1000, progress=0.25)[0] == 550
    assert Ring(outer=0.1, anneal="step").counts(1000, progress=0.049)[0] == 1000
    assert Ring(outer=0.1, anneal="exponential").counts(1000, progress=0.25)[0] == 316


def test_progress_reaches_the_ring() -> None:
    q, k = (x.detach() for x in embeddings())
    queue = unit_rows(20)
    annealed = QUEUE.but(ring=Ring(outer=0.1, anneal="linear"))
    assert_close(queue_loss(annealed, q, k, queue), queue_loss(QUEUE, q, k, queue))
    fixed = QUEUE.but(ring=Ring(outer=0.1))
    end = queue_loss(annealed, q, k, queue, progress=0.9)
    assert_close(end, queue_loss(fixed, q, k, queue), rtol=0, atol=0)


def test_annealing_and_fresh_keys_do_not_compile_every_step() -> None:
    from torch._dynamo.testing import CompileCounter

    spec = QUEUE.but(ring=Ring(outer=0.1, anneal="linear"), transform=FeatureTransformation())
    q, k, queue = unit_rows(5).float(), unit_rows(5, seed=2).float(), unit_rows(20).float()
    counter = CompileCounter()

    def step(query: Tensor, key: int, progress: float) -> Tensor:
        return queue_loss(spec, query, k, queue, key=key, progress=progress)

    torch._dynamo.reset()
    compiled = torch.compile(step, backend=counter)
    for i in range(8):
        key = stream_key(0, "step", i)
        assert_close(compiled(q, key, i / 8), step(q, key, i / 8))
    assert counter.frame_count <= 6  # the first step's, and those of numbers that vary


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"outer": 0.0}, "outer is a share"),
        ({"outer": 1.1}, "outer is a share"),
        ({"inner": 1.0}, "inner is a share"),
        ({"inner": -0.1}, "inner is a share"),
        ({"anneal": "cosine"}, "'cosine' is not one of"),
        ({"anneal": "step", "anneal_share": 0.0}, "anneal_share lies in"),
    ],
)
def test_ring_refuses(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Ring(**fields)


def test_an_empty_ring_is_refused_where_the_negatives_are_known() -> None:
    q, k = embeddings()
    message = r"the ring is empty: outer 0\.02 of 20 negatives is 0, inner 0 drops 0; raise outer"
    with pytest.raises(UserError, match=message):
        queue_loss(QUEUE.but(ring=Ring(outer=0.02)), q, k, unit_rows(20))
    with pytest.raises(UserError, match=r"inner 0\.6 drops 1"):
        queue_loss(QUEUE.but(ring=Ring(outer=0.05, inner=0.6)), q, k, unit_rows(20))
