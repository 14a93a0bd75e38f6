"""torchvision's Faster and Mask R-CNN around an encoder, for images of one small size.

What torchvision fixes for photographs of 800 pixels is set here: images keep their size, lengths
are shares of it, heads are small, batch norms are trained.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.resnet import ResNet
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from sslbench.errors import UserError
from sslbench.evaluation.detection_kinds import Detection
from sslbench.models.encoders import NarrowResNetEncoder
from sslbench.models.maps import MapShape, feature_maps, map_shapes
from sslbench.streams import seed_generator

LEVELS = 3  # of a pyramid
LEAST_SIDE = 32  # an eighth of it, the smallest anchor, is 4 pixels
_FINEST = 16  # cells along a side that the finest level made of a ViT has at least
_ROI = {"pyramid": 7, "c4": 8}  # cells along a side that are cut out of a map for a box
_ROI_MASK = 7  # twice as many has a mask
Target = dict[str, Tensor]


def build_detector(
    encoder: nn.Module, protocol: Detection, *, num_classes: int, side: int, key: int
) -> nn.Module:
    """torchvision's detector, which in training mode gives its losses, in evaluation mode what it
    finds; images are N×3×H×W, normalised.

    Args:
        encoder: becomes a part of it.
        num_classes: without the background, which is label 0 inside.
        side: of the images, pixels.
        key: of what is new; from `streams.stream_key`. The global generator stays as it was.
    Raises:
        UserError: an encoder that has no maps, or none that this form can use.
    """
    require_form(encoder, protocol, side=side)
    with torch.random.fork_rng(devices=[]):
        seed_generator(key)
        return _built(encoder, protocol, num_classes + 1, side)


def require_form(encoder: nn.Module, protocol: Detection, *, side: int) -> None:
    """Raise UserError for an encoder that cannot take this form, or images too small for it."""
    name = protocol.name
    if side < LEAST_SIDE:
        raise UserError(
            f"{name} needs images of {LEAST_SIDE} pixels or more, and these have {side}; use a "
            "larger resolution."
        )
    shapes = map_shapes(encoder, resolution=side)
    if protocol.form == "c4" and num_stages(encoder) < 2:
        raise UserError(
            f"{name} takes a ResNet of two stages or more apart, and this is a "
            f"{type(encoder).__name__}; use detection.v1, which takes a ViT too."
        )
    if side / shapes[-1].stride < 2:
        raise UserError(
            f"{name} needs a last map of 2×2 cells or more, and that of this "
            f"{type(encoder).__name__} is one cell of {side} pixels; use larger images, or a "
            "smaller stem."
        )
    strides = [shape.stride for shape in shapes]
    if not all(math.log2(stride).is_integer() for stride in strides):
        given = ", ".join(f"{stride:g}" for stride in strides)
        raise UserError(
            f"{name} needs maps whose strides are powers of 2, and those of this "
            f"{type(encoder).__name__} on {side} pixels are {given}; use a ResNet or a ViT, and a "
            "side that its strides divide."
        )


def num_stages(encoder: nn.Module) -> int:
    """Of a ResNet; 0 of any other encoder."""
    if isinstance(encoder, NarrowResNetEncoder):
        return encoder.num_stages
    return 4 if isinstance(encoder, ResNet) else 0


def _built(encoder: nn.Module, protocol: Detection, classes: int, side: int) -> nn.Module:
    sizes = tuple(round(share * side) for share in protocol.anchors)
    anchors: tuple[tuple[int, ...], ...]
    if protocol.form == "c4":
        backbone, head, out = _stages_apart(encoder, side)
        anchors, levels, coarsest = (sizes,), ["0"], 0
    else:
        backbone = Pyramid(encoder, side=side, width=protocol.width)
        cells = _ROI["pyramid"]
        head = FastRCNNConvFCHead((protocol.width, cells, cells), [protocol.width],
                                  [protocol.hidden], norm_layer=Norm)  # fmt: skip
        out, anchors = protocol.hidden, tuple((size,) for size in sizes)
        levels, coarsest = backbone.levels, backbone.coarsest
    roi = partial(MultiScaleRoIAlign, levels, sampling_ratio=2, canonical_scale=side // 2,
                  canonical_level=coarsest)  # fmt: skip
    more: dict[str, Any] = {}
    if protocol.masks:
        more = {
            "mask_roi_pool": roi(output_size=_ROI_MASK),
            "mask_head": MaskRCNNHeads(backbone.out_channels, [protocol.width], 1, norm_layer=Norm),
            "mask_predictor": MaskRCNNPredictor(protocol.width, protocol.width, classes),
        }
    made: Callable[..., nn.Module] = MaskRCNN if protocol.masks else FasterRCNN
    before, after = 2 * protocol.proposals, protocol.proposals
    detector = made(
        backbone,
        rpn_anchor_generator=AnchorGenerator(anchors, (protocol.ratios,) * len(anchors)),
        rpn_pre_nms_top_n_train=before, rpn_pre_nms_top_n_test=before,
        rpn_post_nms_top_n_train=after, rpn_post_nms_top_n_test=after,
        rpn_batch_size_per_image=protocol.sampled,
        box_roi_pool=roi(output_size=_ROI[protocol.form]),
        box_head=head, box_predictor=FastRCNNPredictor(out, classes),
        box_batch_size_per_image=protocol.sampled,
        box_detections_per_img=protocol.detections,
        **more,
    )  # fmt: skip
    detector.transform = AsTheyAre()
    return detector


class AsTheyAre(nn.Module):
    """What torchvision's detectors do to images first and to detections last, for images that are
    normalised and keep their size.

    torchvision's own makes images 800 pixels large. It also pastes masks into boxes that it has
    rounded and made a pixel wider, which on small images costs accuracy.
    """

    def forward(
        self, images: Tensor, targets: list[Target] | None
    ) -> tuple[ImageList, list[Target] | None]:
        """N×3×H×W images and targets as they are."""
        return ImageList(images, [tuple(images.shape[2:])] * len(images)), targets

    def postprocess(
        self, found: list[Target], shapes: list[tuple[int, int]], _: list[tuple[int, int]]
    ) -> list[Target]:
        """Masks from the boxes' frames to K×H×W booleans of the image; nothing in training."""
        for result, (height, width) in zip(found, shapes, strict=False):
            if "masks" in result:
                result["masks"] = pasted(result["masks"], result["boxes"], height, width)
        return found


