"""What is not trained: an encoder at its start."""

from __future__ import annotations

from sslbench.methods.method import Method
from sslbench.models import build_encoder
from sslbench.recipes.families import FixedRecipe


class Fixed(Method):
    """An encoder alone, which no step touches.

    Args:
        resolution: side of the images, pixels.
    """

    def __init__(
        self,
        recipe: FixedRecipe,
        *,
        resolution: int,
        num_images: int | None = None,
        num_classes: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.encoder = build_encoder(recipe.encoder, resolution=resolution)
