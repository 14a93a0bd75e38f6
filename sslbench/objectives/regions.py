"""The loss of boxes that two views both show."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sslbench.recipes.specs import RegionConsistency


def region_consistency(
    spec: RegionConsistency, online: Sequence[Tensor], target: Sequence[Tensor], counts: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """-scale * the mean cosine of matched boxes: over an image's, then over images and directions.

    An image without boxes that count contributes 0. With scale 4 it is SoCo's, which sums -2 cos
    over both directions.

    Args:
        online: predictions N×K×D of each of two views; computed in float32 or more.
        target: projections N×K×D of each.
        counts: N×K bool, the boxes that count.
    Returns:
        Scalar loss, `positive_similarity` (the mean cosine, of images without boxes 0) and
        `images_with_boxes` (percent).
    Source: Wei et al. 2021 (SoCo), arXiv:2106.02637, Eq. 4, and the authors' code.
    """
    with torch.autocast(online[0].device.type, enabled=False):
        pairs = ((online[0], target[1]), (online[1], target[0]))
        cosines = [F.cosine_similarity(p, z.detach(), dim=2) for p, z in pairs]  # N×K
        weights = counts.to(cosines[0].dtype)
        weights = weights / (weights.sum(dim=1, keepdim=True) + 1e-6)
        similarity = torch.stack([(c * weights).sum(dim=1).mean() for c in cosines]).mean()
    return -spec.scale * similarity, {
        "positive_similarity": similarity,
        "images_with_boxes": 100 * counts.any(dim=1).float().mean(),
    }
