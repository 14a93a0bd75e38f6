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
        self.out_features = num_classes

    def forward(self, views: list[Tensor], labels: Tensor) -> StepOutput:
        """Cross-entropy of the first view. views: list of N×3×H×W; labels: N int64."""
        features = self.encoder(views[0])
        logits = self.classifier(features)
        loss = cross_entropy(self.objective_spec, logits, labels)
        with torch.no_grad():
            accuracy = 100.0 * (logits.argmax(1) == labels).float().mean()
        return StepOutput(loss, features.detach(), {"train_accuracy": accuracy})
