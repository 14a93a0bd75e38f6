from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sslbench.errors import UserError
from sslbench.models import build_encoder
from sslbench.models.token_reader import TokenReader
from sslbench.recipes.base import Spec
from sslbench.recipes.specs import NarrowResNet, Timm, ViT

SMALL = ViT(patch=4, width=16, depth=5, heads=2)


def built(spec: Spec) -> nn.Module:
    """Its encoder for 8 pixels, with norms that are seen, and no two tokens alike."""
    torch.manual_seed(0)
    encoder = build_encoder(spec, resolution=8).eval()
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, std=0.5)
    return encoder


def images() -> Tensor:
    return torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("spec", "reading"),
    [
        (SMALL, "class"),
        (SMALL.but(pool="mean"), "mean"),
        (SMALL.but(final_norm=False), "class"),
        (SMALL.but(positions="none", pool="mean"), "mean"),
        (Timm(name="vit_tiny_patch16_224", patch=4), "class"),
        (Timm(name="vit_tiny_patch16_224", patch=4, pool="avg"), "mean"),  # norm behind the pooling
    ],
    ids=str,
)
@torch.no_grad()
def test_the_networks_own_reading_is_its_own_output(spec, reading) -> None:
    encoder = built(spec)
    torch.testing.assert_close(TokenReader(encoder, reading=reading)(images()), encoder(images()))


@torch.no_grad()
def test_the_other_reading_does_not_depend_on_how_the_network_pools() -> None:
    cls, mean = built(SMALL), built(SMALL.but(pool="mean"))
    for reading in ("class", "mean"):
        a, b = (TokenReader(e, reading=reading)(images()) for e in (cls, mean))
        assert torch.equal(a, b)
    assert not torch.allclose(TokenReader(cls, reading="mean")(images()), cls(images()))


@torch.no_grad()
def test_of_several_blocks_each_is_normed_and_the_last_comes_last() -> None:
    encoder = built(SMALL)
    kept: list[Tensor] = []
    for block in encoder.blocks:
        block.register_forward_hook(lambda module, given, out: kept.append(out))
    reader = TokenReader(encoder, reading="class", blocks=4)
    found = reader(images())
    expected = torch.cat([encoder.norm(x)[:, 0] for x in kept[-4:]], dim=1)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found[:, -16:], encoder(images()))
    assert reader.num_features == found.shape[1] == 64


@torch.no_grad()
def test_register_tokens_are_no_patches() -> None:
    encoder = built(Timm(name="vit_small_patch14_reg4_dinov2", patch=4))
    tokens = encoder.forward_features(images())
    assert tokens.shape[1] == 1 + 4 + 4
    torch.testing.assert_close(
        TokenReader(encoder, reading="mean")(images()), tokens[:, 5:].mean(dim=1)
    )


@pytest.mark.parametrize(
    ("spec", "options", "words"),
    [
        (NarrowResNet(width=4, blocks=(1,)), {}, "needs a ViT, and .* is a NarrowResNet"),
        (Timm(name="resnet18"), {}, r"needs a ViT, and .* is a ResNet; .*features"),
        (Timm(name="vit_base_patch16_siglip_224", patch=4), {}, "no class token.*mean-token"),
        (SMALL.but(depth=3), {"blocks": 4}, "last 4 blocks are read, and this ViT has 3"),
    ],
    ids=["narrow", "resnet", "siglip", "shallow"],
)  # fmt: skip
def test_an_encoder_without_such_tokens_is_refused_in_a_sentence(spec, options, words) -> None:
    encoder = build_encoder(spec, resolution=32)
    with pytest.raises(UserError, match=words):
        TokenReader(encoder, **{"reading": "class", **options})
