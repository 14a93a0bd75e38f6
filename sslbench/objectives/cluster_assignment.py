"""Predict a view's assignment to prototypes from the other views: SwAV, DeepCluster-v2, DINO."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sslbench.errors import UserError
from sslbench.objectives.context import NOTHING, Context
from sslbench.objectives.embeddings import Embeddings, directions, require_same_shape, select
from sslbench.objectives.sinkhorn import sinkhorn
from sslbench.recipes.specs import Centering, ClusterAssignment, Sinkhorn


def cluster_assignment(
    spec: ClusterAssignment, online: Embeddings, target: Embeddings, *, context: Context = NOTHING
) -> tuple[Tensor, dict[str, Tensor]]:
    """-sum_k q_k log p_k of a target view's assignment q and another view's prediction p.

    p = softmax(online scores / temperature); a mean over images, heads and pairs of views. q has
    no gradient. With `Centering` q = softmax((target scores - centre) / its temperature). The loss
    "mse" is sum_k (q_k - p_k)^2 instead: DINO's Table 7 names a mean squared error and does not
    print it; we take the distance of the two distributions, so that nothing else changes.

    Args:
        online: scores N×H×K of each view; computed in float32.
        target: scores N×H×K of each global view.
        context: its centre and epoch are read by `Centering`.
    Returns:
        Scalar loss, `assignment_entropy` (nats, mean over images of the entropy of q) and
        `divergence` (nats, mean over pairs of Kullback and Leibler's of p from q): a collapse
        onto one prototype shows as an entropy of 0, one onto all alike as log K, and in both the
        divergence falls to 0.
    Raises:
        UserError: shapes differ, or a view that is read is absent.
    Source: Caron et al. 2020, arXiv:2006.09882, Eq. 2; Caron et al. 2021, arXiv:2104.14294, Eq. 3.
    """
    pairs = directions(symmetric=spec.symmetric, num_views=len(online))
    with torch.autocast(select(online, 0, name="online").device.type, enabled=False):
        scores = {view: select(target, view, name="target") for view in {j for _, j in pairs}}
        codes = {view: _assignments(spec, each, context) for view, each in scores.items()}
        losses = []
        predictions: dict[int, Tensor] = {}
        for view, other in pairs:
            if view not in predictions:
                anchors = select(online, view, name="online")
                require_same_shape(anchors, scores[other])
                predictions[view] = F.log_softmax(anchors / spec.temperature, dim=2)
            losses.append(_distance(spec.loss, codes[other], predictions[view]))
        loss = torch.stack(losses).mean()
        with torch.no_grad():
            entropy = torch.stack([_entropy(code) for code in codes.values()]).mean()
            cross = loss
            if spec.loss != "cross_entropy":
                both = [_distance("cross_entropy", codes[j], predictions[i]) for i, j in pairs]
                cross = torch.stack(both).mean()
    return loss, {"assignment_entropy": entropy, "divergence": cross.detach() - entropy}


@torch.no_grad()
def _assignments(spec: ClusterAssignment, scores: Tensor, context: Context) -> Tensor:
    """q of one target view, N×H×K."""
    how = spec.assignment
    if isinstance(how, Sinkhorn):
        return sinkhorn(scores, epsilon=how.epsilon, iterations=how.iterations)
    if isinstance(how, Centering):
        if context.centre is None:
            raise UserError("ClusterAssignment with Centering was given no centre.")
        centred = scores - context.centre.value.to(scores.dtype)
        return F.softmax(centred / how.temperature_at(context.epoch), dim=2)
    raise UserError(f"ClusterAssignment: {type(how).__name__} was given no assignments.")


def _distance(loss: str, code: Tensor, log_prediction: Tensor) -> Tensor:
    if loss == "mse":
        return (log_prediction.exp() - code).square().sum(dim=2).mean()
    return -(code * log_prediction).sum(dim=2).mean()


def _entropy(code: Tensor) -> Tensor:
    return torch.special.entr(code).sum(dim=2).mean()
