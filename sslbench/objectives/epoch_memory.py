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
        places = distributed.gather(indices)
        for memory, view in zip(self.embeddings, views, strict=True):
            rows = distributed.gather(F.normalize(view.float(), dim=1))
            memory.index_copy_(0, places, rows)

    @torch.no_grad()
    def cluster_by_k_means(
        self, *, count: int, iterations: int, epoch: int, seed: int
    ) -> Tensor:
        """Assign every image to the nearest of `count` centroids, for each head.

        Args:
            count: K <= M.
            iterations: of Lloyd's algorithm.
            epoch: whose targets the assignments are.
            seed: with the epoch, of where the centroids start.
        Returns:
            The centroids, H×K×D, K = count; the same on all processes, from the first.
        """
        heads = self.assignments.shape[1]
        centroids = self.embeddings.new_empty(heads, count, self.embeddings.shape[2])
        for head in range(heads):
            if distributed.rank() == 0:
                rows = self.embeddings[head % 2].cpu()
                key = stream_key(seed, "k-means", epoch, head)
                centroids[head] = spherical_k_means(rows, count, iterations=iterations, key=key)
            distributed.broadcast(centroids[head])
        self._assign(centroids, torch.zeros_like(centroids[..., 0]), epoch=epoch)
        return centroids

    @torch.no_grad()
    def cluster_by_sinkhorn(
        self, prototypes: Tensor, *, epsilon: float, iterations: int, epoch: int
    ) -> None:
        """Assign every image to the prototype of its largest code, for each head.

        The paper finds that codes may be rounded where they are of the whole set (Sec. 3.1, on
        SeLa); of a batch they may not.

        Args:
            prototypes: H×K×D unit vectors.
            epsilon, iterations: of Sinkhorn over all images.
            epoch: whose targets the assignments are.
        """
        potentials = []
        for head, weight in enumerate(prototypes):
            share = self.embeddings[head % 2, distributed.rank() :: distributed.world_size()]

            def parts(share: Tensor = share, weight: Tensor = weight) -> Iterator[Tensor]:
                return (rows @ weight.T / epsilon for rows in share.split(_CHUNK))

            potentials.append(prototype_potentials(parts, iterations=iterations))
        self._assign(prototypes, epsilon * torch.stack(potentials), epoch=epoch)

    def _assign(self, prototypes: Tensor, offsets: Tensor, *, epoch: int) -> None:
        """The best of cosine + offset, H×K, for each image and head."""
        for head, (weight, offset) in enumerate(zip(prototypes, offsets, strict=True)):
            parts = self.embeddings[head % 2].split(_CHUNK)
            best = [(rows @ weight.T + offset).argmax(dim=1) for rows in parts]
            self.assignments[:, head] = torch.cat(best)
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
