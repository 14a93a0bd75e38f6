"""Objectives by spec: losses, and what they remember from one batch to the next.

A loss is a pure function of tensors: of its spec, of `online` (N×D for each of V views, this
process's rows), of `target` (the same for the views it compares with) and of what it reads besides,
each by name. It returns the loss and a dictionary of scalar metrics. A loss is a mean over local
rows: averaged over processes, as DDP averages gradients, it is the loss of one process with all
rows. Entries that an asymmetric loss does not read may be None. An `Objective` is a small module
around such a function, which owns its state. `OBJECTIVES` builds it; `stateless` is enough for a
function that has none. `cross_entropy` is apart: it takes logits and labels.
"""

from __future__ import annotations

from sslbench.objectives.align_uniform import AlignUniformLoss
from sslbench.objectives.bank import Bank
from sslbench.objectives.centre import Centre
from sslbench.objectives.clusters import ClusterAssignmentLoss
from sslbench.objectives.cross_correlation import cross_correlation
from sslbench.objectives.cross_entropy import cross_entropy
from sslbench.objectives.epoch_memory import EpochMemory
from sslbench.objectives.info_nce import InfoNCELoss
from sslbench.objectives.negative_cosine import negative_cosine
from sslbench.objectives.noise_contrastive import NoiseContrastiveLoss
from sslbench.objectives.objective import (
    Build,
    Given,
    LossOutput,
    Objective,
    Reads,
    anchors_alone,
    by_direction,
    stateless,
)
from sslbench.objectives.partition import Partition
from sslbench.objectives.prototypes import Prototypes
from sslbench.objectives.queue import Queue, ViewQueues
from sslbench.objectives.relational import RelationalLoss
from sslbench.objectives.simple_contrast import SimpleContrastLoss
from sslbench.recipes.specs import (
    AlignUniform,
    ClusterAssignment,
    CrossCorrelation,
    InfoNCE,
    NegativeCosine,
    NoiseContrastive,
    ObjectiveSpec,
    Relational,
    SimpleContrast,
)

OBJECTIVES: dict[type[ObjectiveSpec], Build] = {
    InfoNCE: InfoNCELoss,
    SimpleContrast: SimpleContrastLoss,
    NoiseContrastive: NoiseContrastiveLoss,
    AlignUniform: AlignUniformLoss,
    NegativeCosine: stateless(negative_cosine),
    Relational: RelationalLoss,
    CrossCorrelation: stateless(cross_correlation),
    ClusterAssignment: ClusterAssignmentLoss,
}

__all__ = [
    "OBJECTIVES",
    "Bank",
    "Centre",
    "EpochMemory",
    "Given",
    "LossOutput",
    "Objective",
    "Partition",
    "Prototypes",
    "Queue",
    "Reads",
    "ViewQueues",
    "anchors_alone",
    "by_direction",
    "cross_entropy",
    "stateless",
]
