"""Barlow Twins, and the forms of its loss ablation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sslbench.distributed import sum_with_gradient, world_size
from sslbench.errors import UserError
from sslbench.objectives.embeddings import Embeddings, require_same_shape, select
from sslbench.recipes.specs import CrossCorrelation

EPSILON = 1e-5  # of the authors' batch norm


def cross_correlation(
    spec: CrossCorrelation, online: Embeddings, target: Embeddings
) -> tuple[Tensor, dict[str, Tensor]]:
    """Push the cross-correlation C of two views, D×D over the global batch, to the identity.

    The loss is `scale * (on * sum_i (1 - C_ii)^2 + off * sum_{i != j} C_ij^2)`, a sum and not a
    mean over the matrix: the published learning rate assumes it. The forms of Table 5:

    - `correlation`: columns standardised over the batch (biased variance, as in the authors'
      code), so identical views have C_ii = 1.
    - `feature_norm`: "Normalization along feature dim.": standardised over the batch, then each
      row scaled to norm sqrt(D), then the covariance. The paper gives no scale; with norm 1 the
      diagonal would be about 1/D and its target of 1 out of reach, with sqrt(D) the entries keep
      unit mean square and all else the meaning it has in the first form.
    - `covariance`: columns centred only.
    - `cross_entropy`: of the correlation,
      `scale * (-on * log sum_i exp(C_ii / t) + off * log sum_{i != j} exp(max(C_ij, 0) / t))`.

    Args:
        online: N×D of each view; view 0 and the local crops are read. Computed in float32.
        target: N×D of each global view; view 1, and for local crops both. One direction only:
            without predictor and stop-gradient the other has the transposed matrix and the same
            loss. A mean over pairs of views.
    Returns:
        Scalar loss, equal on all processes, and `correlation_diagonal` (mean of C_ii),
        `correlation_off_diagonal` (root mean square of the rest).
    Raises:
        UserError: shapes differ, or N < 2 or D < 2 over all processes.
    Source: Zbontar et al. 2021, arXiv:2103.03230, Eq. 1, Algorithm 1, Table 5.
    """
    losses, metrics = [], []
    for view, other in _pairs(len(online)):
        first, second = select(online, view, name="online"), select(target, other, name="target")
        require_same_shape(first, second)
        # In bf16 a diagonal near its goal of 1 would move in steps of 0.004.
        with torch.autocast(first.device.type, enabled=False):
            loss, of_pair = _one_pair(spec, first, second)
        losses.append(loss)
        metrics.append(of_pair)
    means = {name: torch.stack([m[name] for m in metrics]).mean() for name in metrics[0]}
    return spec.scale * torch.stack(losses).mean(), means


def _pairs(num_views: int) -> list[tuple[int, int]]:
    """(online view, target view), each pair of views once: the two global ones, then every local
    crop with each of them."""
    return [(0, 1), *((view, other) for view in range(2, num_views) for other in (0, 1))]


def _one_pair(
    spec: CrossCorrelation, first: Tensor, second: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss, not scaled, and the metrics of two views, N×D each."""
    num_images = world_size() * len(first)
    if num_images < 2 or first.shape[1] < 2:
        raise UserError("CrossCorrelation needs at least two images in a batch and two features.")
    first, second = _normalize(spec, first), _normalize(spec, second)  # N×D each
    # Summed with gradient: one matrix of the global batch, whatever the number of processes.
    correlation = sum_with_gradient(first.T @ second) / num_images  # D×D
    diagonal, rest = correlation.diagonal(), _off_diagonal(correlation)  # D, (D-1)×D
    if spec.form == "cross_entropy":
        attraction = -torch.logsumexp(diagonal / spec.temperature, dim=0)
        redundancy = torch.logsumexp(rest.clamp_min(0).flatten() / spec.temperature, dim=0)
    else:
        attraction = (1 - diagonal).square().sum()
        redundancy = rest.square().sum()
    loss = spec.on_diagonal_weight * attraction + spec.off_diagonal_weight * redundancy
    metrics = {
        "correlation_diagonal": diagonal.detach().mean(),
        "correlation_off_diagonal": rest.detach().square().mean().sqrt(),
    }
    return loss, metrics


def _normalize(spec: CrossCorrelation, x: Tensor) -> Tensor:
    """N×D embeddings as the form wants them; statistics are the global batch's."""
    x = x - _global_mean(x)
    if spec.form == "covariance":
        return x
    x = x * torch.rsqrt(_global_mean(x.square()) + EPSILON)  # biased, as batch norm's
    if spec.form == "feature_norm":
        x = F.normalize(x, dim=1) * x.shape[1] ** 0.5
        x = x - _global_mean(x)  # rows of other lengths than before: a covariance is centred
    return x


def _global_mean(x: Tensor) -> Tensor:
    return sum_with_gradient(x.mean(dim=0)) / world_size()


def _off_diagonal(matrix: Tensor) -> Tensor:
    """The D² - D entries off the diagonal, as (D-1)×D, without copying."""
    # The authors' trick: without the last entry there are D-1 rows of D+1 entries, and each
    # begins with one of the diagonal.
    d = len(matrix)
    return matrix.flatten()[:-1].view(d - 1, d + 1)[:, 1:]
