"""Predict a view's assignment to prototypes from the other views: SwAV, DeepCluster-v2, DINO."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sslbench.distributed import gather
from sslbench.errors import UserError
from sslbench.objectives.embeddings import (
    Embeddings,
    anchor_views,
    directions,
    require_same_shape,
    select,
)
from sslbench.objectives.sinkhorn import sinkhorn
from sslbench.recipes.specs import (
    Centering,
    ClusterAssignment,
    EpochSinkhorn,
    KMeans,
    Sinkhorn,
)


@dataclass(frozen=True)
class Assigned:
    """What assignments are made from besides the batch's scores.

    Attributes:
        centre: H×K, of `Centering`.
        epoch: epochs already done, for its temperature.
        stored: Q×H×K scores of past embeddings of each global view, of `Sinkhorn`, or None.
        clusters: N×H int64, of `KMeans` and `EpochSinkhorn`: those of the images.
    """

    centre: Tensor | None = None
    epoch: float | Tensor = 0.0
    stored: list[Tensor] | None = None
    clusters: Tensor | None = None


ALONE = Assigned()


def cluster_assignment(
    spec: ClusterAssignment, online: Embeddings, target: Embeddings, *, given: Assigned = ALONE
) -> tuple[Tensor, dict[str, Tensor]]:
    """-sum_k q_k log p_k of a target's assignment q and a view's prediction p.

    p = softmax(online scores / temperature); a mean over images, heads and pairs. q has no
    gradient. Pairs: with online assignments (`Sinkhorn`, `Centering`) every global view is a
    target of the other views; with those of an epoch (`KMeans`, `EpochSinkhorn`) the image has one
    cluster in each head, the target of all its views.

    With `Centering` q = softmax((target scores - centre) / its temperature). The loss
    "normalized_mse" is |s - t|^2 instead, of the scores s and t = target scores - centre of each
    head as unit vectors: between 0 and 4, without softmax or temperature. Caron et al. 2021, App.
    B: "a mean squared error on l2-normalized outputs (MSE). No sharpening is applied with the MSE
    criterion", and its Table 14 keeps the centre. The mean is over pairs and the sum over K, as
    BYOL's. The metrics stay those of q and p.

    Args:
        online: scores N×H×K of each view; computed in float32.
        target: scores N×H×K of each global view; not read with the assignments of an epoch.
        given: read by the kind of assignment.
    Returns:
        Scalar loss, `assignment_entropy` (nats, mean over images of the entropy of q),
        `divergence` (nats, mean over pairs of Kullback and Leibler's of p from q: a collapse onto
        one prototype shows as an entropy of 0, one onto all alike as log K, and in both the
        divergence falls to 0) and `prototypes_used` (percent of the prototypes that are some
        image's largest, of as many as the global batch could use; a mean over heads).
    Raises:
        UserError: shapes differ, a view that is read is absent, or something is not given.
    Source: Caron et al. 2020, arXiv:2006.09882, Eq. 2 and 8; Caron et al. 2021, arXiv:2104.14294,
        Eq. 3.
    """
    with torch.autocast(select(online, 0, name="online").device.type, enabled=False):
        if isinstance(spec.assignment, KMeans | EpochSinkhorn):
            views = anchor_views(symmetric=spec.symmetric, num_views=len(online))
            pairs = [(view, 0) for view in views]
            codes = {0: _clusters(select(online, 0, name="online"), given)}
        else:
            pairs = directions(symmetric=spec.symmetric, num_views=len(online))
            codes = {j: _assignments(spec, target, j, given) for j in {j for _, j in pairs}}
        predictions: dict[int, Tensor] = {}
        cross = []
        for view, other in pairs:
            if view not in predictions:
                scores = select(online, view, name="online")
                require_same_shape(scores, codes[other])
                if spec.loss != "cross_entropy":
                    scores = scores.detach()  # read by the metrics only
                predictions[view] = F.log_softmax(scores / spec.temperature, dim=2)  # N×H×K
            cross.append(-(codes[other] * predictions[view]).sum(dim=2).mean())
        loss = cross_entropy = torch.stack(cross).mean()
        if spec.loss == "normalized_mse":
            loss = _normalized_mse(online, target, pairs, given)
        metrics = _metrics(torch.cat([*codes.values()]))
        # KL = cross-entropy - entropy, which is taken over the codes: each is the target of equally
        # many pairs.
        metrics["divergence"] = cross_entropy.detach() - metrics["assignment_entropy"]
    return loss, metrics


@torch.no_grad()
def _assignments(spec: ClusterAssignment, target: Embeddings, view: int, given: Assigned) -> Tensor:
    """q of one target view, N×H×K."""
    how, scores = spec.assignment, select(target, view, name="target")
    if isinstance(how, Sinkhorn):
        stored = None if given.stored is None else given.stored[view]
        return sinkhorn(scores, epsilon=how.epsilon, iterations=how.iterations, stored=stored)
    assert isinstance(how, Centering)
    epoch = torch.as_tensor(given.epoch, dtype=torch.float64, device=scores.device)
    return F.softmax(_centred(scores, given) / teacher_temperature(how, epoch), dim=2)


def teacher_temperature(how: Centering, epoch: Tensor) -> float | Tensor:
    """After so many epochs, a scalar: it rises over the first `warmup_epochs`."""
    if how.start_temperature is None or how.warmup_epochs == 0:
        return how.temperature
    done = (epoch / how.warmup_epochs).clamp(max=1.0)
    return how.start_temperature + done * (how.temperature - how.start_temperature)


def _centred(scores: Tensor, given: Assigned) -> Tensor:
    if given.centre is None:
        raise UserError("ClusterAssignment with Centering was given no centre.")
    return scores - given.centre.to(scores.dtype)


def _normalized_mse(
    online: Embeddings, target: Embeddings, pairs: list[tuple[int, int]], given: Assigned
) -> Tensor:
    """Squared distances of unit vectors, a mean over images, heads and pairs."""
    losses = []
    for view, other in pairs:
        ours = F.normalize(select(online, view, name="online"), dim=2)
        theirs = _centred(select(target, other, name="target").detach(), given)
        losses.append((ours - F.normalize(theirs, dim=2)).square().sum(dim=2).mean())
    return torch.stack(losses).mean()


def _clusters(scores: Tensor, given: Assigned) -> Tensor:
    """The images' clusters as codes of ones and zeros, of the scores' shape N×H×K."""
    if given.clusters is None:
        raise UserError("ClusterAssignment was given no clusters of the last epoch.")
    return F.one_hot(given.clusters, scores.shape[2]).to(scores.dtype)


@torch.no_grad()
def _metrics(codes: Tensor) -> dict[str, Tensor]:
    # A prototype counts once, whichever process's image it is the largest of.
    winners = gather(codes.argmax(dim=2))  # (world n)×H
    used = torch.zeros_like(codes[0]).scatter_(1, winners.T, 1.0)  # H×K of 0 and 1
    could = min(codes.shape[2], len(winners))
    return {
        "assignment_entropy": torch.special.entr(codes).sum(dim=2).mean(),
        "prototypes_used": 100.0 * used.sum(dim=1).mean() / could,
    }
