from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from sslbench.errors import UserError
from sslbench.objectives.relational import relational
from sslbench.recipes.specs import Relational
from tests.reference import objectives as reference
from tests.reference.embeddings import assert_same, embeddings, queue_loss, unit_rows

QUEUE = unit_rows(7)


@pytest.mark.parametrize(("student", "teacher"), [(0.1, 0.04), (0.2, 0.07), (0.1, 1.0)])
def test_it_is_the_formula_of_the_paper(student: float, teacher: float) -> None:
    z, keys = embeddings()
    spec = Relational(queue=7, temperature=student, teacher_temperature=teacher)
    loss = queue_loss(spec, z, keys, QUEUE)
    assert_same(loss, reference.relational(z, keys.detach(), QUEUE, student, teacher), [z])
    loss.backward()
    assert keys.grad is None


def test_symmetric_is_the_mean_of_both_directions() -> None:
    z1, z2, k1, k2 = embeddings(4)
    spec = Relational(queue=7, symmetric=True)
    both, _ = relational(spec, [z1, z2], [k1, k2], queue=QUEUE)
    one_sided = spec.but(symmetric=False)
    ours = queue_loss(one_sided, z1, k2, QUEUE) + queue_loss(one_sided, z2, k1, QUEUE)
    assert_same(both, ours / 2, [z1, z2])


def test_metrics_split_the_loss_into_entropy_and_divergence() -> None:
    z, keys = embeddings()
    spec = Relational(queue=7, temperature=0.1, teacher_temperature=0.1)
    loss, metrics = relational(spec, [z], [None, keys], queue=QUEUE)
    relation = F.softmax(F.normalize(keys, dim=1) @ QUEUE.T / 0.1, dim=1)
    assert_close(metrics["teacher_entropy"], -(relation * relation.log()).sum(1).mean())
    assert_close(metrics["teacher_entropy"] + metrics["divergence"], loss.detach())
    _, equal = relational(spec, [z], [None, z], queue=QUEUE)
    assert_close(equal["divergence"], torch.zeros_like(equal["divergence"]))


def test_a_teacher_near_temperature_zero_names_one_entry() -> None:
    z, keys = (x.detach() for x in embeddings())
    spec = Relational(queue=7, teacher_temperature=1e-4)
    nearest = (F.normalize(keys, dim=1) @ QUEUE.T).argmax(dim=1)
    expected = F.cross_entropy(F.normalize(z, dim=1) @ QUEUE.T / 0.1, nearest)
    assert_close(queue_loss(spec, z, keys, QUEUE), expected)


def test_a_blunt_teacher_asks_for_equal_relations() -> None:
    z, keys = (x.detach() for x in embeddings())
    spec = Relational(queue=7, teacher_temperature=1e7)
    _, metrics = relational(spec, [z], [None, keys], queue=QUEUE)
    assert metrics["teacher_entropy"].item() == pytest.approx(math.log(7))


def test_lengths_and_the_order_of_the_queue_do_not_matter() -> None:
    z, keys = (x.detach() for x in embeddings())
    spec = Relational(queue=7)
    expected = queue_loss(spec, z, keys, QUEUE)
    assert_close(queue_loss(spec, 3 * z, keys / 2, QUEUE.flip(0)), expected)


def test_half_precision_is_computed_in_float32() -> None:
    z, keys = (x.detach() for x in embeddings())
    loss = queue_loss(Relational(queue=7), z.bfloat16(), keys.bfloat16(), QUEUE.float())
    assert loss.dtype == torch.float32


@pytest.mark.parametrize("field", ["temperature", "teacher_temperature"])
@pytest.mark.parametrize("value", [0.0, -0.1])
def test_temperatures_at_or_below_zero_are_refused(field: str, value: float) -> None:
    with pytest.raises(UserError, match=f"{field} must be > 0"):
        Relational(**{field: value})


@pytest.mark.parametrize(
    ("z", "keys", "queue", "message"),
    [
        (torch.ones(2, 4), torch.ones(2, 5), unit_rows(7, d=5), "differ in shape"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    z: Tensor, keys: Tensor, queue: Tensor, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        relational(Relational(queue=7), [z], [None, keys], queue=queue)


def test_local_crops_are_related_to_the_teachers_view_too() -> None:
    z, (keys,) = embeddings(4), embeddings(1, seed=1)
    spec = Relational(queue=7)
    views = [z[0], None, *z[2:]]
    loss, _ = relational(spec, views, [keys, keys], queue=QUEUE)
    asked = [z[0], *z[2:]]
    assert_same(loss, sum(queue_loss(spec, x, keys, QUEUE) for x in asked) / 3, asked)
