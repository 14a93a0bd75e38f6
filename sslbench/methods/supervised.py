"""Supervised training: the reference that the lecture's tables carry as "Supervised"."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sslbench.methods.output import StepOutput, width
from sslbench.models import build_encoder, convert_batch_norm
from sslbench.objectives.cross_entropy import cross_entropy
from sslbench.recipes.recipe import Recipe
from sslbench.recipes.specs import CrossEntropy


class Supervised(nn.Module):
    """Encoder and a linear classifier.

    Args:
        recipe: its objective is CrossEntropy.
        resolution: side of the images, pixels.
        num_classes: outputs of the classifier.
    """

    def __init__(self, recipe: Recipe, *, resolution: int, num_classes: int) -> None:
        super().__init__()
        assert isinstance(recipe.objective, CrossEntropy)
        self.objective_spec = recipe.objective
        encoder = build_encoder(recipe.encoder, resolution=resolution)
        self.encoder = convert_batch_norm(encoder, recipe.batch_norm)
        self.classifier = nn.Linear(width(encoder, "num_features"), num_classes)

    @property
    def evaluated(self) -> tuple[nn.Module, nn.Module]:
        """The encoder, which is what a run exports, and no projector."""
        return self.encoder, nn.Identity()

    def forward(self, views: list[Tensor], labels: Tensor) -> StepOutput:
        """Cross-entropy, a mean over views. views: V tensors N×3×h×w, those of one size in one
        forward; labels: N int64."""
        sizes = dict.fromkeys(view.shape for view in views)
        features = torch.cat(
            [self.encoder(torch.cat([v for v in views if v.shape == size])) for size in sizes]
        )
        logits = self.classifier(features)
        every = labels.repeat(len(views))
        loss = cross_entropy(self.objective_spec, logits, every)
        with torch.no_grad():
            accuracy = 100.0 * (logits.argmax(1) == every).float().mean()
        return StepOutput(loss, features[: len(labels)].detach(), {"train_accuracy": accuracy})
