from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from sslbench.errors import UserError
from sslbench.objectives.align_uniform import align_uniform
from sslbench.recipes.specs import AlignUniform
from tests.reference import objectives as reference
from tests.reference.embeddings import assert_same, embeddings, loss_of, queue_loss, unit_rows


@pytest.mark.parametrize("power", [1.0, 2.0, 3.0])
@pytest.mark.parametrize(("align", "uniform", "scale"), [(1.0, 1.0, 2.0), (3.0, 0.5, 7.0)])
def test_is_the_papers(align: float, uniform: float, power: float, scale: float) -> None:
    z = embeddings()
    spec = AlignUniform(
        align_weight=align, uniform_weight=uniform, align_power=power, uniform_scale=scale
    )
    spread = (reference.uniformity(z[0], scale) + reference.uniformity(z[1], scale)) / 2
    expected = align * reference.alignment(*z, power) + uniform * spread
    assert_same(loss_of(spec, z), expected, z)


def test_the_queue_form_counts_pairs_of_the_batch_once() -> None:
    (query, key), queue = embeddings(), unit_rows(6)
    spec = AlignUniform(
        align_weight=3.0, uniform_scale=3.0, negatives="queue", queue=6, symmetric=False
    )
    expected = 3 * reference.alignment(query, key, 2.0) + reference.uniformity(query, 3.0, queue)
    assert_same(queue_loss(spec, query, key, queue), expected, [query])


def test_equal_views_align_perfectly_and_have_a_finite_gradient() -> None:
    (z,) = embeddings(1)
    spec = AlignUniform(uniform_weight=0.0, align_power=1.0)
    loss = loss_of(spec, [z, z])
    assert loss == 0
    assert torch.isfinite(torch.autograd.grad(loss, z)[0]).all()


def test_a_collapsed_encoder_has_uniformity_zero_and_two_poles_the_least() -> None:
    same = torch.ones(4, 3)
    assert_close(align_uniform(AlignUniform(), [same] * 2, [same] * 2)[1]["uniformity"],
                 torch.tensor(0.0), rtol=0, atol=1e-6)  # fmt: skip
    poles = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    for scale in (2.0, 60.0):  # exp(-240) is no float32
        spec = AlignUniform(uniform_scale=scale)
        value = align_uniform(spec, [poles] * 2, [poles] * 2)[1]["uniformity"]
        assert_close(value, torch.tensor(-4 * scale))


def test_lengths_do_not_matter() -> None:
    z = embeddings()
    assert_close(loss_of(AlignUniform(), z), loss_of(AlignUniform(), [3 * z[0], z[1]]))


def test_half_precision_is_computed_in_float32() -> None:
    z = [x.detach().bfloat16() for x in embeddings()]
    with torch.autocast("cpu", torch.bfloat16):
        inside = loss_of(AlignUniform(), z)
    assert inside.dtype == torch.float32
    assert_close(inside, loss_of(AlignUniform(), [x.float() for x in z]), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"align_weight": -1.0}, "must be >= 0"),
        ({"uniform_weight": -1.0}, "must be >= 0"),
        ({"align_power": 0.5}, "align_power must be >= 1"),
        ({"uniform_scale": 0.0}, "uniform_scale must be > 0"),
        ({"uniform_scale": math.inf}, "finite number"),
        ({"negatives": "queue"}, "exactly when negatives is 'queue'"),
        ({"queue": 8}, "exactly when negatives is 'queue'"),
        ({"negatives": "queue", "queue": 0}, "queue must be >= 1"),
    ],
)
def test_wrong_values_are_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        AlignUniform(**fields)


def test_a_single_image_a_missing_queue_and_other_widths_are_refused() -> None:
    one, two = embeddings(n=1), embeddings()
    with pytest.raises(UserError, match="two images"):
        align_uniform(AlignUniform(), one, one)
    with pytest.raises(UserError, match="no queue"):
        align_uniform(AlignUniform(negatives="queue", queue=8), two, two)
    with pytest.raises(UserError, match="differ in shape"):
        align_uniform(AlignUniform(), two, embeddings(d=3))
