from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from sslbench.errors import UserError
from sslbench.objectives.cross_entropy import cross_entropy
from sslbench.recipes.specs import CrossEntropy
from tests.reference import objectives as reference

LABELS = torch.tensor([0, 2, 1, 2])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_equals_the_formula(smoothing: float) -> None:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(4, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    loss = cross_entropy(CrossEntropy(label_smoothing=smoothing), logits, LABELS)
    theirs = reference.cross_entropy(logits, LABELS, smoothing)
    assert_close(loss, theirs)
    assert_close(torch.autograd.grad(loss, logits), torch.autograd.grad(theirs, logits))


def test_half_precision_is_computed_in_float32() -> None:
    logits = torch.linspace(-3, 3, 12).view(4, 3).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        loss = cross_entropy(CrossEntropy(), logits, LABELS)
    assert_close(loss, cross_entropy(CrossEntropy(), logits.float(), LABELS), rtol=0, atol=0)


def test_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="N labels"):
        cross_entropy(CrossEntropy(), torch.zeros(3, 3), LABELS)
