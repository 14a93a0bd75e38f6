"""Noise-contrastive estimation over the memory bank: NPID's loss."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from sslbench.distributed import rank, world_size
from sslbench.errors import UserError
from sslbench.objectives.context import NOTHING, Context
from sslbench.objectives.embeddings import Embeddings, anchor_views, select
from sslbench.recipes.specs import NoiseContrastive
from sslbench.streams import integers


def noise_contrastive(
    spec: NoiseContrastive, online: Embeddings, target: Embeddings, *, context: Context = NOTHING
) -> tuple[Tensor, dict[str, Tensor]]:
    """Tell an image's own row of the memory bank from K rows drawn uniformly from it.

    With P(j|v) = exp(s_j / temperature) / Z, where s_j is the cosine of anchor and row j, and
    h(j, v) = P(j|v) / (P(j|v) + K / M) the probability that row j is the data and not the noise,
    the loss is -log h(i, v) - sum_k log(1 - h(j_k, v)): a mean over anchors, a sum over the K
    draws. The draws are with replacement and may be the image's own row; they follow from the
    step's key and the anchor's place in the global batch. Z is estimated from the first batch.

    Args:
        online: the anchors, N×D of each view; computed in float32. View 1 only where symmetric.
        target: not read.
        context: its bank (M rows), indices, key and partition are read.
    Returns:
        Scalar loss, and `positive_similarity` (mean cosine with the own row),
        `positive_posterior` and `noise_posterior` (mean h of own and drawn rows).
    Raises:
        UserError: no memory bank is given.
    Source: Wu et al. 2018, arXiv:1805.01978, Eq. 4 to 8. The authors' code adds 1e-7 to the
        denominator of h.
    """
    if context.bank is None or context.indices is None or context.partition is None:
        raise UserError("NoiseContrastive needs a memory bank; set target to MemoryBank.")
    views = anchor_views(symmetric=spec.symmetric, num_views=len(online))
    with torch.autocast(context.bank.device.type, enabled=False):
        rows = [_logits(spec, select(online, view, name="online"), view, context) for view in views]
        logits = torch.cat(rows)
        log_z = context.partition.from_first(logits[:, 1:], num_images=len(context.bank))
        # log of P over the noise's K / M, the log-odds of h.
        odds = logits - log_z.to(logits.dtype) - math.log(spec.num_negatives / len(context.bank))
        own, noise = odds[:, 0], odds[:, 1:]
        loss = F.softplus(-own).mean() + F.softplus(noise).sum(dim=1).mean()
    metrics = {
        "positive_similarity": logits[:, 0].detach().mean() * spec.temperature,
        "positive_posterior": own.detach().sigmoid().mean(),
        "noise_posterior": noise.detach().sigmoid().mean(),
    }
    return loss, metrics


def _logits(spec: NoiseContrastive, anchors: Tensor, view: int, context: Context) -> Tensor:
    """N×(1 + K) similarities over the temperature: the own row's, then those of the drawn rows.

    One product with the whole bank and a gather of its results. Copying the drawn rows, N×K×D,
    takes longer as long as M < 80 K (one CPU core, D = 128), and K times D numbers a sample.
    """
    assert context.bank is not None and context.indices is not None
    anchors, n = F.normalize(anchors, dim=1), len(anchors)
    places = torch.arange(n, device=anchors.device) + (view * world_size() + rank()) * n
    drawn = integers(context.key, places, spec.num_negatives, high=len(context.bank))
    chosen = torch.cat([context.indices[:, None], drawn], dim=1)
    return (anchors @ context.bank.to(anchors.dtype).T).gather(1, chosen) / spec.temperature
