"""Losses: one function for each objective spec.

Each takes the spec, `online` (a tensor N×D for each of V views, this process's rows), `target` (the
same for the two global views; for all views where NT-Xent compares each with every other) and a
`Context` (queue, memory bank, ...), and returns the loss and a dictionary of scalar metrics. With
prototypes the tensors are scores N×H×K. A loss is a mean over local rows: averaged over processes,
as DDP averages gradients, it is the loss of one process with all rows. Entries of `online` and
`target` that an asymmetric loss does not read may be None. `cross_entropy` is apart: it takes
logits and labels.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from sslbench.objectives.align_uniform import align_uniform
from sslbench.objectives.bank import Bank
from sslbench.objectives.centre import Centre
from sslbench.objectives.cluster_assignment import cluster_assignment
from sslbench.objectives.context import Context
from sslbench.objectives.cross_correlation import cross_correlation
from sslbench.objectives.cross_entropy import cross_entropy
from sslbench.objectives.epoch_memory import EpochMemory
from sslbench.objectives.info_nce import info_nce
from sslbench.objectives.negative_cosine import negative_cosine
from sslbench.objectives.noise_contrastive import noise_contrastive
from sslbench.objectives.partition import Partition
from sslbench.objectives.queue import Queue, ViewQueues
from sslbench.objectives.relational import relational
from sslbench.objectives.simple_contrast import simple_contrast
from sslbench.recipes.base import Spec
from sslbench.recipes.specs import (
    AlignUniform,
    ClusterAssignment,
    CrossCorrelation,
    InfoNCE,
    NegativeCosine,
    NoiseContrastive,
    Relational,
    SimpleContrast,
)

OBJECTIVES: dict[type[Spec], Callable[..., tuple[Tensor, dict[str, Tensor]]]] = {
    InfoNCE: info_nce,
    SimpleContrast: simple_contrast,
    NoiseContrastive: noise_contrastive,
    AlignUniform: align_uniform,
    NegativeCosine: negative_cosine,
    Relational: relational,
    CrossCorrelation: cross_correlation,
    ClusterAssignment: cluster_assignment,
}

__all__ = [
    "OBJECTIVES",
    "Bank",
    "Centre",
    "Context",
    "EpochMemory",
    "Partition",
    "Queue",
    "ViewQueues",
    "cross_entropy",
]
