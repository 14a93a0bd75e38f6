"""A ViT read in another way than it pools its tokens itself, as probes of tokens do."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from sslbench.errors import UserError
from sslbench.models.tokens import block_tokens, read

Reading = Literal["class", "mean"]


class TokenReader(nn.Module):
    """A ViT whose output is read from its tokens, however it pools them itself.

    The final norm is applied as the network has it, to the tokens or behind the pooling, so that
    of one block the reading that the network itself has gives its own output. Of several blocks
    the final norm is applied to each.

    Args:
        encoder: a timm VisionTransformer.
        reading: the class token, or the mean of the patches.
        blocks: of so many last blocks, one behind the other.
    Raises:
        UserError: another network, one without class token where that is read, or fewer blocks.
    Source: Caron et al. 2021 (DINO), arXiv:2104.14294, App. F.2, for several blocks.
    """

    def __init__(self, encoder: nn.Module, *, reading: Reading, blocks: int = 1) -> None:
        super().__init__()
        self.vit = _checked(encoder, reading, blocks)
        self.reading, self.blocks = reading, blocks
        self.num_features = blocks * self.vit.num_features

    def forward(self, images: Tensor) -> Tensor:
        """N×3×H×W normalised images to N×(blocks D)."""
        last = block_tokens(self.vit, images, last=self.blocks)  # N×(P + L)×D of each
        rows = [read(x, self.reading, num_prefix=self.vit.num_prefix_tokens) for x in last]
        return torch.cat([self.vit.fc_norm(row) for row in rows], dim=1)


def _checked(encoder: nn.Module, reading: Reading, blocks: int) -> Any:
    from timm.models.vision_transformer import VisionTransformer  # slow to import

    if not isinstance(encoder, VisionTransformer):
        raise UserError(
            f"A probe of tokens needs a ViT, and this encoder is a {type(encoder).__name__}; use "
            "linear.features.v1, or a run whose encoder is one."
        )
    if encoder.cls_token is None and reading == "class":
        raise UserError(
            "This ViT has no class token to read; use linear.mean-token.v1, of its patches."
        )
    if len(encoder.blocks) < blocks:
        raise UserError(
            f"The last {blocks} blocks are read, and this ViT has {len(encoder.blocks)}; use a "
            "probe of its last one, linear.class-token.v1."
        )
    return encoder
