"""Noise-contrastive estimation over the memory bank: NPID's loss."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from sslbench.batch import Batch
from sslbench.distributed import rank, world_size
from sslbench.objectives.embeddings import Embeddings, anchor_views, select
from sslbench.objectives.objective import Given, LossOutput, Objective, Reads, anchors_alone
from sslbench.objectives.partition import Partition
from sslbench.recipes.specs import NoiseContrastive
from sslbench.streams import integers


def noise_contrastive(
    spec: NoiseContrastive,
    online: Embeddings,
    *,
    bank: Tensor,
    indices: Tensor,
    partition: Partition,
    key: int | Tensor,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Tell an image's own row of the memory bank from K rows drawn uniformly from it.

    With P(j|v) = exp(s_j / temperature) / Z, where s_j is the cosine of anchor and row j, and
    h(j, v) = P(j|v) / (P(j|v) + K / M) the probability that row j is the data and not the noise,
    the loss is -log h(i, v) - sum_k log(1 - h(j_k, v)): a mean over anchors, a sum over the K
    draws. The draws are with replacement and may be the image's own row; they follow from the
    step's key and the anchor's place in the global batch. Z is estimated from the first batch.

    Args:
        online: the anchors, N×D of each view; computed in float32. View 1 only where symmetric.
        bank: M×D unit vectors, one for each training image.
        indices: N int64, the images of the anchors.
        partition: Z, or what estimates it from this batch.
        key: of this step's random numbers.
    Returns:
        Scalar loss, and `positive_similarity` (mean cosine with the own row),
        `positive_posterior` and `noise_posterior` (mean h of own and drawn rows).
    Source: Wu et al. 2018, arXiv:1805.01978, Eq. 4 to 8. The authors' code adds 1e-7 to the
        denominator of h.
    """
    views = anchor_views(symmetric=spec.symmetric, num_views=len(online))
    with torch.autocast(bank.device.type, enabled=False):
        logits = torch.cat(
            [
                _logits(
                    spec, select(online, v, name="online"), v, bank=bank, indices=indices, key=key
                )
                for v in views
            ]
        )
        # Of the drawn rows alone: the own row is no draw from the noise, and the largest.
        log_z = partition.from_first(logits[:, 1:], num_images=len(bank))
        # log of P over the noise's K / M, the log-odds of h.
        odds = logits - log_z.to(logits.dtype) - math.log(spec.num_negatives / len(bank))
        own, noise = odds[:, 0], odds[:, 1:]  # N, N×K
        # -log h and -log(1 - h) from the log-odds: exact where h itself would round to 0 or 1.
        loss = F.softplus(-own).mean() + F.softplus(noise).sum(dim=1).mean()
    metrics = {
        "positive_similarity": logits[:, 0].detach().mean() * spec.temperature,
        "positive_posterior": own.detach().sigmoid().mean(),
        "noise_posterior": noise.detach().sigmoid().mean(),
    }
    return loss, metrics


def _logits(
    spec: NoiseContrastive,
    anchors: Tensor,
    view: int,
    *,
    bank: Tensor,
    indices: Tensor,
    key: int | Tensor,
) -> Tensor:
    """N×(1 + K) similarities over the temperature: the own row's, then those of the drawn rows.

    One product with the whole bank and a gather of its results. Copying the drawn rows, N×K×D,
    takes longer as long as M < 80 K (one CPU core, D = 128), and K times D numbers a sample.
    """
    anchors, n = F.normalize(anchors, dim=1), len(anchors)
    # By view, then by process: what one process would draw, and no draw twice.
    places = torch.arange(n, device=anchors.device) + (view * world_size() + rank()) * n
    drawn = integers(key, places, spec.num_negatives, high=len(bank))  # N×K
    chosen = torch.cat([indices[:, None], drawn], dim=1)  # N×(1 + K)
    return (anchors @ bank.to(anchors.dtype).T).gather(1, chosen) / spec.temperature


class NoiseContrastiveLoss(Objective):
    """NPID's loss over the memory bank, and its normalising constant."""

    def __init__(self, spec: NoiseContrastive, given: Given) -> None:
        super().__init__()
        assert given.bank is not None  # JointRecipe.validate
        self.spec, self.bank = spec, given.bank
        self.partition = Partition()

    def reads(self, num_views: int) -> Reads:
        return anchors_alone(symmetric=self.spec.symmetric, num_views=num_views)

    def forward(self, online: Embeddings, target: Embeddings, batch: Batch) -> LossOutput:
        assert batch.indices is not None  # the bank is of fixed images
        return LossOutput(
            *noise_contrastive(
                self.spec,
                online,
                bank=self.bank.entries,
                indices=batch.indices,
                partition=self.partition,
                key=batch.clock.key,
            )
        )
