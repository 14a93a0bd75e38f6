"""The epoch memory: clusters of the last epoch's embeddings, the targets of the next epoch.

DeepCluster-v2 finds them by k-means, SeLa-v2 by Sinkhorn over all images.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslbench import distributed
from sslbench.objectives.sinkhorn import prototype_potentials
from sslbench.streams import stream_key

UNSEEN = -100  # the assignment of an image that is not in the memory
_CHUNK = 4096  # images scored at a time


class EpochMemory(nn.Module):
    """Unit embeddings of both global views of every image, and the clusters they gave.

    It takes 8 M D bytes on every process and in every checkpoint: 1.3 GB for ImageNet's 1.28
    million images at D = 128. An image that an epoch leaves out (the last, incomplete batch) keeps
    the embeddings of its last visit.

    Args:
        num_images: M.
        width: D.
        heads: H, sets of clusters; those of head h come from the embeddings of view h mod 2.
    Source: Caron et al. 2020, arXiv:2006.09882, App. D, and the authors' code of DeepCluster-v2.
    """

    embeddings: Tensor
    seen: Tensor
    assignments: Tensor
    epoch: Tensor

    def __init__(self, num_images: int, width: int, *, heads: int) -> None:
        super().__init__()
        self.register_buffer("embeddings", torch.zeros(2, num_images, width))
        self.register_buffer("seen", torch.zeros(num_images, dtype=torch.bool))
        assignments = torch.full((num_images, heads), UNSEEN, dtype=torch.int64)
        self.register_buffer("assignments", assignments)
        self.register_buffer("epoch", torch.full((), -1, dtype=torch.int64))

    @torch.no_grad()
    def update(self, indices: Tensor, views: list[Tensor]) -> None:
        """Keep the embeddings of all processes' images; the assignments stay as they are.

        Args:
            indices: N int64, the images of this process, each at most once in the global batch.
            views: two tensors N×D, of any length.
        """
        places = distributed.gather(indices)
        for memory, view in zip(self.embeddings, views, strict=True):
            rows = distributed.gather(F.normalize(view.float(), dim=1))
            memory.index_copy_(0, places, rows)
        self.seen[places] = True

    @torch.no_grad()
    def cluster_by_k_means(
        self, *, count: int, iterations: int, epoch: int, seed: int
    ) -> Tensor:
        """Assign every image seen to the nearest of `count` centroids, for each head.

        Returns:
            The centroids, H×K×D, K = count; the same on all processes, from the first.
        """
        heads = self.assignments.shape[1]
        centroids = self.embeddings.new_empty(heads, count, self.embeddings.shape[2])
        for head in range(heads):
            if distributed.rank() == 0:
                rows = self._rows(head).cpu()
                key = stream_key(seed, "k-means", epoch, head)
                centroids[head] = spherical_k_means(rows, count, iterations=iterations, key=key)
            distributed.broadcast(centroids[head])
        self._assign(centroids.new_zeros(()), centroids, epoch=epoch)
        return centroids

    @torch.no_grad()
    def cluster_by_sinkhorn(
        self, prototypes: Tensor, *, epsilon: float, iterations: int, epoch: int
    ) -> None:
        """Assign every image seen to the prototype of its largest code, for each head.

        Codes are rounded: over the whole set "discrete codes work well" (SwAV, Sec. 3.1, of SeLa).

        Args:
            prototypes: H×K×D unit vectors.
            epsilon, iterations: of Sinkhorn over all images.
        """
        potentials = []
        for head, weight in enumerate(prototypes):
            share = self._rows(head)[distributed.rank() :: distributed.world_size()]

            def parts(share: Tensor = share, weight: Tensor = weight) -> Iterator[Tensor]:
                return (rows @ weight.T / epsilon for rows in share.split(_CHUNK))

            potentials.append(prototype_potentials(parts, iterations=iterations))
        self._assign(epsilon * torch.stack(potentials), prototypes, epoch=epoch)

    def _rows(self, head: int) -> Tensor:
        """The embeddings of the images seen that this head clusters, m×D."""
        return self.embeddings[head % 2][self.seen]

    def _assign(self, offsets: Tensor, prototypes: Tensor, *, epoch: int) -> None:
        """The best of score + offset, with offsets of shape H×K or none."""
        offsets = offsets.expand(prototypes.shape[:2])
        for head, (weight, offset) in enumerate(zip(prototypes, offsets, strict=True)):
            best = [(rows @ weight.T + offset).argmax(1) for rows in self._rows(head).split(_CHUNK)]
            self.assignments[self.seen, head] = torch.cat(best)
        self.epoch.fill_(epoch)


def spherical_k_means(rows: Tensor, count: int, *, iterations: int, key: int) -> Tensor:
    """Unit centroids that maximise the sum of cosines, by faiss.

    They start at rows drawn at random. A centroid that loses all its rows takes a share of a large
    cluster (faiss's rule).

    Args:
        rows: M×D unit vectors, float32 on the CPU, M >= count.
        key: of the start (`streams`).
    Returns:
        count×D float32.
    """
    threads = torch.get_num_threads()  # before the import: both libraries share one setting
    import faiss

    try:
        faiss.omp_set_num_threads(threads)
        k_means = faiss.Kmeans(
            rows.shape[1],
            count,
            niter=iterations,
            spherical=True,
            seed=key & 0x7FFFFFFF,
            min_points_per_centroid=1,  # below its 39 faiss warns, above its 256 it draws a sample
            max_points_per_centroid=len(rows),
        )
        k_means.train(rows.numpy())
    finally:
        torch.set_num_threads(threads)
    return torch.from_numpy(k_means.centroids)
