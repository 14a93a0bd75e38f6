"""Decoders: every patch has its place again, and starts as MAE's do."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from sslbench.models.decoder import LinearDecoder, TransformerDecoder, build_decoder
from sslbench.models.vit import sincos_positions
from sslbench.recipes.specs import Decoder

SPEC = Decoder(width=16, depth=2, heads=2)


def decoder(spec: Decoder | None = SPEC, *, in_encoder: bool = False):
    torch.manual_seed(0)
    return build_decoder(spec, width=12, side=3, outputs=7, in_encoder=in_encoder).double()


def tokens(count: int):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(4, 1 + count, 12, generator=generator, dtype=torch.float64)


def masks():
    noise = torch.rand(4, 9, generator=torch.Generator().manual_seed(2))
    return noise.argsort(dim=1).argsort(dim=1) < 5


def test_visible_tokens_return_to_their_places_among_mask_tokens():
    model, hidden, given = decoder(), masks(), tokens(4)
    narrow = model.embed(given)
    for image, found in enumerate(model._unshuffled(narrow, hidden)):
        assert_close(found[0], narrow[image, 0])
        seen = iter(narrow[image, 1:])
        for patch in range(9):
            there = model.mask_token[0, 0] if hidden[image, patch] else next(seen)
            assert torch.equal(found[1 + patch], there)


def test_the_tokens_of_all_patches_are_not_replaced_where_the_encoder_has_the_mask_tokens():
    model, hidden = decoder(in_encoder=True), masks()
    assert model.mask_token.shape == (1, 1, 12)
    assert torch.equal(model(tokens(9), hidden), model(tokens(9), ~hidden))
    assert decoder().mask_token.shape == (1, 1, 16)


def test_a_prediction_is_of_every_patch_and_reads_the_whole_image():
    model, hidden = decoder(), masks()
    given = tokens(4).requires_grad_()
    found = model(given, hidden)
    assert found.shape == (4, 9, 7)
    found[0, 3].sum().backward()
    assert (given.grad[0] != 0).all()  # the class token too, whose own output is dropped
    assert (given.grad[1:] == 0).all()


def test_positions_are_fixed_and_zero_for_the_class_token_and_no_file_holds_them():
    model = decoder()
    assert_close(model.positions, sincos_positions(3, 16).double())
    assert (model.positions[:, 0] == 0).all()
    assert "positions" not in dict(model.named_parameters()).keys() | model.state_dict().keys()


@pytest.mark.parametrize("spec", [SPEC, None])
def test_linear_layers_start_from_xaviers_distribution_with_biases_of_zero(spec):
    model = decoder(spec, in_encoder=True)
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            limit = (6 / sum(module.weight.shape)) ** 0.5
            assert 0.8 * limit < module.weight.abs().max() <= limit
            assert (module.bias == 0).all()
        if isinstance(module, torch.nn.LayerNorm):
            assert module.eps == 1e-6
            assert (module.weight == 1).all() and (module.bias == 0).all()


@pytest.mark.parametrize("spec", [Decoder(width=512, depth=1, heads=16), None])
def test_a_mask_token_is_normal_of_std_002(spec):
    torch.manual_seed(0)
    model = build_decoder(spec, width=1024, side=2, outputs=3, in_encoder=spec is None)
    assert float(model.mask_token.detach().std()) == pytest.approx(0.02, rel=0.15)


def test_without_a_decoder_one_linear_layer_reads_each_patchs_token_alone():
    model, given = decoder(None, in_encoder=True), tokens(9)
    assert isinstance(model, LinearDecoder)
    found = model(given, masks())
    assert_close(found, given[:, 1:] @ model.predict.weight.T)
    assert {n for n, _ in model.named_parameters()} == {
        "mask_token", "predict.weight", "predict.bias"
    }  # fmt: skip


def test_depth_and_width_are_the_specs():
    model = decoder(Decoder(width=8, depth=3, heads=4))
    assert isinstance(model, TransformerDecoder)
    assert len(model.blocks) == 3 and model.predict.in_features == 8
    assert [block.attn.num_heads for block in model.blocks] == [4, 4, 4]
