"""The simple contrastive loss: no softmax, hence the same force on every negative."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sslbench.errors import UserError
from sslbench.objectives.candidates import Candidates
from sslbench.objectives.context import NOTHING, Context
from sslbench.objectives.embeddings import Embeddings, anchor_views, select
from sslbench.objectives.ring import in_ring
from sslbench.recipes.specs import SimpleContrast


def simple_contrast(
    spec: SimpleContrast, online: Embeddings, target: Embeddings, *, context: Context = NOTHING
) -> tuple[Tensor, dict[str, Tensor]]:
    """-s_ii + weight * mean_j s_ij over the memory bank, times `scale`; a mean over anchors.

    s_ij is the cosine of anchor i and row j. The mean holds the image's own row, as in the
    authors' code. With `ring` it is over the own row and the negatives of the ring: with the
    nearest ones alone, the paper's hard simple loss.

    Args:
        online: the anchors, N×D of each view; computed in float32. View 1 only where symmetric.
        target: not read.
        context: its bank and indices are read.
    Returns:
        Scalar loss, and `positive_similarity` and `bank_similarity`, the two mean cosines.
    Raises:
        UserError: no memory bank is given, or the ring is empty.
    Source: Wang and Liu 2020, arXiv:2012.09740, Sec. 3 and Table 1.
    """
    if context.bank is None or context.indices is None:
        raise UserError("SimpleContrast needs a memory bank; set target to MemoryBank.")
    positives, means = [], []
    for view in anchor_views(symmetric=spec.symmetric, num_views=len(online)):
        anchors = select(online, view, name="online")
        with torch.autocast(anchors.device.type, enabled=False):
            anchors = F.normalize(anchors, dim=1)
            bank = context.bank.to(anchors.dtype)
            positives.append((anchors * bank[context.indices]).sum(dim=1))
            if spec.ring is None:
                means.append(anchors @ bank.mean(dim=0))
            else:
                every = Candidates(anchors @ bank.T, context.indices, len(bank) - 1)
                chosen = in_ring(spec.ring, every, progress=context.progress)
                means.append(chosen.scores.mean(dim=1))
    positive, mean = torch.cat(positives).mean(), torch.cat(means).mean()
    metrics = {"positive_similarity": positive.detach(), "bank_similarity": mean.detach()}
    return spec.scale * (spec.weight * mean - positive), metrics