def pasted(masks: Tensor, boxes: Tensor, height: int, width: int) -> Tensor:
    """Which pixels of an image masks cover: bool K×H×W, true above a half.

    Args:
        masks: K×1×M×M probabilities over a box each.
        boxes: K×4 (left, top, right, bottom), pixels.
    torchvision cuts its training masks out half a pixel to the left and top of where the box is
    (its RoIAlign is not `aligned` there), so that they are put back from there.
    """
    left, top, right, bottom = boxes[:, :, None].unbind(1)  # K×1 each
    x, inside_x = _along(width, left, right)
    y, inside_y = _along(height, top, bottom)
    rows, columns = torch.broadcast_tensors(y[:, :, None], x[:, None, :])
    grid = torch.stack([columns, rows], -1) * 2 - 1  # K×H×W×2
    likely = F.grid_sample(masks, grid, align_corners=False, padding_mode="border")[:, 0] > 0.5
    return likely & inside_y[:, :, None] & inside_x[:, None, :]


def _along(size: int, start: Tensor, stop: Tensor) -> tuple[Tensor, Tensor]:
    """Where each pixel lies from start (0) to stop (1), K×size, and whether its middle does."""
    pixels = torch.arange(size, device=start.device)
    return (pixels - start) / (stop - start), (pixels + 0.5 > start) & (pixels + 0.5 < stop)


class Norm(nn.BatchNorm2d):
    """A batch norm that lets a batch of nothing pass: the mask head's, if no image has objects."""

    def forward(self, x: Tensor) -> Tensor:
        """N×C×H×W."""
        return super().forward(x) if len(x) else x


