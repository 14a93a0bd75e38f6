"""What a hidden patch is predicted as, by spec: pixels, components, a codebook's entry, HOG."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sslbench.objectives.codebook import CodebookTargets
from sslbench.objectives.components import ComponentTargets
from sslbench.objectives.hog import HOGTargets
from sslbench.objectives.patch_targets import PatchTargets, full_precision, reconstruction_loss
from sslbench.objectives.patches import moments, patchify, standardize, unpatchify
from sslbench.recipes.specs import HOG, Codebook, PatchTarget, Pixels, PrincipalComponents

__all__ = [
    "TARGETS",
    "PatchTargets",
    "PixelTargets",
    "build_target",
    "patchify",
    "reconstruction_loss",
    "unpatchify",
]


class PixelTargets(PatchTargets):
    """The patch's own numbers, in `patchify`'s order; standardised, if the spec says so."""

    def __init__(self, spec: Pixels, *, patch: int, seed: int) -> None:
        super().__init__(spec, patch=patch)
        self.normalize = spec.normalize

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            patches = patchify(full_precision(images), self.patch)
            return standardize(patches) if self.normalize else patches

    @torch.no_grad()
    def to_pixels(self, predicted: Tensor, images: Tensor) -> Tensor:
        predicted = full_precision(predicted)
        if not self.normalize:
            return predicted
        mean, deviation = moments(patchify(full_precision(images), self.patch))
        return predicted * deviation + mean


TARGETS: dict[type[PatchTarget], Callable[..., PatchTargets]] = {
    Pixels: PixelTargets,
    PrincipalComponents: ComponentTargets,
    Codebook: CodebookTargets,
    HOG: HOGTargets,
}


def build_target(spec: PatchTarget, *, patch: int, seed: int) -> PatchTargets:
    """The targets of a spec.

    Args:
        patch: side in pixels.
        seed: of what is fitted.
    Raises:
        UserError: not defined for patches of that side.
    """
    return TARGETS[type(spec)](spec, patch=patch, seed=seed)
