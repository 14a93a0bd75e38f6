"""Scales: what turns a published recipe into what a machine can afford, as data.

A scale changes all recipes (`common`, where the piece is present), single recipes (`recipes`:
short schedules need their own rates), and maps a swept axis (`axes`: published number or name to
the one here, under a dotted path, or `recipe/path` for one recipe). `small_axes` are the axes of
tables published on small images, where a batch of 256 is large.
"""

from __future__ import annotations

from sslbench.recipes.scales.cpu import LAPTOP, SMOKE
from sslbench.recipes.scales.gpu import CIFAR, PAPER
from sslbench.recipes.scales.scale import Axis, Changes, PublishedAt, Scale

SCALES: dict[str, Scale] = {scale.name: scale for scale in (SMOKE, LAPTOP, CIFAR, PAPER)}

__all__ = ["SCALES", "Axis", "Changes", "PublishedAt", "Scale"]
