"""A plugin as a user writes one: a loss, an encoder, a data set and recipes of their own."""

from __future__ import annotations

METHOD = '''
"""A loss and an encoder."""

from dataclasses import dataclass

import torch
from torch import nn

from sslbench.models.encoders import ENCODERS
from sslbench.objectives import OBJECTIVES, stateless
from sslbench.recipes import RECIPES
from sslbench.recipes.scales import SCALES
from sslbench.recipes.specs import EncoderSpec, ObjectiveSpec, NarrowResNet


@dataclass(frozen=True, kw_only=True)
class Spread(ObjectiveSpec):
    weight: float = 25.0


def spread(spec, online, target):
    a, b = online[0], target[1]
    std = (a.var(0) + 1e-4).sqrt()
    return spec.weight * (a - b).square().mean() + torch.relu(1 - std).mean(), {}


@dataclass(frozen=True, kw_only=True)
class OneLayer(EncoderSpec):
    width: int = 8


class OneLayerEncoder(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.conv = nn.Conv2d(3, spec.width, 3, 2)
        self.num_features = spec.width

    def forward(self, images):
        return self.conv(images).relu().mean((2, 3))


OBJECTIVES[Spread] = stateless(spread)
ENCODERS[OneLayer] = lambda spec, resolution: OneLayerEncoder(spec)
small = {"encoder": NarrowResNet(width=4, blocks=(1,)), "projector": None, "epochs": 1}
RECIPES["plain"] = RECIPES["simclr"].but(small, name="plain")
RECIPES["mine"] = RECIPES["plain"].but(name="mine", objective=Spread())
RECIPES["one-layer"] = RECIPES["plain"].but(name="one-layer", encoder=OneLayer())
for name in ("mine", "one-layer"):
    SCALES["smoke"].recipes[name] = {"encoder": RECIPES[name].encoder, "epochs": 1}
'''

DATA = '''
"""A data set: grey levels, one a line of a file."""

import torch

from sslbench.data import Raw, Split
from sslbench.data.registry import DATASETS, DatasetInfo


def read(folder, resolution):
    levels = torch.tensor([int(line) for line in (folder / "levels.txt").read_text().split()])
    return Raw(half(levels[::2], resolution), half(levels[1::2], resolution), ("even", "odd"))


def half(levels, resolution):
    images = levels.to(torch.uint8)[:, None, None, None].repeat(1, 3, resolution, resolution)
    return Split(images=images, labels=levels // 2 % 2)


DATASETS["levels"] = DatasetInfo(summary="Grey levels", reader=read, num_classes=2, resolution=8)
'''

PROTOCOL = '''
"""An evaluation: how bright the test images are."""

from dataclasses import dataclass
from typing import ClassVar

from sslbench.evaluation.protocols import PROTOCOLS, Protocol, Value


@dataclass(frozen=True, kw_only=True)
class Brightness(Protocol):
    needs: ClassVar = frozenset()
    values: ClassVar = (Value(key="mean", unit="%", better="none"),)
    runner: ClassVar = f"{__name__}:brightness"

    scale: float = 100.0


def brightness(protocol, subject):
    from sslbench.evaluation.accuracy import Outcome

    images = subject.dataset.test.images.float()
    values = {"mean": protocol.scale * float(images.mean()) / 255}
    return Outcome(values=values, chosen={}, heldout={})


PROTOCOLS["brightness.v1"] = Brightness(name="brightness.v1", summary="How bright it is.")
'''
