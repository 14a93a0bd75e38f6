"""What a loss may know besides the embeddings of the batch."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sslbench.objectives.centre import Centre
from sslbench.objectives.partition import Partition


@dataclass(frozen=True)
class Context:
    """One step's surroundings; a loss reads what its spec asks for.

    Attributes:
        queue: K×D keys of past batches, or None.
        bank: one row per training image, M×D, or None; read before this step updates it.
        partition: the normalising constant of a softmax over the bank, or None; a loss that reads
            it estimates it from the first batch.
        indices: N int64, the training images of this process's rows, or None.
        key: of this step's random numbers (`streams`), equal on all processes.
        progress: share of the training steps already done, 0 <= progress < 1.
        epoch: epochs already done, with the fraction of the running one.
        centre: of the target's scores, or None.
        stored: scores Q×H×K of past embeddings, one tensor for each global view, or None.
        assignments: N×H int64, the cluster of each image in each head by the embeddings of the
            last epoch, or None.
    """

    queue: Tensor | None = None
    bank: Tensor | None = None
    partition: Partition | None = None
    indices: Tensor | None = None
    key: int = 0
    progress: float = 0.0
    epoch: float = 0.0
    centre: Centre | None = None
    stored: list[Tensor] | None = None
    assignments: Tensor | None = None


NOTHING = Context()
