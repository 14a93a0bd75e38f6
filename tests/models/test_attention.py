"""Attention maps against timm's own attention, computed by a loop."""

from __future__ import annotations

import math

import pytest
import torch

from sslbench.errors import UserError
from sslbench.models import build_encoder
from sslbench.models.attention import last_attention
from sslbench.recipes.specs import NarrowResNet, Timm, ViT


@pytest.fixture(scope="module")
def vit() -> torch.nn.Module:
    torch.manual_seed(0)
    return build_encoder(ViT(arch="tiny", patch=8), resolution=32).eval()


def test_maps_are_the_softmax_of_the_class_tokens_query(vit):
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    tokens = []
    block = vit.blocks[-1]
    hook = block.norm1.register_forward_hook(lambda *given: tokens.append(given[2]))
    vit(images)
    hook.remove()
    heads, width = block.attn.num_heads, 64
    maps = last_attention(vit, images)
    assert maps.shape == (2, heads, 4, 4)
    weight, bias, x = (
        t.detach().double() for t in (block.attn.qkv.weight, block.attn.qkv.bias, tokens[0])
    )
    for n in range(2):
        for head in range(heads):
            rows = slice(head * width, (head + 1) * width)
            query = weight[rows] @ x[n, 0] + bias[rows]
            below = slice(192 + head * width, 192 + (head + 1) * width)  # the keys' rows
            scores = [
                math.exp(float(query @ (weight[below] @ token + bias[below])) / math.sqrt(width))
                for token in x[n]
            ]
            expected = [s / sum(scores) for s in scores[1:]]
            assert maps[n, head].flatten().tolist() == pytest.approx(expected, rel=1e-4)


def test_where_the_patches_are_averaged_they_ask_on_average():
    torch.manual_seed(0)
    vit = build_encoder(ViT(arch="tiny", patch=8, pool="mean"), resolution=32).eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    tokens, block = [], vit.blocks[-1]
    hook = block.norm1.register_forward_hook(lambda *given: tokens.append(given[2]))
    vit(images)
    hook.remove()
    maps = last_attention(vit, images)
    assert maps.shape == (2, 3, 4, 4)
    qkv = torch.nn.functional.linear(tokens[0], block.attn.qkv.weight, block.attn.qkv.bias)
    for head in range(3):
        query, key = (qkv[0, :, i * 192 + 64 * head : i * 192 + 64 * head + 64] for i in (0, 1))
        rows = [torch.softmax(key @ query[t] / 8, dim=0)[1:] for t in range(1, 17)]
        expected = torch.stack(rows).mean(dim=0)
        assert torch.allclose(maps[0, head].flatten(), expected, atol=1e-5)


def test_looking_leaves_the_encoder_as_it_was(vit):
    images = torch.randn(1, 3, 32, 32)
    before = vit(images)
    last_attention(vit, images)
    assert torch.equal(vit(images), before)  # no hook is left behind
    assert not vit.blocks[-1].attn._forward_pre_hooks


def test_a_vit_of_timm_by_its_name_has_maps_too():
    encoder = build_encoder(Timm(name="test_vit", patch=8), resolution=32).eval()
    assert last_attention(encoder, torch.randn(2, 3, 32, 32)).shape == (2, 2, 4, 4)


def test_images_of_another_size_have_maps_of_another_size(vit):
    assert last_attention(vit, torch.randn(1, 3, 48, 64)).shape == (1, 3, 6, 8)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (NarrowResNet(), "need a ViT"),
        (Timm(name="test_vit", patch=8, pool="max"), "pools by 'max'"),
        (Timm(name="vit_small_patch16_18x2_224", patch=8), "the last block of this ViT has"),
    ],
    ids=lambda x: type(x).__name__,
)
def test_other_encoders_are_refused_in_a_sentence(spec, words):
    with pytest.raises(UserError, match=words):
        last_attention(build_encoder(spec, resolution=32), torch.randn(1, 3, 32, 32))
