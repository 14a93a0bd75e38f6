"""Tokens of a ViT: all are timm's, visible ones see nothing else, hidden ones are a mask token."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from sslbench.models.tokens import all_tokens, block_tokens, read, visible_places, visible_tokens
from sslbench.models.vit import build_vit
from sslbench.recipes.specs import ViT

POSITIONS = ["learned", "sincos", "none"]


def network(**changes):
    torch.manual_seed(0)
    spec = ViT(arch="tiny", patch=4, width=16, depth=3, heads=2).but(changes)
    return build_vit(spec, 16).double().eval()


def pictures(side: int = 16, *, count: int = 5):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, side, side, generator=generator, dtype=torch.float64)


def masks(count: int = 5, patches: int = 16, hide: int = 11):
    noise = torch.rand(count, patches, generator=torch.Generator().manual_seed(2))
    return noise.argsort(dim=1).argsort(dim=1) < hide  # N×L


def with_other_pixels(images, hidden, patch: int = 4):
    """The images with noise in the hidden patches."""
    side = images.shape[-1] // patch
    there = hidden.view(-1, 1, side, side).repeat_interleave(patch, 2).repeat_interleave(patch, 3)
    return torch.where(there, torch.randn_like(images), images), there


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("pool", ["cls", "mean"])
@pytest.mark.parametrize("final_norm", [True, False])
@pytest.mark.parametrize("side", [16, 24])
def test_without_a_mask_they_are_the_networks_own(positions, pool, final_norm, side):
    vit, images = network(positions=positions, pool=pool, final_norm=final_norm), pictures(side)
    tokens = all_tokens(vit, images)
    assert torch.equal(tokens, vit.forward_features(images))
    assert_close(read(tokens, "class" if pool == "cls" else "mean"), vit(images))
    everywhere = torch.zeros(5, (side // 4) ** 2, dtype=torch.bool)
    assert_close(
        visible_tokens(vit, images, hidden=everywhere, num_visible=(side // 4) ** 2), tokens
    )


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("side", [16, 24])
def test_visible_tokens_are_those_of_a_sequence_gathered_by_hand(positions, side):
    vit, images = network(positions=positions), pictures(side)
    count = (side // 4) ** 2
    hidden = masks(patches=count, hide=count - 5)
    found = visible_tokens(vit, images, hidden=hidden, num_visible=5)
    embedded = vit._pos_embed(vit.patch_embed(images))
    for image in range(5):
        kept = [0] + [1 + p for p in range(count) if not hidden[image, p]]
        sequence = embedded[image : image + 1, kept]
        for block in vit.blocks:
            sequence = block(sequence)
        assert_close(found[image], vit.norm(sequence)[0])


def test_places_of_visible_patches_are_in_order():
    hidden = masks()
    for row, places in zip(hidden, visible_places(hidden, 5), strict=True):
        assert places.tolist() == [p for p in range(16) if not row[p]]


def test_a_visible_token_depends_on_no_hidden_pixel_and_gives_it_no_gradient():
    vit, images, hidden = network(), pictures().requires_grad_(), masks()
    other, there = with_other_pixels(images.detach(), hidden)
    tokens = visible_tokens(vit, images, hidden=hidden, num_visible=5)
    assert torch.equal(tokens, visible_tokens(vit, other, hidden=hidden, num_visible=5))
    tokens.square().sum().backward()
    touched = there.expand_as(images)
    assert (images.grad[touched] == 0).all() and (images.grad[~touched] != 0).all()


@pytest.mark.parametrize("positions", POSITIONS)
def test_a_mask_token_stands_in_each_hidden_patchs_place_before_positions_are_added(positions):
    vit, images, hidden = network(positions=positions), pictures(), masks()
    token = torch.randn(1, 1, 16, dtype=torch.float64, requires_grad=True)
    found = all_tokens(vit, images, hidden=hidden, mask_token=token)
    assert found.shape == (5, 17, 16)
    embedded = vit.patch_embed(images).flatten(1, 2).clone()
    embedded[hidden] = token.detach()[0, 0]
    sequence = torch.cat([vit.cls_token.expand(5, -1, -1), embedded], dim=1)
    if vit.pos_embed is not None:
        sequence = sequence + vit.pos_embed
    assert_close(found, vit.norm(vit.blocks(sequence)))
    found.square().sum().backward()
    assert (token.grad != 0).all()


def test_a_mask_token_keeps_the_pixels_behind_it_out():
    vit, images, hidden = network(), pictures().requires_grad_(), masks()
    token = torch.zeros(1, 1, 16, dtype=torch.float64)
    other, there = with_other_pixels(images.detach(), hidden)
    tokens = all_tokens(vit, images, hidden=hidden, mask_token=token)
    assert torch.equal(tokens, all_tokens(vit, other, hidden=hidden, mask_token=token))
    tokens.square().sum().backward()
    assert (images.grad[there.expand_as(images)] == 0).all()


@pytest.mark.parametrize("last", [1, 2, 3])
def test_the_last_blocks_are_timms_intermediate_layers(last):
    vit, images = network(), pictures()
    found = block_tokens(vit, images, last=last)
    plain = vit.get_intermediate_layers(images, n=last, return_prefix_tokens=True, norm=True)
    assert len(found) == last
    for tokens, (patches, prefix) in zip(found, plain, strict=True):
        assert_close(tokens, torch.cat([prefix, patches], dim=1))
    assert torch.equal(found[-1], vit.forward_features(images))


def test_drop_path_drops_the_same_paths_as_in_the_network():
    vit, images = network(drop_path=0.5).train(), pictures()
    torch.manual_seed(3)
    own = all_tokens(vit, images)
    torch.manual_seed(3)
    assert torch.equal(own, vit.forward_features(images))
    assert not torch.equal(all_tokens(vit, images), own)


def test_a_reader_takes_the_class_token_or_the_patches_alone():
    tokens = torch.arange(24.0).view(2, 4, 3)
    assert read(tokens, "class").tolist() == [[0, 1, 2], [12, 13, 14]]
    assert read(tokens, "mean").tolist() == [[6, 7, 8], [18, 19, 20]]
    assert read(tokens, "mean", num_prefix=0).tolist() == [[4.5, 5.5, 6.5], [16.5, 17.5, 18.5]]
