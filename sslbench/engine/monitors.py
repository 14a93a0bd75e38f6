"""Whether a representation is alive: the embeddings' spread and rank, and a verdict on a run."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbench.recipes.recipe import Recipe

DIMENSIONAL_RANK = 0.02  # share of the rank that D and the batch allow
DIMENSIONAL_FLOOR = 4.0  # where 63 are allowed, dead runs had 1.2 to 3.1, others 6.6 or more
MAX_ROWS = 1024  # a monitor needs no more, and its cost grows with the cube

State = Literal["healthy", "collapsed", "dimensional", "diverged"]


@dataclass(frozen=True)
class Verdict:
    """How a run ended, and the likely cause as one sentence ("" where nothing is wrong)."""

    state: State
    cause: str = ""


def knn_dips(curve: Sequence[float]) -> float | None:
    """The sum of a kNN curve's downward steps, in its own unit (points); None below two points.

    Args:
        curve: accuracies in order of training. Curves of different density do not compare: each
            point adds its own noise.
    """
    if len(curve) < 2:
        return None
    return math.fsum(max(0.0, a - b) for a, b in itertools.pairwise(curve))


@torch.no_grad()
def embedding_std(z: Tensor) -> Tensor:
    """Standard deviation of l2-normalised embeddings, averaged over channels.

    Args:
        z: N×D embeddings, computed in float32.
    Returns:
        Scalar: 0 for a constant output, about 1/sqrt(D) for directions spread evenly.
    Source: Chen and He 2020 (SimSiam), Sec. 4.1 and Fig. 2.
    """
    return F.normalize(z.float(), dim=1).std(dim=0, correction=0).mean()


@torch.no_grad()
def effective_rank(z: Tensor, *, rows: int | None = MAX_ROWS) -> Tensor:
    """exp of the entropy of the normalised singular values of the centred embeddings.

    Args:
        z: N×D embeddings.
        rows: the first so many are used; None: all.
    Returns:
        Scalar between 1 and min(N - 1, D); 0 where all rows are equal, NaN where one is not finite.
    Source: Roy and Vetterli 2007, "The effective rank", Eq. 2 and 3.
    """
    z = z[:rows].double()
    z = z - z.mean(dim=0)
    gram = z @ z.T if z.shape[0] < z.shape[1] else z.T @ z  # its eigenvalues are squared
    if not bool(torch.isfinite(gram).all()):
        return z.new_tensor(math.nan)
    singular = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt()
    if not bool(singular.sum() > 0):
        return z.new_tensor(0.0)
    share = singular / singular.sum()
    return torch.special.entr(share).sum().exp()


def verdict(final: Mapping[str, float], *, recipe: Recipe, out_dim: int) -> Verdict:
    """Judge a run by its last metrics.

    Diverged: the loss or the embeddings are not finite. (Objectives of normalised
    embeddings are bounded: there, a rate that is too high shows as a collapse.)
    Collapsed: the embeddings' std is below a share of 1/sqrt(D), the value of directions spread
    evenly over the sphere: a tenth, unless the recipe's family says otherwise. Dimensional: their
    effective rank is below 2 % of what D and the batch allow, or below 4 (a quarter, where they
    allow fewer than 16); not where the recipe says that the rank does not matter.

    Args:
        final: `loss`, `std` and `effective_rank` of the last log point.
        recipe: what was trained; its facts name the cause.
        out_dim: D, the embeddings' width.
    """
    if "loss" not in final:
        return Verdict("diverged", "The run ended before its first log point.")
    if not all(math.isfinite(final[name]) for name in ("loss", "std", "effective_rank")):
        return Verdict(
            "diverged",
            "The loss is not finite: the learning rate is too high for this batch and warm-up.",
        )
    allowed = min(out_dim, recipe.batch_size - 1, MAX_ROWS - 1)
    std, rank = final["std"], final["effective_rank"]
    state = collapse(std, rank, out_dim=out_dim, allowed=allowed, least_std=recipe.least_std)
    if state == "healthy" or (state == "dimensional" and not recipe.rank_matters):
        return Verdict("healthy")
    return Verdict(state, recipe.cause(complete=state == "collapsed"))


def collapse(std: float, rank: float, *, out_dim: int, allowed: int, least_std: float) -> State:
    """Collapsed, dimensional or healthy, by the limits that `verdict` states.

    Args:
        std: of unit embeddings; rank: their effective rank.
        out_dim: D, the embeddings' width.
        allowed: the rank that D and the number of embeddings allow.
        least_std: share of 1/sqrt(D).
    """
    if std < least_std / math.sqrt(out_dim):
        return "collapsed"
    least = max(DIMENSIONAL_RANK * allowed, min(DIMENSIONAL_FLOOR, allowed / 4))
    return "dimensional" if rank < least else "healthy"
