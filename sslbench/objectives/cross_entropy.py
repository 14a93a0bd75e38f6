"""Supervised cross-entropy: the reference that every method is compared with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sslbench.errors import UserError
from sslbench.recipes.specs import CrossEntropy


def cross_entropy(spec: CrossEntropy, logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over local rows, in float32.

    Args:
        logits: N×classes.
        labels: N int64 class numbers.
    Returns:
        Scalar, in nats.
    Raises:
        UserError: shapes that do not fit.
    """
    if logits.dim() != 2 or labels.shape != logits.shape[:1]:
        raise UserError(
            f"cross_entropy needs N×classes logits and N labels, got {tuple(logits.shape)} and "
            f"{tuple(labels.shape)}."
        )
    logits = logits if logits.dtype == torch.float64 else logits.float()  # of bf16 under autocast
    with torch.autocast(logits.device.type, enabled=False):
        return F.cross_entropy(logits, labels, label_smoothing=spec.label_smoothing)
