"""Masked image modelling: what is hidden of one view, and who fills it in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from sslbench.recipes.recipe import Recipe
from sslbench.recipes.specs import Decoder, Mask, Reconstruction, ViT


@dataclass(frozen=True, kw_only=True)
class MaskedRecipe(Recipe):
    """Some patches of an image are hidden, and predicted from the others. MAE, BEiT, SimMIM and
    MaskFeat differ in these fields, and in nothing else.

    `decoder=None` is one linear layer on the encoder's tokens, which then must have the hidden
    ones among them (`mask.in_encoder`). Nothing pulls the embeddings together here, so their rank
    is not judged. Nor does anything push them apart: they keep a large part in common, and a small
    std is no collapse yet.
    """

    rank_matters: ClassVar[bool] = False
    least_std: ClassVar[float] = 0.001  # MaskFeat's may lie below 0.1, and its features be good

    encoder: ViT = ViT()
    mask: Mask = Mask()
    decoder: Decoder | None = Decoder()
    objective: Reconstruction = Reconstruction()

    def validate(self) -> None:
        super().validate()
        self.require(
            self.views.num_global == 1 and self.views.num_local == 0,
            "one view is masked; set views.num_global=1 and views.num_local=0.",
        )
        self.require(
            self.decoder is not None or self.mask.in_encoder,
            "without a decoder the encoder has to hold a token of each hidden patch; set "
            "mask.in_encoder=true, or a decoder.",
        )
        if self.decoder is not None:
            self.decoder.require_shape()
        unit, patch = self.mask.unit, self.encoder.patch
        self.require(
            unit is None or unit % patch == 0,
            f"mask.unit of {unit} pixels is not a multiple of the patch of {patch}; set "
            f"mask.unit={(unit or patch) // patch * patch or patch}.",
        )
        self.objective.require_loss()
        self.objective.target.require_patch(patch)

    def view_size(self, resolution: int) -> int:
        """Side in pixels of the view that is masked."""
        return self.views.first.size or resolution

    def require_fit(self, resolution: int) -> None:
        super().require_fit(resolution)
        self.mask.require_fit(self.view_size(resolution), patch=self.encoder.patch)

    def num_head_parameters(self) -> int:
        width = self.encoder.out_width()
        outputs = self.objective.target.num_outputs(self.encoder.patch)
        if self.decoder is None:
            return width * outputs
        own = self.decoder.width
        return own * (width + outputs) + 12 * self.decoder.depth * own**2

    def cause(self, *, complete: bool) -> str:
        if complete:
            return (
                "The encoder says the same of every image: it predicts the mean patch. The "
                "learning rate may be too high, or the warm-up too short."
            )
        return super().cause(complete=complete)
