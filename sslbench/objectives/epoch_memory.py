"""The epoch memory: clusters of the last epoch's embeddings, the targets of the next epoch.

DeepCluster-v2 finds them by k-means, SeLa-v2 by Sinkhorn over all images.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslbench import distributed
from sslbench.objectives.k_means import k_means
from sslbench.objectives.sinkhorn import prototype_potentials
from sslbench.recipes.specs import EpochSinkhorn, KMeans
from sslbench.streams import stream_key

_ALL = slice(None)
_CHUNK = 4096  # images scored at a time


class EpochMemory(nn.Module):
    """Unit embeddings of both global views of every image, and the clusters they gave.

    It takes 8 M D bytes on every process and in every checkpoint: 1.3 GB for ImageNet's 1.28
    million images at D = 128. Fill it before the first clustering. An image that an epoch leaves
    out (its last, incomplete batch) keeps the embeddings of its last visit.

    Args:
        num_images: M.
        width: D.
        heads: H, sets of clusters; those of head h come from the embeddings of view h mod 2.
    Source: Caron et al. 2020, arXiv:2006.09882, App. D.2, and the authors' code of DeepCluster-v2.
    """

    embeddings: Tensor
    assignments: Tensor
    epoch: Tensor

    def __init__(self, num_images: int, width: int, *, heads: int) -> None:
        super().__init__()
        self.register_buffer("embeddings", torch.zeros(2, num_images, width))
        self.register_buffer("assignments", torch.zeros(num_images, heads, dtype=torch.int64))
        self.register_buffer("epoch", torch.full((), -1, dtype=torch.int64))  # none clustered yet

    @torch.no_grad()
    def update(self, indices: Tensor, views: list[Tensor]) -> None:
        """Keep the embeddings of all processes' images; the assignments stay as they are.

        Args:
            indices: N int64, the images of this process, each at most once in the global batch.
            views: N×D of each global view, of any length.
        """
        places = distributed.gather(indices)  # world N
        for memory, view in zip(self.embeddings, views, strict=True):
            rows = distributed.gather(F.normalize(view.float(), dim=1))  # (world N)×D
            # Everyone's rows on every process: each then scores any share of the images.
            memory.index_copy_(0, places, rows)

    @torch.no_grad()
    def cluster(
        self, spec: KMeans | EpochSinkhorn, prototypes: Tensor, *, epoch: int, seed: int
    ) -> Tensor:
        """Assign every image to a prototype, for each head: the targets of an epoch.

        K-means replaces the prototypes by its centroids and takes the nearest. Sinkhorn over all
        images keeps them and takes the largest entry of the code: codes of the whole set may be
        rounded (Sec. 3.1, on SeLa), those of a batch may not.

        Args:
            prototypes: H×K×D unit vectors, K <= M.
            epoch: whose targets the assignments are.
            seed: with the epoch, of where k-means starts.
        Returns:
            The prototypes that the assignments are of, H×K×D unit vectors.
        """
        heads = range(len(prototypes))
        if isinstance(spec, KMeans):
            keys = [stream_key(seed, "k-means", epoch, head) for head in heads]
            prototypes = torch.stack(
                [self._centroids(spec, prototypes[head], head, keys[head]) for head in heads]
            )
            offsets = torch.zeros_like(prototypes[..., 0])  # H×K
        else:
            offsets = torch.stack([self._offsets(spec, prototypes[head], head) for head in heads])
        for head in heads:
            scores = self._scores(prototypes[head], head)
            # The code is a softmax of these sums, and its largest entry theirs.
            best = [(part + offsets[head]).argmax(dim=1) for part in scores]
            self.assignments[:, head] = torch.cat(best)
        self.epoch.fill_(epoch)
        return prototypes

    def _centroids(self, spec: KMeans, like: Tensor, head: int, key: int) -> Tensor:
        """K×D, found by the first process."""
        centroids = torch.empty_like(like)
        # Threads add up in any order, and k-means amplifies it: one process decides for all.
        if distributed.rank() == 0:
            rows = self.embeddings[head % 2].cpu()
            found = spherical_k_means(rows, len(like), iterations=spec.iterations, key=key)
            centroids.copy_(found)
        distributed.broadcast(centroids)
        return centroids

    def _offsets(self, spec: EpochSinkhorn, weight: Tensor, head: int) -> Tensor:
        """What Sinkhorn adds to the cosines with each prototype, K; a process takes its share of
        the images."""
        rank, world = distributed.rank(), distributed.world_size()

        def logits() -> Iterator[Tensor]:
            return (s / spec.epsilon for s in self._scores(weight, head, slice(rank, None, world)))

        # Back from logits to cosines, which assignments compare.
        return spec.epsilon * prototype_potentials(logits, iterations=spec.iterations)

    def _scores(self, weight: Tensor, head: int, images: slice = _ALL) -> Iterator[Tensor]:
        """Cosines m×K of the images with the prototypes of a head, in parts."""
        return (rows @ weight.T for rows in self.embeddings[head % 2, images].split(_CHUNK))


def spherical_k_means(rows: Tensor, count: int, *, iterations: int, key: int) -> Tensor:
    """Unit centroids that maximise the sum of cosines (`k_means`).

    Args:
        rows: M×D unit vectors, float32 on the CPU, M >= count.
        key: of the start (`streams`).
    Returns:
        count×D float32.
    """
    threads = torch.get_num_threads()
    return k_means(rows, count, iterations=iterations, key=key, threads=threads, spherical=True)
