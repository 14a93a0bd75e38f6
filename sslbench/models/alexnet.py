"""The small AlexNet with batch norm, of the work on alignment and uniformity."""

from __future__ import annotations

from torch import Tensor, nn

from sslbench.errors import UserError

LEAST_RESOLUTION = 15  # three poolings leave one position


class SmallAlexNetEncoder(nn.Module):
    """Five 3×3 convolutions and two layers of 4,096, with batch norm; no dropout.

    3×3 poolings of stride 2 follow convolutions 1, 2 and 5: 64 pixels become 7×7 positions. The
    output is fc7, after its ReLU; the 128-d layer on top is the projector's. Weights start from
    N(0, 0.02). Parameters are named as in the authors' code.

    Args:
        resolution: side of the images, pixels; the first full layer depends on it.
    Raises:
        UserError: images of less than 15 pixels.
    Source: Wang and Isola 2020, arXiv:2005.10242, Sec. 5, and the authors' STL-10 code.
    """

    def __init__(self, *, resolution: int) -> None:
        super().__init__()
        if resolution < LEAST_RESOLUTION:
            raise UserError(
                f"SmallAlexNet needs images of {LEAST_RESOLUTION} pixels or more, not {resolution}."
            )
        side = resolution
        for _ in range(3):
            side = (side - 3) // 2 + 1  # of MaxPool2d(3, stride=2)
        self.num_features = 4096
        self.blocks = nn.Sequential(
            _convolution(3, 96, pool=True),  # 64 px: N×96×31×31
            _convolution(96, 192, pool=True),  # N×192×15×15
            _convolution(192, 384),
            _convolution(384, 384),
            _convolution(384, 192, pool=True),  # N×192×7×7
            nn.Sequential(nn.Flatten(), *_full(192 * side * side, 4096)),
            nn.Sequential(*_full(4096, 4096)),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        """N×3×H×W to N×4096."""
        features: Tensor = self.blocks(images)
        return features


def _convolution(width: int, out: int, *, pool: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(width, out, 3, padding=1, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(inplace=True),
    ]
    if pool:
        layers.append(nn.MaxPool2d(3, stride=2))
    return nn.Sequential(*layers)


def _full(width: int, out: int) -> list[nn.Module]:
    return [nn.Linear(width, out, bias=False), nn.BatchNorm1d(out), nn.ReLU(inplace=True)]
