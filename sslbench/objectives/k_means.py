"""K-means by faiss, with a start of ours and the number of threads left as it was."""

from __future__ import annotations

import torch
from torch import Tensor


def k_means(
    rows: Tensor, count: int, *, iterations: int, key: int, threads: int, spherical: bool = False
) -> Tensor:
    """Centres by Lloyd's iterations.

    They start at rows drawn at random. A centre that loses all its rows takes a share of a large
    cluster (faiss's rule).

    Args:
        rows: M×D, float32 on the CPU, M >= count.
        key: of the start (`streams`).
        threads: of faiss, here alone.
        spherical: unit centres that maximise the sum of cosines, in place of the means that
            minimise that of squared distances.
    Returns:
        count×D float32.
    """
    before = torch.get_num_threads()  # before the import: both libraries share one setting
    import faiss

    try:
        faiss.omp_set_num_threads(threads)
        found = faiss.Kmeans(
            rows.shape[1],
            count,
            niter=iterations,
            spherical=spherical,
            seed=key & 0x7FFFFFFF,  # faiss takes a C int
            min_points_per_centroid=1,  # below its 39 faiss warns, above its 256 it draws a sample
            max_points_per_centroid=len(rows),
        )
        found.train(rows.numpy())
    finally:
        torch.set_num_threads(before)
    return torch.from_numpy(found.centroids)
