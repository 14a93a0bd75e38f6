"""Scales: what turns a published recipe into what a machine can afford, as data.

A scale changes all recipes (`common`, where the piece is present), single recipes (`recipes`:
short schedules need their own rates), and maps a swept axis (`axes`: published value to the value
here, under a dotted path, or `recipe/path` for one recipe). `small_axes` are the axes of tables
published on small images, where a batch of 256 is large.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sslbench.recipes.specs import Data, ImageSet, Shapes

Changes = Mapping[str, Any]
PublishedAt = Literal["paper", "cifar"]


@dataclass(frozen=True)
class Scale:
    """One scale. `seeds` is how many runs a table gets by default; `notes` say how the settings
    were found."""

    name: str
    summary: str
    data: Data
    common: Changes
    recipes: Mapping[str, Changes] = field(default_factory=dict)
    axes: Mapping[str, Mapping[float, float]] = field(default_factory=dict)
    small_axes: Mapping[str, Mapping[float, float]] = field(default_factory=dict)
    seeds: int = 3
    resolution: int | None = None
    num_train: int | None = None
    notes: tuple[str, ...] = ()

    def axes_of(self, published_at: PublishedAt) -> Mapping[str, Mapping[float, float]]:
        """The axes of values published at that scale (none where it is this one)."""
        return self.axes if published_at == "paper" else self.small_axes

    def dataset(self, name: str, *, path: str | None = None) -> Data:
        """A named set at this scale: `resolution` and at most `num_train` training images."""
        if name == "shapes":
            return self.data if isinstance(self.data, Shapes) else Shapes()
        return ImageSet(name=name, resolution=self.resolution, num_train=self.num_train, path=path)


_SMALL_JITTER = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
_SMALL_VIEWS: Changes = {
    "views.*.crop.scale": (0.4, 1.0),
    "views.*.blur": None,
    "views.*.solarize": 0.0,
}
_LESS_COLOR: Changes = {"views.*.grayscale": 0.5}


def _adamw(lr: float) -> dict[str, Any]:
    return {"kind": "AdamW", "lr": lr, "weight_decay": 1e-4, "scaling": "linear"}


def _sgd(lr: float) -> dict[str, Any]:
    return {"kind": "SGD", "lr": lr, "weight_decay": 1e-4, "scaling": "linear"}


_NARROW_MOCO: Changes = {
    "objective.queue": 2048,
    "objective.temperature": 0.1,
    "target.momentum": 0.9,
    "optimizer": _adamw(2e-2),
    "batch_norm.splits": 4,
}
_NARROW_MOCO_HEAD: Changes = {
    "projector.hidden": (256,),
    "projector.hidden_norm": True,
    "projector.out_norm": True,
}
_NARROW_SIMCLR: Changes = {
    "projector.hidden": (256,),
    "projector.out": 128,
    "objective.temperature": 0.2,
    "optimizer": _adamw(2e-2),
    "views.*.jitter": _SMALL_JITTER,
}
_NARROW_NEGATIVES: Mapping[str, Changes] = {
    "dcl": _NARROW_SIMCLR,
    "dclw": _NARROW_SIMCLR,
    "debiased": _NARROW_SIMCLR,
    "hcl": _NARROW_SIMCLR,
    "moco-ring": {**_NARROW_MOCO, **_NARROW_MOCO_HEAD},
    "moco-ft": {**_NARROW_MOCO, **_NARROW_MOCO_HEAD},
}
_NARROW_BANK: Changes = {"optimizer": _adamw(2e-2)}
_NARROW_PROJECTOR: Changes = {k: v for k, v in _NARROW_SIMCLR.items() if "projector" not in k}
_NARROW_OTHERS: Mapping[str, Changes] = {
    "npid": {**_NARROW_BANK, "objective.temperature": 0.1, "objective.num_negatives": 1024},
    "instdisc": _NARROW_BANK,
    "instdisc-hard": _NARROW_BANK,
    "simple": _NARROW_BANK,
    "simple-hard": _NARROW_BANK,
    "align-uniform": {"optimizer": _adamw(2e-2)},
    "align-uniform-queue": {k: v for k, v in _NARROW_MOCO.items() if "temperature" not in k},
    "directclr": {**_NARROW_PROJECTOR, "projector.out": 12},
    "simclr-linear-projector": _NARROW_PROJECTOR,
    "simclr-no-projector": _NARROW_PROJECTOR,
}
_NARROW_HEADS: Mapping[str, Changes] = {
    **_NARROW_NEGATIVES,
    **_NARROW_OTHERS,
    "supervised": {"optimizer": _adamw(2e-2)},
    "simclr": _NARROW_SIMCLR,
    "moco-v1": _NARROW_MOCO,
    "moco-v2": {**_NARROW_MOCO, **_NARROW_MOCO_HEAD},
    "moco-v2-symmetric": {**_NARROW_MOCO, **_NARROW_MOCO_HEAD},
    "byol": {
        "projector.hidden": (256,),
        "projector.out": 256,
        "predictor.hidden": (256,),
        "predictor.learning_rate_scale": 5.0,
        "target.momentum": 0.8,
        "optimizer": _sgd(1.0),
    },
    "simsiam": {
        "projector.hidden": (256, 256),
        "projector.out": 256,
        "predictor.hidden": (64,),
        "predictor.learning_rate_scale": 3.0,
        "optimizer": _sgd(1.6),
        **_LESS_COLOR,
    },
    "barlow-twins": {
        "projector.hidden": (256,),
        "projector.out": 256,
        "objective.off_diagonal_weight": 0.01,
        "objective.scale": 0.1,
        "optimizer": _adamw(2e-2),
        **_LESS_COLOR,
    },
}

LAPTOP = Scale(
    name="laptop",
    summary="a minute a run on two CPU cores: procedural images at 32 px, a narrow ResNet",
    data=Shapes(),
    resolution=32,
    num_train=8000,
    common={
        **_SMALL_VIEWS,
        "encoder": {"kind": "NarrowResNet", "width": 16, "blocks": (1, 1, 1), "stem_stride": 2},
        "epochs": 12,
        "batch_size": 64,
        "schedule": {"kind": "Cosine", "warmup_epochs": 1},
    },
    recipes=_NARROW_HEADS,
    axes={
        "batch_size": {8192: 512, 4096: 256, 2048: 128, 1024: 64, 512: 32, 256: 16, 128: 8, 64: 4},
        "epochs": {100: 6, 200: 12, 300: 12, 400: 24, 800: 48, 1000: 60},
        "target.momentum": {0.999: 0.98, 0.996: 0.92, 0.99: 0.8, 0.9: 0.3},
        "objective.queue": {65536: 2048},
        "schedule.warmup_epochs": {10: 1},
        "simsiam/projector.out": {256: 32, 512: 64, 1024: 128, 2048: 256},
        "simsiam/predictor.hidden": {64: 8, 128: 16, 256: 32, 512: 64},
        "simclr/projector.hidden": {2048: 256},
        "simclr/optimizer.lr": {0.3: 2e-2, 0.075: 1.25e-3},
        "byol/projector.hidden": {4096: 256, 8192: 512},
        "byol/projector.out": {8192: 1024},
        "byol/predictor.hidden": {4096: 256, 8192: 512},
        "byol/optimizer.lr": {0.2: 1.0},
        "byol/optimizer.weight_decay": {1.5e-6: 1e-4},
        "moco-v2/projector.hidden": {2048: 256},
        "barlow-twins/predictor.hidden": {8192: 256},
        "barlow-twins/projector.out": {16: 16, 8192: 256, 16384: 512},
        "directclr/projector.out": {360: 12},
    },
    small_axes={
        "batch_size": {512: 128, 256: 64, 128: 32, 64: 16, 32: 8},
        "epochs": {100: 6, 200: 12, 400: 24, 500: 30, 800: 48, 1000: 60},
        "optimizer.lr": {0.06: 2e-2, 0.03: 1e-2},
        "objective.queue": {65536: 2048},
    },
    notes=(
        "Settings found on the held-out tenth of the built-in set, November 2026; the test set was "
        "not read. They hold for every data set at this scale.",
        "Crops of at least 0.4 of the area, no blur and no solarisation: at 32 pixels and 1,500 "
        "steps the published views hide everything from the methods without negatives.",
        "SimSiam and Barlow Twins see half of their views in grey: with the published fifth they "
        "agree on colour, and most initialisations learn little else (linear accuracy on the "
        "held-out part, seeds 1, 2: Barlow Twins 30, 30 at 0.2, 82, 84 at 0.5; SimSiam 44, 72 and "
        "58, 67; BYOL 68, 75 and 57, 72, so it keeps 0.2).",
        "MoCo's head has batch norm here; without it the contrast barely starts in 1,500 steps.",
        "The target's momentum is scaled to the number of steps: 0.99 over 94,000 steps is 0.8 "
        "over 1,500.",
    ),
)

SMOKE = Scale(
    name="smoke",
    summary="seconds a run, for tests and CI: supervision and contrast begin to learn",
    data=Shapes(num_train=2000, num_test=1000),
    resolution=32,
    num_train=2000,
    common={
        **LAPTOP.common,
        "encoder": {"kind": "NarrowResNet", "width": 8, "blocks": (1, 1), "stem_stride": 2},
        "epochs": 6,
        "batch_size": 32,
    },
    recipes=_NARROW_HEADS,
    axes={**LAPTOP.axes, "epochs": {100: 2, 200: 6, 300: 6, 400: 8, 800: 10, 1000: 12}},
    small_axes={
        **LAPTOP.small_axes,
        "batch_size": {512: 64, 256: 32, 128: 16, 64: 8, 32: 4},
        "epochs": {100: 2, 200: 6, 400: 8, 500: 8, 800: 10, 1000: 12},
    },
    seeds=5,
)

_CIFAR_SGD = {"kind": "SGD", "lr": 0.03, "weight_decay": 5e-4, "scaling": "linear"}
_CIFAR_LARS = {"kind": "LARS", "scaling": "linear"}
_MOCO_DEMO: Changes = {
    "views.*.crop.scale": (0.08, 1.0),
    "projector.hidden": (),
    "objective.temperature": 0.1,
    "objective.queue": 4096,
    "target.momentum": 0.99,
    "optimizer": {**_CIFAR_SGD, "lr": 0.06, "scaling": "none"},
}
_CIFAR_BANK: Changes = {
    "batch_size": 128,
    "optimizer": {**_CIFAR_SGD, "scaling": "none"},
    "schedule": {"kind": "Steps", "milestones": (0.8, 0.95), "factor": 0.1},
}
_CIFAR_SIMCLR: Changes = {
    "objective.temperature": 0.5,
    "optimizer": {**_CIFAR_LARS, "lr": 1.0, "weight_decay": 1e-4},
    "schedule.warmup_epochs": 10,
    "views.*.jitter": _SMALL_JITTER,
}
_DEBIASED: Changes = {
    "views.*.blur": {"probability": 0.5, "kernel": 3},
    "encoder.arch": "resnet50",
    "schedule": {"kind": "Steps", "milestones": ()},
    "epochs": 400,
    "batch_size": 256,
}
_CIFAR_NEGATIVES: Mapping[str, Changes] = {
    "dcl": {"batch_size": 256, "views.*.jitter": _SMALL_JITTER},
    "dclw": {"batch_size": 256, "views.*.jitter": _SMALL_JITTER},
    "debiased": _DEBIASED,
    "hcl": _DEBIASED,
    "moco-ring": {"batch_size": 256},
    "moco-ft": _MOCO_DEMO,
}
_CIFAR_OTHERS: Mapping[str, Changes] = {
    "npid": {**_CIFAR_BANK, "objective.temperature": 0.1},
    "instdisc": _CIFAR_BANK,
    "instdisc-hard": _CIFAR_BANK,
    "simple": _CIFAR_BANK,
    "simple-hard": _CIFAR_BANK,
    "align-uniform": {
        "batch_size": 768,
        "optimizer": {**_CIFAR_SGD, "lr": 0.12, "weight_decay": 1e-4},
        "schedule": {"kind": "Steps", "milestones": (0.775, 0.85, 0.925), "factor": 0.1},
    },
    "align-uniform-queue": {
        "objective.queue": 4096,
        "target.momentum": 0.99,
        "optimizer": {**_CIFAR_SGD, "lr": 0.06, "scaling": "none"},
    },
    "directclr": {**_CIFAR_SIMCLR, "projector.out": 90},
    "simclr-linear-projector": _CIFAR_SIMCLR,
    "simclr-no-projector": _CIFAR_SIMCLR,
}

CIFAR = Scale(
    name="cifar",
    summary="ResNet-18 at 32 px on one GPU: the source papers' small-image settings",
    data=ImageSet(name="cifar10", resolution=32),
    resolution=32,
    common={
        "views.*.blur": None,
        "encoder": {"kind": "ResNet", "arch": "resnet18", "stem": "small"},
        "epochs": 200,
        "batch_size": 512,
        "schedule": {"kind": "Cosine"},
    },
    recipes={
        **_CIFAR_NEGATIVES,
        **_CIFAR_OTHERS,
        "supervised": {"optimizer": {**_CIFAR_SGD, "lr": 0.05}},
        "simclr": {**_CIFAR_SIMCLR, "projector.hidden": (512,)},
        "moco-v1": {**_MOCO_DEMO, "views.*.crop.scale": (0.2, 1.0)},
        "moco-v2": _MOCO_DEMO,
        "moco-v2-symmetric": _MOCO_DEMO,
        "byol": {
            "optimizer": {**_CIFAR_LARS, "lr": 1.0, "weight_decay": 1e-5},
            "schedule.warmup_epochs": 10,
        },
        "simsiam": {
            "projector.hidden": (2048,),
            "views.*.crop.scale": (0.2, 1.0),
            "optimizer": _CIFAR_SGD,
        },
        "barlow-twins": {
            "projector.hidden": (2048,),
            "projector.out": 2048,
            "objective.off_diagonal_weight": 5.1e-3,
            "objective.scale": 0.1,
            "optimizer": {**_CIFAR_LARS, "lr": 0.3, "weight_decay": 1e-4},
            "schedule.warmup_epochs": 10,
        },
    },
    axes={
        "batch_size": {8192: 2048, 4096: 1024, 2048: 512, 1024: 256, 512: 128, 256: 64, 128: 32,
                       64: 16},
        "epochs": {100: 50, 200: 100, 300: 200, 400: 200, 800: 400, 1000: 500},
        "target.momentum": {0.999: 0.999, 0.99: 0.99, 0.9: 0.9},
        "simclr/optimizer.lr": {0.3: 1.0, 0.075: 0.125},
        "byol/optimizer.lr": {0.2: 1.0},
        "byol/optimizer.weight_decay": {1.5e-6: 1e-5},
        "barlow-twins/projector.out": {16: 16, 8192: 2048, 16384: 4096},
        "directclr/projector.out": {360: 90},
    },
    small_axes={"objective.queue": {65536: 4096}},
    notes=(
        "SimCLR: the authors' CIFAR-10 example (LARS 1.0 per 256, temperature 0.5, no blur).",
        "MoCo: the authors' CIFAR-10 demo (linear head, queue 4096, momentum 0.99, 8 BN splits); "
        "it scores its 128-d output by kNN, we score the encoder's 512 features.",
        "DCL: its paper's setting, batches as they are. Debiased, HCL: their code (ResNet-50, "
        "blur). Ring: its code, whose queue is longer than CIFAR-10. FT: MoCo's demo.",
        "SimSiam: App. D of its paper. BYOL, Barlow Twins: solo-learn's CIFAR settings.",
        "Memory bank: the CIFAR settings of Wang and Liu 2020; NPID's own CIFAR runs take the full "
        "softmax, which is instdisc at temperature 0.1. Alignment and uniformity: the authors' "
        "STL-10 settings with this scale's encoder; the queue form has MoCo's.",
        "DirectCLR and SimCLR's other projectors: SimCLR's settings; 90 of 512 channels are the "
        "published share.",
    ),
)  # fmt: skip

PAPER = Scale(
    name="paper",
    summary="ImageNet at 224 px on several GPUs: the recipes as published",
    data=ImageSet(name="folder", resolution=224, path="data/imagenet"),
    resolution=224,
    common={},
    seeds=1,
)

SCALES: dict[str, Scale] = {scale.name: scale for scale in (SMOKE, LAPTOP, CIFAR, PAPER)}
