"""Feature maps: of every encoder that has them, consistent with what the encoder returns."""

from __future__ import annotations

import pytest
import torch

from sslbench.errors import UserError
from sslbench.models import build_encoder
from sslbench.models.maps import feature_maps, last_map, map_and_vector, map_shapes
from sslbench.recipes.specs import (
    ColorHistogram,
    EncoderSpec,
    NarrowResNet,
    RawPixels,
    ResNet,
    SmallAlexNet,
    Timm,
    ViT,
)

SIDE = 32
IMAGES = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
NARROW = NarrowResNet(width=8, blocks=(1, 1, 1), stem_stride=2)
SMALL_VIT = ViT(arch="tiny", patch=8, width=16, depth=6, heads=2)


@pytest.mark.parametrize(
    ("spec", "shapes"),
    [
        (NARROW, [(8, 2.0), (16, 4.0), (32, 8.0)]),
        (ResNet(arch="resnet18", stem="small"), [(64, 1.0), (128, 2.0), (256, 4.0), (512, 8.0)]),
        (ResNet(arch="resnet18"), [(64, 4.0), (128, 8.0), (256, 16.0), (512, 32.0)]),
        (SMALL_VIT, [(16, 8.0)] * 4),
        (SMALL_VIT.but(depth=3), [(16, 8.0)] * 3),
        (RawPixels(), [(3, 1.0)]),
        (Timm(name="mobilenetv3_small_050"), None),
    ],
)
def test_shapes_are_those_of_the_maps(
    spec: EncoderSpec, shapes: list[tuple[int, float]] | None
) -> None:
    encoder = build_encoder(spec, resolution=SIDE).eval()
    found = map_shapes(encoder, resolution=SIDE)
    maps = feature_maps(encoder, IMAGES)
    assert [(m.shape[1], SIDE / m.shape[2]) for m in maps] == [tuple(shape) for shape in found]
    if shapes is not None:
        assert [tuple(shape) for shape in found] == shapes
    torch.testing.assert_close(last_map(encoder, IMAGES), maps[-1])


@pytest.mark.parametrize(
    "spec",
    [
        NARROW, ResNet(arch="resnet18"), SMALL_VIT, SMALL_VIT.but(pool="mean"),
        SMALL_VIT.but(final_norm=False),
    ],
)  # fmt: skip
def test_the_vector_beside_the_map_is_what_the_encoder_returns(spec: EncoderSpec) -> None:
    encoder = build_encoder(spec, resolution=SIDE).eval()
    found, vector = map_and_vector(encoder, IMAGES)
    torch.testing.assert_close(vector, encoder(IMAGES))
    torch.testing.assert_close(found, last_map(encoder, IMAGES))


def test_a_cell_of_a_vit_lies_where_its_patch_does() -> None:
    encoder = build_encoder(SMALL_VIT, resolution=SIDE).eval()
    changed = IMAGES.clone()
    changed[:, :, 8:16, 16:24] += 1.0  # row 1, column 2
    gap = (feature_maps(encoder, changed)[0] - feature_maps(encoder, IMAGES)[0]).abs().sum(1)
    assert gap.flatten(1).argmax(1).tolist() == [1 * 4 + 2] * 2


def test_maps_carry_gradients_and_asking_for_shapes_changes_nothing() -> None:
    encoder = build_encoder(NARROW, resolution=SIDE).train()
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    map_shapes(encoder, resolution=SIDE)
    assert encoder.training
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())
    last_map(encoder, IMAGES).sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())


def test_an_encoder_without_maps_is_refused_in_a_sentence() -> None:
    with pytest.raises(UserError, match="no feature maps"):
        feature_maps(build_encoder(ColorHistogram(), resolution=SIDE), IMAGES)
    alexnet = build_encoder(SmallAlexNet(), resolution=SIDE).eval()
    assert [m.shape[1] for m in feature_maps(alexnet, IMAGES)] == [96, 192, 384, 384, 192]
    with pytest.raises(UserError, match="does not pool"):
        map_and_vector(alexnet, IMAGES)
