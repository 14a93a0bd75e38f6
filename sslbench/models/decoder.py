"""What predicts patches of an encoder's tokens: transformer blocks, or one linear layer.

Either has a `mask_token`, which stands in a hidden patch's place: 1×1×D of the encoder's width
where that is in the encoder, and otherwise of the decoder's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sslbench.models.tokens import visible_places
from sslbench.models.vit import init_xavier, sincos_positions
from sslbench.recipes.specs import Decoder


class TransformerDecoder(nn.Module):
    """Blocks of their own width over the tokens of all patches, positions added.

    The class token goes through them with a position of zero, and its output is dropped.

    Args:
        spec: width, depth and heads.
        width: D of the encoder's tokens.
        side: L^(1/2), patches a side.
        outputs: numbers to predict of a patch.
        in_encoder: the encoder has the mask tokens, and hands on the tokens of all patches.
    Source: He et al. 2021 (MAE), Sec. 3, "MAE decoder", and App. A.1.
    """

    positions: Tensor

    def __init__(
        self, spec: Decoder, *, width: int, side: int, outputs: int, in_encoder: bool
    ) -> None:
        from timm.models.vision_transformer import Block  # slow to import

        super().__init__()
        self.in_encoder, self.num_patches = in_encoder, side**2
        self.embed = nn.Linear(width, spec.width)
        self.mask_token = _mask_token(width if in_encoder else spec.width)
        # Fixed, so that files need not hold them.
        self.register_buffer("positions", sincos_positions(side, spec.width), persistent=False)
        blocks = [Block(spec.width, spec.heads, qkv_bias=True) for _ in range(spec.depth)]
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(spec.width, eps=1e-6)
        self.predict = nn.Linear(spec.width, outputs)
        init_xavier(self)

    def forward(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """Tokens N×(1 + T)×D, hidden patches N×L bool, to N×L×outputs.

        The T patches are all, or the visible ones in their order in the image.
        """
        tokens = self.embed(tokens)
        if not self.in_encoder:
            tokens = self._unshuffled(tokens, hidden)
        tokens = self.norm(self.blocks(tokens + self.positions))
        predicted: Tensor = self.predict(tokens[:, 1:])
        return predicted

    def _unshuffled(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """N×(1 + L)×W: each visible patch at its place, mask tokens at the others."""
        patches = tokens[:, 1:]
        n, visible, width = patches.shape
        places = visible_places(hidden, visible)[:, :, None].expand(-1, -1, width)
        full = self.mask_token.to(tokens.dtype).expand(n, self.num_patches, width)
        return torch.cat([tokens[:, :1], full.scatter(1, places, patches)], dim=1)


class LinearDecoder(nn.Module):
    """One linear layer on each patch's token of an encoder that has the mask tokens.

    Source: Bao et al. 2021 (BEiT), Sec. 2.3; Xie et al. 2021 (SimMIM), Sec. 3.3.
    """

    def __init__(self, *, width: int, outputs: int) -> None:
        super().__init__()
        self.mask_token = _mask_token(width)
        self.predict = nn.Linear(width, outputs)
        init_xavier(self)

    def forward(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """Tokens N×(1 + L)×D, those of hidden patches among them, to N×L×outputs."""
        predicted: Tensor = self.predict(tokens[:, 1:])
        return predicted


def build_decoder(
    spec: Decoder | None, *, width: int, side: int, outputs: int, in_encoder: bool
) -> TransformerDecoder | LinearDecoder:
    """The decoder of a spec, None being one linear layer; initialised from the global generator."""
    if spec is None:
        assert in_encoder  # MaskedRecipe.validate
        return LinearDecoder(width=width, outputs=outputs)
    return TransformerDecoder(spec, width=width, side=side, outputs=outputs, in_encoder=in_encoder)


def _mask_token(width: int) -> nn.Parameter:
    """He et al. 2021 (MAE), the authors' code: normal, of std 0.02."""
    return nn.Parameter(0.02 * torch.randn(1, 1, width))
