"""torchvision's detectors around our encoders: levels, anchors, heads, masks."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn
from torchvision.models.detection.roi_heads import paste_masks_in_image, project_masks_on_boxes

from sslbench.errors import UserError
from sslbench.evaluation.detectors import Norm, build_detector, pasted, require_form
from sslbench.evaluation.protocols import PROTOCOLS
from sslbench.models import build_encoder
from sslbench.recipes.specs import NarrowResNet, RawPixels, ResNet, SmallAlexNet, ViT
from sslbench.streams import uniform

PYRAMID, C4, MASKS = (
    dataclasses.replace(PROTOCOLS[name], width=8, hidden=16)
    for name in ("detection.v1", "detection.c4.v1", "instance.v1")
)
NARROW = NarrowResNet(width=4)


def vit(patch, resolution=64):
    spec = ViT(arch="tiny", patch=patch, width=16, depth=4, heads=2, drop_path=0.0)
    return build_encoder(spec, resolution=resolution)


def built(encoder, protocol=PYRAMID, side=64, key=1):
    return build_detector(encoder, protocol, num_classes=3, side=side, key=key)


def targets(count, masks=False):
    target = {"boxes": torch.tensor([[4.0, 8.0, 30.0, 40.0]]), "labels": torch.tensor([2])}
    if masks:
        mask = torch.zeros(1, 64, 64, dtype=torch.uint8)
        mask[:, 8:40, 4:30] = 1
        target["masks"] = mask
    return [target] * count


@pytest.mark.parametrize(
    ("encoder", "sides"),
    [
        (lambda: build_encoder(NARROW, resolution=64), [32, 16, 8]),
        (lambda: build_encoder(NarrowResNet(width=4, blocks=(1, 1, 1, 1)), resolution=64),
         [16, 8, 4]),
        (lambda: build_encoder(NarrowResNet(width=4, blocks=(1, 1)), resolution=64), [32, 16, 8]),
        (lambda: build_encoder(ResNet(arch="resnet18", stem="small"), resolution=64), [32, 16, 8]),
        (lambda: vit(4), [16, 8, 4]),
        (lambda: vit(8), [16, 8, 4]),
        (lambda: vit(16), [16, 8, 4]),
    ],
)  # fmt: skip
def test_a_pyramid_has_three_levels_whatever_the_encoder(encoder, sides):
    detector = built(encoder())
    maps = list(detector.backbone(torch.zeros(2, 3, 64, 64)).values())
    assert [tuple(found.shape) for found in maps] == [(2, 8, side, side) for side in sides]
    sizes = detector.rpn.anchor_generator.sizes
    assert sizes == ((8,), (16,), (32,))
    losses = detector.train()(torch.rand(2, 3, 64, 64), targets(2))
    sum(losses.values()).backward()
    used = {name: p.grad is not None for name, p in detector.backbone.encoder.named_parameters()}
    assert all(used.values()), used


@pytest.mark.parametrize("protocol", [PYRAMID, C4, MASKS])
def test_heads_read_large_boxes_on_coarse_levels_and_all_kinds_run(protocol):
    detector = built(build_encoder(NARROW, resolution=64), protocol)
    images = torch.rand(2, 3, 64, 64)
    losses = detector(images, targets(2, masks=protocol.masks))
    assert all(bool(torch.isfinite(loss)) for loss in losses.values())
    pool = detector.roi_heads.box_roi_pool
    if protocol is not C4:
        boxes = [torch.tensor([[0.0, 0.0, s, s]]) for s in (10.0, 20.0, 31.0, 33.0, 60.0)]
        assert pool.map_levels(boxes).tolist() == [0, 1, 1, 2, 2]
        assert pool.scales == [1 / 2, 1 / 4, 1 / 8]
    with torch.no_grad():
        found = detector.eval()(images)
    for result in found:
        assert len(result["scores"]) <= protocol.detections
        assert ("masks" in result) == protocol.masks
        if protocol.masks:
            assert result["masks"].dtype == torch.bool
            assert result["masks"].shape[1:] == (64, 64)
        assert 0 <= float(result["boxes"].min()) <= float(result["boxes"].max()) <= 64


def test_c4_has_every_stage_once_and_the_last_one_is_the_head():
    encoder = build_encoder(NARROW, resolution=64)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    detector = built(encoder, C4).eval()
    assert detector.backbone(torch.zeros(1, 3, 64, 64)).shape == (1, 8, 16, 16)
    after = detector.state_dict()
    for name, value in before.items():
        place = (
            f"roi_heads.box_head.0.{name.removeprefix('layer3.')}"
            if name.startswith("layer3.")
            else f"backbone.encoder.{name}"
        )
        assert torch.equal(after[place], value), name
    assert isinstance(detector.roi_heads.box_head[1], nn.BatchNorm2d)


def test_heads_are_a_function_of_the_key_and_no_global_draw_moves():
    state = torch.get_rng_state()
    encoder = build_encoder(NARROW, resolution=64)
    torch.set_rng_state(state)
    one, other, same = (built(encoder, key=key).state_dict() for key in (1, 2, 1))
    assert torch.equal(torch.get_rng_state(), state)
    name = "roi_heads.box_predictor.cls_score.weight"
    assert torch.equal(one[name], same[name])
    assert not torch.equal(one[name], other[name])


def test_images_are_neither_enlarged_nor_normalised_again():
    detector = built(build_encoder(NARROW, resolution=64))
    seen = []
    detector.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    images = torch.randn(2, 3, 64, 64)
    detector.eval()(images)
    assert torch.equal(seen[0], images)


def test_masks_are_put_back_where_training_cut_them_out():
    """Ellipses, cut out as torchvision's loss does and pasted, are the ellipses: more so than by
    torchvision's own pasting, which loses 0.06 of intersection over union on objects so small."""
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    draws = uniform(0, torch.arange(40), 4)
    own, theirs = [], []
    for radius, x, y, shape in (draws * torch.tensor([10, 32, 32, 1.0])).tolist():
        height = (rows + 0.5 - y - 16) / (0.6 + shape)
        mask = height**2 + (columns + 0.5 - x - 16) ** 2 < (4 + radius) ** 2
        there = mask.nonzero()
        (top, left), (bottom, right) = there.min(0).values, there.max(0).values + 1
        box = torch.stack([left, top, right, bottom]).float()[None]
        cut = project_masks_on_boxes(mask[None], box, torch.zeros(1, dtype=torch.int64), 14)
        own.append(overlap(pasted(cut[None], box, 64, 64)[0], mask))
        theirs.append(overlap(paste_masks_in_image(cut[None], box, (64, 64))[0, 0] > 0.5, mask))
    assert sum(own) / 40 > 0.97
    assert 0.04 < sum(own) / 40 - sum(theirs) / 40 < 0.08


