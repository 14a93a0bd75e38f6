"""VICReg as a plugin: one loss, one recipe, and what it takes at a small scale."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sslbench.distributed import gather_with_gradient
from sslbench.objectives import OBJECTIVES, stateless
from sslbench.objectives.embeddings import Embeddings, select
from sslbench.recipes import RECIPES
from sslbench.recipes.families import JointRecipe
from sslbench.recipes.scales import SCALES
from sslbench.recipes.specs import LARS, MLP, BatchNorm, Cosine, ObjectiveSpec, ResNet, Shared
from sslbench.recipes.views import PRESETS


@dataclass(frozen=True, kw_only=True)
class VICReg(ObjectiveSpec):
    """Weights of the three terms: views alike, dimensions spread, dimensions uncorrelated."""

    invariance: float = 25.0
    variance: float = 25.0
    covariance: float = 1.0

    def cause(self, recipe: JointRecipe, *, complete: bool) -> str:
        if self.variance == 0:
            return "The variance term is off, so a constant output is the optimum."
        return "The learning rate may be too high for these weights."


def vicreg(
    spec: VICReg, online: Embeddings, target: Embeddings
) -> tuple[Tensor, dict[str, Tensor]]:
    """Bardes, Ponce and LeCun 2022, arXiv:2105.04906, Eq. 1 to 6; means as in the authors' code.

    Args:
        online, target: N×D of view 0 and of view 1, N >= 2.
    """
    a, b = select(online, 0, name="online"), select(target, 1, name="target")  # N×D, float32
    with torch.autocast(a.device.type, enabled=False):
        invariance = F.mse_loss(a, b)
        spread, shared = zip(*(terms(gather_with_gradient(z)) for z in (a, b)), strict=True)
        variance, covariance = sum(spread) / 2, sum(shared)
    loss = spec.invariance * invariance + spec.variance * variance + spec.covariance * covariance
    return loss, {"invariance": invariance, "variance": variance, "covariance": covariance}


def terms(z: Tensor) -> tuple[Tensor, Tensor]:
    """Variance and covariance of N×D rows, those of all processes."""
    variance = F.relu(1 - torch.sqrt(z.var(dim=0) + 1e-4)).mean()
    matrix = torch.cov(z.T)  # D×D, over N - 1
    off_diagonal = matrix.square().sum() - matrix.diagonal().square().sum()
    return variance, off_diagonal / z.shape[1]


OBJECTIVES[VICReg] = stateless(vicreg)
RECIPES["vicreg"] = JointRecipe(
    name="vicreg",
    source="Bardes et al. 2022, arXiv:2105.04906, Sec. 4",
    departures=("Invariance is a mean over D, and the variances are halved, as in the code.",),
    views=PRESETS["byol"],
    encoder=ResNet(arch="resnet50"),
    projector=MLP(hidden=(8192, 8192), out=8192, out_bias=False),
    target=Shared(stop_gradient=False),
    objective=VICReg(),
    batch_norm=BatchNorm(mode="synchronized"),
    optimizer=LARS(lr=0.2, weight_decay=1e-6),
    schedule=Cosine(warmup_epochs=10, floor=0.01),
    epochs=1000,
    batch_size=2048,
)
# The best of eight tries of one seed at `smoke`: AdamW barely starts, SGD as BYOL has it does.
SCALES["laptop"].recipes["vicreg"] = {
    "projector.out": 256,
    "optimizer": {"kind": "SGD", "lr": 0.5, "scaling": "linear"},
    "views.*.grayscale": 0.5,
}
