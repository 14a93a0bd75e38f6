"""Negative cosine similarity: SimSiam's loss, and BYOL's less its constant."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sslbench.objectives.embeddings import Embeddings, directions, require_same_shape, select
from sslbench.recipes.specs import NegativeCosine


def negative_cosine(
    spec: NegativeCosine, online: Embeddings, target: Embeddings
) -> tuple[Tensor, dict[str, Tensor]]:
    """-scale * cos(online, target), averaged over rows and directions.

    With scale 1 it is SimSiam's loss (Eq. 2, between -1 and 1). BYOL's (Eq. 2, both directions
    summed) is this one with scale 4, plus 4. Stopping the gradient is the caller's choice.

    Args:
        online: predictions, N×D of each view; computed in float32.
        target: projections, N×D of each view.
    Returns:
        Scalar loss, and `positive_similarity`, the mean cosine.
    Raises:
        UserError: shapes differ, or a view that is read is absent.
    """
    similarities = []
    for view, other in directions(symmetric=spec.symmetric, num_views=len(online)):
        prediction = select(online, view, name="online")
        projection = select(target, other, name="target")
        require_same_shape(prediction, projection)
        with torch.autocast(prediction.device.type, enabled=False):
            similarities.append(F.cosine_similarity(prediction, projection, dim=1).mean())
    similarity = torch.stack(similarities).mean()  # the two halves of SimSiam's Eq. 2
    return -spec.scale * similarity, {"positive_similarity": similarity.detach()}
