"""Experiments of a second or less, for tests of what holds for every recipe."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sslbench.batch import Batch, Clock, ViewBatch
from sslbench.engine.folder import NUMERICS
from sslbench.recipes import RECIPES
from sslbench.recipes.families import (
    DenseRecipe,
    JointRecipe,
    LoocRecipe,
    MaskedRecipe,
    RegionRecipe,
)
from sslbench.recipes.recipe import Experiment
from sslbench.recipes.resolve import resolve
from sslbench.recipes.specs import HOG, Channels, Codebook, NoiseContrastive, Shapes, ViT
from sslbench.streams import permutation

DATA = Shapes(resolution=16, num_train=96, num_test=32)
SMALL_VIT = {"arch": "tiny", "patch": 8, "width": 16, "depth": 2, "heads": 2, "drop_path": 0.0}
TRAINED = [name for name, recipe in RECIPES.items() if recipe.epochs > 0]


def tiny(recipe: str, *, seed: int = 0, **changes: Any) -> Experiment:
    """A recipe on 96 images of 16 px, batch 16, two epochs of 6 steps, networks 4 wide."""
    sets: dict[str, Any] = {"batch_size": 16, "epochs": 2}
    spec = RECIPES[recipe]
    if spec.epochs == 0:
        sets.pop("epochs")
    if isinstance(spec.encoder, ViT):  # a path is dropped by each process for itself
        sets["encoder"] = spec.encoder.to_dict() | SMALL_VIT
    elif spec.encoder.trainable:
        sets["encoder"] = {"kind": "NarrowResNet", "width": 4, "blocks": [1, 1], "stem_stride": 2}
    if spec.views.num_local:
        sets |= {"views.first.size": None, "views.local.size": 8, "views.num_local": 2}
    if isinstance(spec, JointRecipe | LoocRecipe | RegionRecipe):
        sets |= _small_pieces(spec)
    if isinstance(spec, MaskedRecipe):
        sets |= _small_masks(spec)
    if isinstance(spec, DenseRecipe):
        sets |= _small_maps(spec)
    layers = [("--set", sets), ("--set", {k.replace("__", "."): v for k, v in changes.items()})]
    return resolve(recipe, scale="smoke", layers=layers, data=DATA, seed=seed).experiment


def _small_pieces(spec: JointRecipe | LoocRecipe | RegionRecipe) -> dict[str, Any]:
    sets: dict[str, Any] = {}
    if isinstance(spec.projector, Channels):
        sets["projector.out"] = 4
    elif spec.projector is not None:
        sets |= {"projector.hidden": [16] * len(spec.projector.hidden), "projector.out": 8}
    if spec.has("prototypes") and spec.prototypes is not None:
        sets["prototypes.count"] = 8
    if spec.has("predictor") and spec.predictor is not None:
        sets["predictor.hidden"] = [8]
    if spec.has("objective.queue") and spec.objective.queue:
        sets["objective.queue"] = 32
    if spec.batch_norm.splits > 1:
        sets["batch_norm.splits"] = 2
    if isinstance(spec.objective, NoiseContrastive):
        sets["objective.num_negatives"] = 32
    return sets


def _small_masks(spec: MaskedRecipe) -> dict[str, Any]:
    """16 patches of 4 pixels, in 4 units where several make one."""
    sets: dict[str, Any] = {"encoder": {**spec.encoder.to_dict(), **SMALL_VIT, "patch": 4}}
    if spec.mask.unit is not None:
        sets["mask.unit"] = 8
    if spec.decoder is not None:
        sets["decoder"] = {"kind": "Decoder", "width": 16, "depth": 1, "heads": 2}
    if isinstance(spec.objective.target, Codebook):
        sets |= {"objective.target.size": 16, "objective.target.patches": 512}
    if isinstance(spec.objective.target, HOG):
        sets["objective.target.cell"] = 4
    return sets


def _small_maps(spec: DenseRecipe) -> dict[str, Any]:
    """Maps of 4×4 cells, which are compared 8 wide."""
    sets: dict[str, Any] = {"projector.hidden": [16], "projector.out": 8}
    if spec.has("objective.queue"):
        sets |= {"objective.queue": 32, "objective.warmup_epochs": 0.5}
    if spec.instance is not None:
        sets |= {"instance.projector.hidden": [16], "instance.projector.out": 8}
        if spec.instance.predictor is not None:
            sets["instance.predictor.hidden"] = [8]
        if spec.has("instance.objective.queue"):
            sets["instance.objective.queue"] = 32
    if spec.batch_norm.splits > 1:
        sets["batch_norm.splits"] = 2
    return sets


def batch_of(
    images: list[Tensor], *, indices: Tensor | None = None, labels: Tensor | None = None,
    **clock: Any,
) -> Batch:  # fmt: skip
    """A batch of views N×3×h×w that are the whole image."""
    box, flipped = torch.zeros(len(images[0]), 4), torch.zeros(len(images[0]), dtype=torch.bool)
    views = [ViewBatch(view, box, flipped) for view in images]
    order = permutation(clock.get("key", 0), len(images[0]))
    return Batch(views, indices, labels, Clock(**clock), order=order)


def summary(**changes: Any) -> dict[str, Any]:
    """What run.json holds of a finished run."""
    return {
        "status": "finished", "recipe": "byol", "dataset": "shapes", "fingerprint": "f",
        "seed": 0, "scale": "smoke", "numerics": NUMERICS, "epochs": 2, "steps": 12,
        "elapsed_seconds": 8.0, "resolution": 16, "final": {"loss": 0.5, "std": 0.25},
    } | changes  # fmt: skip
