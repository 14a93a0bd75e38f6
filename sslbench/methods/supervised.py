"""Supervised training: the reference that the lecture's tables carry as "Supervised"."""

from __future__ import annotations

import torch
from torch import nn

from sslbench.batch import Batch
from sslbench.methods.method import Method, StepOutput
from sslbench.models import build_encoder, convert_batch_norm
from sslbench.models.heads import width
from sslbench.objectives.cross_entropy import cross_entropy
from sslbench.recipes.families import SupervisedRecipe


class Supervised(Method):
    """Encoder and a linear classifier.

    Args:
        resolution: side of the images, pixels.
        num_classes: outputs of the classifier.
    """

    def __init__(
        self,
        recipe: SupervisedRecipe,
        *,
        resolution: int,
        num_images: int | None = None,
        num_classes: int,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.spec = recipe.objective
        encoder = build_encoder(recipe.encoder, resolution=resolution)
        self.encoder = convert_batch_norm(encoder, recipe.batch_norm)
        self.classifier = nn.Linear(width(encoder, "num_features"), num_classes)

    def forward(self, batch: Batch) -> StepOutput:
        """Cross-entropy, a mean over views; those of one size are one forward."""
        assert batch.labels is not None
        views = [view.images for view in batch.views]  # N×3×h×w each
        sizes = dict.fromkeys(view.shape for view in views)
        features = torch.cat(
            [self.encoder(torch.cat([v for v in views if v.shape == size])) for size in sizes]
        )  # (V N)×F
        logits = self.classifier(features)  # (V N)×classes
        labels = batch.labels.repeat(len(views))
        loss = cross_entropy(self.spec, logits, labels)
        with torch.no_grad():
            accuracy = 100.0 * (logits.argmax(1) == labels).float().mean()
        first = features[: len(batch.labels)].detach()
        return StepOutput(loss, first, {"train_accuracy": accuracy})
