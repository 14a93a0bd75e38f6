from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from sslbench.errors import UserError
from sslbench.objectives.negative_cosine import negative_cosine
from sslbench.recipes.specs import NegativeCosine
from tests.reference import objectives as reference


@pytest.fixture
def four() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(6, 5, generator=generator, dtype=torch.float64, requires_grad=True)
        for _ in range(4)
    ]


def test_scale_1_is_the_loss_of_simsiam(four: list[Tensor]) -> None:
    loss, _ = negative_cosine(NegativeCosine(), four[:2], four[2:])
    theirs = reference.simsiam(*four)
    assert_close(loss, theirs)
    assert_close(torch.autograd.grad(loss, four), torch.autograd.grad(theirs, four))


def test_scale_4_is_the_loss_of_byol_less_4(four: list[Tensor]) -> None:
    loss, _ = negative_cosine(NegativeCosine(scale=4.0), four[:2], four[2:])
    theirs = reference.byol(*four)
    assert_close(loss + 4, theirs)
    assert_close(torch.autograd.grad(loss, four), torch.autograd.grad(theirs, four))


def test_identical_views_reach_the_minimum(four: list[Tensor]) -> None:
    z = four[0]
    loss, metrics = negative_cosine(NegativeCosine(scale=3.0), [z, z], [z, z])
    assert loss.item() == pytest.approx(-3)
    assert metrics["positive_similarity"].item() == pytest.approx(1)


def test_asymmetric_reads_one_direction(four: list[Tensor]) -> None:
    p, _, _, z = four
    loss, _ = negative_cosine(NegativeCosine(symmetric=False), [p, None], [None, z])
    assert_close(loss, reference.simsiam(p, p, z, z))


def test_lengths_do_not_matter(four: list[Tensor]) -> None:
    scaled = [x * f for x, f in zip(four, (2, 3, 4, 5), strict=True)]
    spec = NegativeCosine()
    assert_close(
        negative_cosine(spec, four[:2], four[2:]), negative_cosine(spec, scaled[:2], scaled[2:])
    )


def test_gradient_does_not_reach_a_detached_target(four: list[Tensor]) -> None:
    p1, p2, z1, z2 = four
    negative_cosine(NegativeCosine(), [p1, p2], [z1.detach(), z2.detach()])[0].backward()
    assert p1.grad is not None and p2.grad is not None
    assert z1.grad is None and z2.grad is None


def test_gradient_is_orthogonal_to_the_prediction(four: list[Tensor]) -> None:
    loss, _ = negative_cosine(NegativeCosine(), four[:2], four[2:])
    (grad,) = torch.autograd.grad(loss, four[0])
    assert grad.abs().max() > 1e-3
    assert_close((grad * four[0]).sum(1), torch.zeros(6, dtype=torch.float64))


def test_half_precision_is_computed_in_float32(four: list[Tensor]) -> None:
    half = [x.detach().bfloat16() for x in four]
    with torch.autocast("cpu", torch.bfloat16):
        inside, _ = negative_cosine(NegativeCosine(), half[:2], half[2:])
    full = [x.float() for x in half]
    assert_close(inside, negative_cosine(NegativeCosine(), full[:2], full[2:])[0], rtol=0, atol=0)


def test_different_shapes_are_refused(four: list[Tensor]) -> None:
    shorter = [x[:4] for x in four[2:]]
    with pytest.raises(UserError, match="differ in shape"):
        negative_cosine(NegativeCosine(), four[:2], shorter)


def test_no_images_are_refused() -> None:
    empty = [torch.zeros(0, 3)] * 2
    with pytest.raises(UserError, match="N×D"):
        negative_cosine(NegativeCosine(), empty, empty)
