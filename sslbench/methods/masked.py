"""Masked image modelling: patches are hidden, encoded with or without their places, and predicted.

MAE, BEiT, SimMIM and MaskFeat are settings of this one forward. It reads the recipe's fields and
never its name, so that every combination of them runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from sslbench import distributed, streams
from sslbench.batch import Batch
from sslbench.errors import UserError
from sslbench.methods.method import Method, StepOutput, places
from sslbench.models import build_encoder
from sslbench.models.decoder import build_decoder
from sslbench.models.heads import width
from sslbench.models.tokens import all_tokens, read, visible_tokens
from sslbench.objectives.reconstruction import build_target, patchify
from sslbench.recipes.families import MaskedRecipe
from sslbench.views.masks import hidden_patches


class MaskedModelling(Method):
    """A ViT, what predicts the hidden patches of its tokens, and what they are predicted as.

    Args:
        recipe: what is trained; its optimiser and schedule are not read here.
        resolution: side of the images, pixels.
        seed: of what is fitted on patches before the first epoch.
    Raises:
        UserError: the mask leaves no patch visible or none hidden, or does not fit the view.
    """

    def __init__(
        self,
        recipe: MaskedRecipe,
        *,
        resolution: int,
        num_images: int | None = None,
        num_classes: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        recipe.require_fit(resolution)
        self.mask, self.objective, self.patch = recipe.mask, recipe.objective, recipe.encoder.patch
        self.size, self.num_images = recipe.view_size(resolution), num_images
        self.num_visible = recipe.mask.num_visible(self.size, patch=self.patch)
        self.encoder = build_encoder(recipe.encoder, resolution=resolution)
        self.target = build_target(recipe.objective.target, patch=self.patch, seed=seed)
        self.decoder = build_decoder(
            recipe.decoder,
            width=width(self.encoder, "num_features"),
            side=self.size // self.patch,
            outputs=self.target.outputs,
            in_encoder=recipe.mask.in_encoder,
        )

    def before_epoch(self, epoch: int, batches: Callable[[], Iterator[Batch]]) -> None:
        """Fit the target to patches, once in a run; a resumed one has it in its checkpoint."""
        if self.target.needs_fit and not bool(self.target.fitted):
            self.target.fit(self._sample(batches))

    def forward(self, batch: Batch) -> StepOutput:
        """The loss of the hidden patches of one view, a mean over them."""
        (view,) = batch.views
        images = view.images
        hidden = self._hidden(len(images), batch.clock.key, images.device)
        tokens = self._encoded(images, hidden, self.num_visible)
        targets = self.target(images)
        predicted = self.decoder(tokens, hidden)
        loss = self.target.loss(predicted, targets, hidden, loss=self.objective.loss)
        share = 100.0 * hidden.float().mean()
        metrics = {"hidden_share": share, **self.target.metrics(targets, hidden)}
        return StepOutput(loss, read(tokens, "mean").detach(), metrics)

    @torch.no_grad()
    def reconstruct(self, images: Tensor, hidden: Tensor) -> Tensor:
        """What is predicted of every patch.

        Args:
            images: N×3×H×W, normalised, of the size that was trained on.
            hidden: N×L bool, equally many in each image.
        Returns:
            N×L×outputs, in the form of the targets; logits of a codebook's entries.
        Raises:
            UserError: masks of different size.
        """
        visible = (~hidden).sum(dim=1).unique().tolist()
        if len(visible) > 1:
            raise UserError("Every image must have equally many hidden patches.")
        return self.decoder(self._encoded(images, hidden, visible[0]), hidden)

    def exported(self) -> dict[str, nn.Module]:
        """The decoder has the mask token, and the target what it was fitted to, if anything."""
        fitted = {"target": self.target} if self.target.needs_fit else {}
        return {"encoder": self.encoder, "decoder": self.decoder, **fitted}

    def _hidden(self, count: int, key: int | Tensor, device: torch.device) -> Tensor:
        """N×L bool of this process's images."""
        return hidden_patches(
            self.mask,
            side=self.size // self.patch,
            patch=self.patch,
            key=key,
            samples=places(count, device),
        )

    def _encoded(self, images: Tensor, hidden: Tensor, num_visible: int) -> Tensor:
        """N×(1 + T)×D: the class token, and those of all patches or of the visible ones."""
        if self.mask.in_encoder:
            token = self.decoder.mask_token
            return all_tokens(self.encoder, images, hidden=hidden, mask_token=token)
        return visible_tokens(self.encoder, images, hidden=hidden, num_visible=num_visible)

    def _sample(self, batches: Callable[[], Iterator[Batch]]) -> Tensor:
        """At most `patches` of the training set's M×(3 patch²), equally many of each image, of
        all processes in the order of one."""
        spec: Any = self.objective.target
        found: list[Tensor] = []
        for batch in batches():
            patches = patchify(batch.views[0].images, self.patch)  # n×L×(3 patch²)
            n, count, numbers = patches.shape
            each = min(count, math.ceil(spec.patches / (self.num_images or 1)))
            noise = streams.uniform(batch.clock.key, places(n, patches.device), count)
            chosen = noise.argsort(dim=1, stable=True)[:, :each, None].expand(-1, -1, numbers)
            found.append(distributed.gather(patches.gather(1, chosen)).flatten(0, 1))
            if len(found) * len(found[0]) >= spec.patches:
                break
        return torch.cat(found)[: spec.patches]
