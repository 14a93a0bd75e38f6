"""The interface of what hidden patches are predicted as, and the loss over them."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sslbench import distributed
from sslbench.errors import UserError
from sslbench.recipes.specs import PatchTarget


class PatchTargets(nn.Module):
    """What the patches of images are to be predicted as.

    A kind is built as `TARGETS[type(spec)](spec, patch=…, seed=…)`. It has no parameters: what it
    is fitted to lies in buffers, so that a checkpoint holds it.

    Attributes:
        outputs: numbers that are predicted of a patch; of a class, its logits.
        needs_fit: whether `fit` has to come before the first `forward`.
        fitted: whether it has, a scalar; only where it has to.
    """

    needs_fit: ClassVar[bool] = False
    fitted: Tensor

    def __init__(self, spec: PatchTarget, *, patch: int) -> None:
        super().__init__()
        spec.require_patch(patch)
        self.spec, self.patch, self.outputs = spec, patch, spec.num_outputs(patch)
        if self.needs_fit:
            self.register_buffer("fitted", torch.tensor(False))

    def forward(self, images: Tensor) -> Tensor:
        """The targets of all patches, without gradient.

        Args:
            images: N×3×H×W, normalised; computed in float32 (float64 stays) under autocast too.
        Returns:
            N×L×outputs; of classes N×L int64.
        Raises:
            UserError: the patch does not divide the images.
        """
        raise NotImplementedError

    def fit(self, patches: Tensor) -> None:
        """Fit to patches of training images; the same patches give the same fit. The first process
        does it, and all have what it found.

        Args:
            patches: M×(p p 3) as `patchify` gives them, the same on all processes.
        Raises:
            UserError: they are too few.
        """
        raise NotImplementedError

    def loss(
        self, predicted: Tensor, targets: Tensor, hidden: Tensor, *, loss: Literal["mse", "l1"]
    ) -> Tensor:
        """`reconstruction_loss`; of classes it is the cross-entropy, whatever `loss` says."""
        return reconstruction_loss(
            predicted, targets, hidden, loss="cross_entropy" if self.spec.is_class else loss
        )

    def metrics(self, targets: Tensor, hidden: Tensor) -> dict[str, Tensor]:
        """Scalars to log, of all processes' hidden patches."""
        return {}

    def notes(self) -> dict[str, str]:
        """What its file in a run folder says of what it was fitted to."""
        return {}

    def to_pixels(self, predicted: Tensor, images: Tensor) -> Tensor:
        """Predictions as patches of normalised images, to look at: N×L×outputs to N×L×(p p 3).

        Args:
            predicted: N×L×outputs.
            images: N×3×H×W, normalised: what a prediction leaves open (the mean and the deviation
                of a standardised patch) is taken from them.
        Raises:
            UserError: pixels cannot be made of this kind.
        """
        raise NotImplementedError


def reconstruction_loss(
    predicted: Tensor,
    targets: Tensor,
    hidden: Tensor,
    *,
    loss: Literal["mse", "l1", "cross_entropy"],
) -> Tensor:
    """How far hidden patches are from their targets.

    Args:
        predicted: N×L×D numbers, or logits of D classes; computed in float32 (float64 stays).
        targets: N×L×D, or N×L int64 classes.
        hidden: N×L bool, of equally many patches on each process.
        loss: squared or absolute differences, a mean over a patch's numbers; or cross-entropy, in
            nats.
    Returns:
        Scalar, a mean over this process's hidden patches; visible ones count for nothing.
    Raises:
        UserError: shapes that do not fit.
    Source: He et al. 2021 (MAE), Sec. 3; Xie et al. 2021 (SimMIM), Sec. 3.4; Bao et al. 2021
        (BEiT), Eq. 3.
    """
    of_targets = predicted.shape[:2] if loss == "cross_entropy" else predicted.shape
    if targets.shape != of_targets or hidden.shape != predicted.shape[:2]:
        raise UserError(
            f"{loss} needs targets of {tuple(of_targets)} and a mask of "
            f"{tuple(predicted.shape[:2])}, got {tuple(targets.shape)} and {tuple(hidden.shape)}."
        )
    predicted = full_precision(predicted)
    with torch.autocast(predicted.device.type, enabled=False):
        if loss == "cross_entropy":
            each = F.cross_entropy(predicted.flatten(0, 1), targets.flatten(), reduction="none")
        else:
            difference = predicted - targets
            each = (difference.square() if loss == "mse" else difference.abs()).mean(dim=2)
        each = torch.where(hidden, each.view_as(hidden), 0.0)
        return each.sum() / hidden.sum()


def full_precision(x: Tensor) -> Tensor:
    """float32, of bf16 under autocast; float64 stays."""
    return x if x.dtype == torch.float64 else x.float()


def finish_fit(targets: PatchTargets) -> None:
    """Give all processes what the first has found."""
    for buffer in targets.buffers():
        distributed.broadcast(buffer)
    targets.fitted.fill_(True)
