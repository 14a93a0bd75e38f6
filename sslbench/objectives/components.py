"""The first principal components of patches as targets."""

from __future__ import annotations

import torch
from torch import Tensor

from sslbench import distributed
from sslbench.errors import UserError
from sslbench.objectives.patch_targets import PatchTargets, finish_fit, full_precision
from sslbench.objectives.patches import patchify
from sslbench.recipes.specs import PrincipalComponents

_CHUNK = 8192  # patches added to the covariance at a time


class ComponentTargets(PatchTargets):
    """Coefficients of the centred patch, the largest component first.

    Attributes:
        mean: D, of the patches that it was fitted to.
        components: m×D, orthonormal.
    """

    needs_fit = True
    mean: Tensor
    components: Tensor

    def __init__(self, spec: PrincipalComponents, *, patch: int, seed: int) -> None:
        super().__init__(spec, patch=patch)
        self.register_buffer("mean", torch.zeros(3 * patch**2))
        self.register_buffer("components", torch.zeros(spec.components, 3 * patch**2))

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            patches = patchify(full_precision(images), self.patch)
            return (patches - self.mean) @ self.components.to(patches).T

    @torch.no_grad()
    def fit(self, patches: Tensor) -> None:
        if len(patches) <= self.outputs:
            raise UserError(
                f"{self.outputs} principal components need more than {len(patches)} patches; lower "
                "objective.target.components, or train on more images."
            )
        if distributed.rank() == 0:
            mean, components = principal_components(patches, self.outputs)
            self.mean.copy_(mean)
            self.components.copy_(components)
        finish_fit(self)

    @torch.no_grad()
    def to_pixels(self, predicted: Tensor, images: Tensor) -> Tensor:
        predicted = full_precision(predicted)
        return self.mean.to(predicted) + predicted @ self.components.to(predicted)


def principal_components(patches: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean and directions of largest variance, computed in float64 on the CPU.

    Each direction's entry of largest magnitude is positive, so that its sign is no accident of the
    library.

    Args:
        patches: M×D, M > count.
    Returns:
        D and count×D, by falling variance.
    """
    mean = patches.mean(dim=0, dtype=torch.float64).cpu()
    scatter = torch.zeros(len(mean), len(mean), dtype=torch.float64)
    for part in patches.split(_CHUNK):
        centred = part.cpu().double() - mean
        scatter += centred.T @ centred
    directions = torch.linalg.eigh(scatter).eigenvectors.T.flip(0)[
        :count
    ]  # it gives the least first
    largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
    return mean, directions * largest.sign()
