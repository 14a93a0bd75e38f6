"""The simple contrastive loss: no softmax, hence the same force on every negative."""

from __future__ import annotations

from collections.abc import Hashable

import torch
import torch.nn.functional as F
from torch import Tensor

from sslbench.batch import Batch, Moment
from sslbench.objectives.candidates import Candidates
from sslbench.objectives.embeddings import Embeddings, anchor_views, select
from sslbench.objectives.objective import Given, LossOutput, Objective, Reads, anchors_alone
from sslbench.objectives.ring import in_ring
from sslbench.recipes.specs import SimpleContrast


def simple_contrast(
    spec: SimpleContrast,
    online: Embeddings,
    *,
    bank: Tensor,
    indices: Tensor,
    progress: float = 0.0,
) -> tuple[Tensor, dict[str, Tensor]]:
    """-s_ii + weight * mean_j s_ij over the memory bank, times `scale`; a mean over anchors.

    s_ij is the cosine of anchor i and row j. The mean holds the image's own row, as in the
    authors' code. With `ring` it is over the own row and the negatives of the ring: with the
    nearest ones alone, the paper's hard simple loss.

    Args:
        online: the anchors, N×D of each view; computed in float32. View 1 only where symmetric.
        bank: M×D unit vectors, one for each training image.
        indices: N int64, the images of the anchors.
        progress: share of the training steps already done, for the ring's annealing.
    Returns:
        Scalar loss, and `positive_similarity` and `bank_similarity`, the two mean cosines.
    Raises:
        UserError: the ring is empty.
    Source: Wang and Liu 2020, arXiv:2012.09740, Sec. 3 and Table 1.
    """
    positives, means = [], []
    for view in anchor_views(symmetric=spec.symmetric, num_views=len(online)):
        anchors = select(online, view, name="online")
        with torch.autocast(anchors.device.type, enabled=False):
            anchors = F.normalize(anchors, dim=1)
            rows = bank.to(anchors.dtype)
            positives.append((anchors * rows.index_select(0, indices)).sum(dim=1))  # N
            if spec.ring is None:
                # The mean of cosines is the product with the mean row: no N×M scores.
                means.append(anchors @ rows.mean(dim=0))
            else:
                every = Candidates(anchors @ rows.T, indices, len(rows) - 1)  # N×M
                chosen = in_ring(spec.ring, every, progress=progress)
                means.append(chosen.scores.mean(dim=1))
    positive, mean = torch.cat(positives).mean(), torch.cat(means).mean()
    metrics = {"positive_similarity": positive.detach(), "bank_similarity": mean.detach()}
    return spec.scale * (spec.weight * mean - positive), metrics


class SimpleContrastLoss(Objective):
    """The simple loss over the memory bank."""

    def __init__(self, spec: SimpleContrast, given: Given) -> None:
        super().__init__()
        assert given.bank is not None  # JointRecipe.validate
        self.spec, self.bank, self.progress = spec, given.bank, 0.0

    def reads(self, num_views: int) -> Reads:
        return anchors_alone(symmetric=self.spec.symmetric, num_views=num_views)

    def before_step(self, moment: Moment) -> Hashable:
        if self.spec.ring is None:
            return None
        self.progress = moment.progress  # on the host: how many negatives there are is a shape
        return self.spec.ring.outer_at(moment.progress)

    def forward(self, online: Embeddings, target: Embeddings, batch: Batch) -> LossOutput:
        assert batch.indices is not None  # the bank is of fixed images
        return LossOutput(
            *simple_contrast(
                self.spec,
                online,
                bank=self.bank.entries,
                indices=batch.indices,
                progress=self.progress,
            )
        )
