"""Encoders by spec: torchvision ResNets, a narrow ResNet, timm ViTs, a small AlexNet, baselines,
and any network of the two libraries by its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from sslbench.models.alexnet import SmallAlexNetEncoder
from sslbench.models.baselines import ColorHistogramEncoder, RawPixelEncoder
from sslbench.models.libraries import build_library_encoder
from sslbench.models.strides import StridedPointwise
from sslbench.models.vit import build_vit
from sslbench.recipes.base import Spec
from sslbench.recipes.specs import (
    ColorHistogram,
    NarrowResNet,
    RawPixels,
    ResNet,
    SmallAlexNet,
    Timm,
    Torchvision,
    ViT,
)


def build_encoder(
    spec: Spec,
    *,
    resolution: int,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
) -> nn.Module:
    """The encoder of a spec, initialised from the global generator (fork and seed it outside).

    Args:
        spec: one of the encoder specs, the keys of `ENCODERS`.
        resolution: side of the square images, in pixels.
        mean, std: the images' normalisation per channel. Only `ColorHistogram` reads it, to count
            the colours that the image had; by default its input is not normalised.
    Returns:
        A module with `num_features`: N×3×H×W normalised images to N×num_features.
    Raises:
        UserError: a ViT whose patch does not divide the resolution, images too small for a
            SmallAlexNet, or a library's network that is not known or does not fit.
    """
    if isinstance(spec, ColorHistogram):
        return ColorHistogramEncoder(bins=spec.bins, mean=mean, std=std)
    return ENCODERS[type(spec)](spec, resolution)


def build_resnet(spec: ResNet, resolution: int) -> nn.Module:
    """A torchvision ResNet without classifier; the `small` stem is the usual one for 32 pixels."""
    constructor = getattr(torchvision.models, spec.arch)
    network: torchvision.models.ResNet = constructor(zero_init_residual=spec.zero_init_residual)
    network.num_features = network.fc.in_features
    network.fc = nn.Identity()
    if spec.stem == "small":
        padding = spec.stem_padding or 1
        network.conv1 = nn.Conv2d(3, 64, 3, stride=1, padding=padding, bias=False)
        _init_convolutions(network.conv1)
        network.maxpool = nn.Identity()
        if not spec.stem_relu:
            network.relu = nn.Identity()  # the blocks have their own
    return network


class NarrowResNetEncoder(nn.Module):
    """torchvision's basic blocks at a small width; parameters are named as in torchvision."""

    def __init__(self, spec: NarrowResNet) -> None:
        super().__init__()
        width = spec.width
        self.conv1 = nn.Conv2d(3, width, 3, stride=spec.stem_stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.num_stages = len(spec.blocks)
        for stage, num_blocks in enumerate(spec.blocks):
            out = spec.width * 2**stage
            blocks = [_basic_block(width, out, stride=1 if stage == 0 else 2)]
            blocks += [_basic_block(out, out, stride=1) for _ in range(num_blocks - 1)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
            width = out
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.num_features = width
        _init_convolutions(self)
        if spec.zero_init_residual:
            for module in self.modules():
                if isinstance(module, BasicBlock):
                    nn.init.zeros_(module.bn2.weight)

    def forward(self, images: Tensor) -> Tensor:
        """N×3×H×W to N×num_features, averaged over the last stage's positions."""
        x = self.relu(self.bn1(self.conv1(images)))
        for stage in range(self.num_stages):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return self.avgpool(x).flatten(1)


def _basic_block(width: int, out: int, *, stride: int) -> BasicBlock:
    downsample = None
    if stride != 1 or width != out:
        downsample = nn.Sequential(
            StridedPointwise(width, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out)
        )
    return BasicBlock(width, out, stride, downsample)


def _init_convolutions(network: nn.Module) -> None:
    """torchvision's initialisation of a ResNet (He et al. 2015, fan-out)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


ENCODERS: dict[type[Spec], Callable[..., nn.Module]] = {
    ResNet: build_resnet,
    NarrowResNet: lambda spec, resolution: NarrowResNetEncoder(spec),
    ViT: build_vit,
    SmallAlexNet: lambda spec, resolution: SmallAlexNetEncoder(resolution=resolution),
    Timm: build_library_encoder,
    Torchvision: build_library_encoder,
    RawPixels: lambda spec, resolution: RawPixelEncoder(resolution=resolution),
    ColorHistogram: lambda spec, resolution: ColorHistogramEncoder(bins=spec.bins),
}