def overlap(a, b):
    """Intersection over union."""
    return float((a & b).sum() / (a | b).sum())


def test_a_batch_norm_of_nothing_changes_nothing():
    norm = Norm(4)
    assert norm(torch.empty(0, 4, 7, 7)).shape == (0, 4, 7, 7)
    assert torch.equal(norm.running_mean, torch.zeros(4))
    assert int(norm.num_batches_tracked) == 0


def test_encoders_that_do_not_fit_are_refused():
    def refused(sentence, encoder, protocol=PYRAMID, side=64):
        with pytest.raises(UserError, match=sentence):
            require_form(encoder, protocol, side=side)

    refused("takes a ResNet of two stages or more apart, and this is a VisionT", vit(8), C4)
    one = build_encoder(NarrowResNet(width=4, blocks=(1,)), resolution=64)
    refused("takes a ResNet of two stages or more apart", one, C4)
    refused("strides are powers of 2", build_encoder(SmallAlexNet(), resolution=64))
    refused("one cell of 32 pixels", build_encoder(ResNet(arch="resnet18"), resolution=32), side=32)
    refused("32 pixels or more", build_encoder(NARROW, resolution=16), side=16)
    narrow = build_encoder(NARROW, resolution=64)
    refused("strides are powers of 2", narrow, side=36)
    with pytest.raises(UserError, match="gives no feature maps"):
        require_form(nn.Linear(2, 2), PYRAMID, side=64)


def test_the_kinds_refuse_what_a_grid_can_know():
    for protocol, encoder in ((C4, ViT()), (C4, NarrowResNet(blocks=(1,))), (PYRAMID, RawPixels())):
        with pytest.raises(UserError):
            protocol.require_encoder(encoder)
    C4.require_encoder(NARROW)
    PYRAMID.require_encoder(ViT())