class Pyramid(nn.Module):
    """A feature pyramid of three levels over an encoder's maps, each of `width` channels.

    Of a ResNet these are its last three stages; of two, a pooled one is added, on which there are
    anchors and no heads. A ViT has maps of one size: the ends of its last three groups of blocks
    are brought to three sizes by transposed convolutions and poolings, so that the finest has 16
    cells a side or more.
    Source: Lin et al. 2017, Fig. 3; batch norms in it: He et al. 2020 (MoCo), App. B; of ViTs: Li
    et al. 2021, as in He et al. 2021 (MAE), App. A.3, and Bao et al. 2021 (BEiT), whose code has
    the norms and activations.
    """

    def __init__(self, encoder: nn.Module, *, side: int, width: int) -> None:
        super().__init__()
        self.encoder, self.out_channels = encoder, width
        shapes = map_shapes(encoder, resolution=side)
        last = {shape.stride: place for place, shape in enumerate(shapes)}
        if plain := len(last) == 1:
            self.taps = ([0] * LEVELS + list(range(len(shapes))))[-LEVELS:]
            doublings = _doublings(shapes[-1], side)
        else:
            self.taps = sorted(last.values())[-LEVELS:]
            doublings = [0] * len(self.taps)
        channels = [shapes[tap].channels for tap in self.taps]
        self.resized = nn.ModuleList(map(_resized, channels, doublings))
        self.fpn = FeaturePyramidNetwork(
            channels, width, norm_layer=nn.BatchNorm2d,
            extra_blocks=None if len(self.taps) == LEVELS else LastLevelMaxPool(),
        )  # fmt: skip
        self.levels = [str(level) for level in range(len(self.taps))]
        coarsest = shapes[-1].stride / 2 ** (doublings[-1] if plain else 0)
        self.coarsest = round(math.log2(coarsest))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """N×3×H×W to N×width×h×w by level, the finest first."""
        maps = feature_maps(self.encoder, images)
        taken = [resize(maps[tap]) for tap, resize in zip(self.taps, self.resized, strict=True)]
        found: dict[str, Tensor] = self.fpn(OrderedDict(zip(self.levels, taken, strict=True)))
        return found


def _doublings(shape: MapShape, side: int) -> list[int]:
    """How often each level doubles the size of a ViT's map."""
    first = max(0, math.ceil(math.log2(_FINEST * shape.stride / side)))
    return [first - level for level in range(LEVELS)]


def _resized(channels: int, doublings: int) -> nn.Module:
    """Channels×h×w to as many channels, twice as large `doublings` times; half as large, if less
    than 0."""
    if doublings <= 0:
        factor = 2**-doublings
        return nn.MaxPool2d(factor, factor) if factor > 1 else nn.Identity()
    layers: list[nn.Module] = []
    for again in range(doublings):
        layers += [nn.BatchNorm2d(channels), nn.GELU()] if again else []
        layers.append(nn.ConvTranspose2d(channels, channels, 2, 2))
    return nn.Sequential(*layers)


class _Stages(nn.Module):
    """A ResNet without its last stage: N×3×H×W to the map before it."""

    def __init__(self, encoder: nn.Module, out_channels: int) -> None:
        super().__init__()
        self.encoder, self.out_channels = encoder, out_channels

    def forward(self, images: Tensor) -> Tensor:
        return feature_maps(self.encoder, images)[-1]


def _stages_apart(encoder: nn.Module, side: int) -> tuple[Any, nn.Module, int]:
    """A ResNet without its last stage; that stage as the head of boxes; its channels.

    Source: He et al. 2020 (MoCo), App. B: "an extra BN layer" behind the last stage.
    """
    channels = [shape.channels for shape in map_shapes(encoder, resolution=side)]
    name = f"layer{num_stages(encoder)}"
    last = encoder.get_submodule(name)
    setattr(encoder, name, nn.Identity())
    head = nn.Sequential(last, nn.BatchNorm2d(channels[-1]), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return _Stages(encoder, channels[-2]), head, channels[-1]
