"""Scales for GPUs: `cifar`, one of them, and `paper`, several."""

from __future__ import annotations

from collections.abc import Mapping

from sslbench.recipes.scales.scale import SMALL_JITTER, Changes, Scale
from sslbench.recipes.specs import ImageSet

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
    "views.*.jitter": SMALL_JITTER,
}
_DEBIASED: Changes = {
    "views.*.blur": {"probability": 0.5, "kernel": 3},
    "encoder.arch": "resnet50",
    "schedule": {"kind": "Steps", "milestones": ()},
    "epochs": 400,
    "batch_size": 256,
}
_CIFAR_NEGATIVES: Mapping[str, Changes] = {
    "dcl": {"batch_size": 256, "views.*.jitter": SMALL_JITTER},
    "dclw": {"batch_size": 256, "views.*.jitter": SMALL_JITTER},
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
_CIFAR_VIT: Changes = {"kind": "ViT", "arch": "tiny", "patch": 4}
_CIFAR_MOCO_V3: Changes = {
    "batch_size": 256,
    "objective.temperature": 0.2,
    "objective.scale": 0.8,
    "views.*.crop.scale": (0.08, 1.0),
    "schedule.warmup_epochs": 10,
}
_CIFAR_CROPS: Changes = {
    "views.first.crop.scale": (0.2, 1.0),
    "views.second.crop.scale": (0.2, 1.0),
    "views.local.crop.scale": (0.08, 0.5),
    "views.local.size": 16,
    "views.num_local": 6,
}
_CIFAR_DINO: Changes = {
    **_CIFAR_CROPS,
    "prototypes.count": 4096,
    "schedule.warmup_epochs": 10,
    "batch_size": 256,
}
_CIFAR_DINO_VIT: Changes = {
    "encoder": {**_CIFAR_VIT, "drop_path": 0.1},
    "schedule.warmup_epochs": 10,
    "batch_size": 256,
}
_CIFAR_DISTILLATION: Mapping[str, Changes] = {
    "dino": {**_CIFAR_DINO, **_CIFAR_DINO_VIT, "target.momentum": 0.9995},
    "dino-resnet": {
        **_CIFAR_DINO,
        "target.momentum": 0.9995,
        "optimizer": {**_CIFAR_LARS, "lr": 0.3, "weight_decay": 1e-6, "clip_norm": 3.0},
    },
    "swav-vit": {**_CIFAR_DINO, **_CIFAR_DINO_VIT},
    "byol-vit": {**_CIFAR_DINO_VIT, "views.*.crop.scale": (0.2, 1.0)},
    "moco-v2-vit": {
        **_CIFAR_DINO_VIT,
        "views.*.crop.scale": (0.2, 1.0),
        "objective.queue": 4096,
        "target.momentum": 0.99,
    },
    "ressl": {
        "views.first.blur": {"probability": 0.5},
        "projector.hidden": (512,),
        "projector.out": 128,
        "objective.queue": 4096,
        "target.momentum": 0.99,
        "optimizer": {**_CIFAR_SGD, "lr": 0.06, "exclude_bias_and_norm": True},
        "schedule.warmup_epochs": 5,
        "batch_size": 256,
    },
    "moco-v3": {
        **_CIFAR_MOCO_V3,
        "optimizer": {**_CIFAR_LARS, "lr": 0.3, "weight_decay": 1e-6},
    },
    "moco-v3-vit": {
        **_CIFAR_MOCO_V3,
        "encoder": {
            **_CIFAR_VIT,
            "positions": "sincos",
            "patch_projection": "random",
            "init": "mocov3",
        },
        "optimizer.lr": 3e-4,
    },
}
_CIFAR_CLUSTERS: Changes = {
    "batch_size": 256,
    "optimizer": {**_CIFAR_LARS, "lr": 0.6, "weight_decay": 1e-6},
    "schedule": {"kind": "Cosine", "warmup_epochs": 10, "floor": 1e-3},
    "views.*.jitter": SMALL_JITTER,
    "views.*.crop.scale": (0.2, 1.0),
    "views.local.size": 16,
    "views.local.crop.scale": (0.08, 0.5),
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
        **_CIFAR_DISTILLATION,
        "supervised": {"optimizer": {**_CIFAR_SGD, "lr": 0.05}},
        "supervised-vit": {
            "encoder": {**_CIFAR_VIT, "drop_path": 0.1},
            "schedule.warmup_epochs": 5,
        },
        "untrained-vit": {"encoder": _CIFAR_VIT},
        "supervised-multicrop": {
            "optimizer": {**_CIFAR_SGD, "lr": 0.05},
            "views.first.size": 24,
            "views.local.size": 16,
            "views.local.crop.scale": (0.08, 0.5),
        },
        "simclr": {**_CIFAR_SIMCLR, "projector.hidden": (512,)},
        "simclr-multicrop": {
            **_CIFAR_SIMCLR,
            "projector.hidden": (512,),
            "views.first.size": 24,
            "views.local.size": 16,
            "views.local.crop.scale": (0.08, 0.5),
        },
        "swav": {
            **_CIFAR_CLUSTERS,
            "objective.assignment.queue": 3840,
            "prototypes.frozen_epochs": 2,
        },
        "deepcluster-v2": {**_CIFAR_CLUSTERS, "views.first.size": 24},
        "sela-v2": {**_CIFAR_CLUSTERS, "views.first.size": 24},
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
        "encoder.arch": {"small": "tiny", "base": "tiny"},
        "views.first.size": {224: 32, 160: 24},
        "views.local.size": {96: 16},
        "views.local.crop.scale": {0.05: 0.08, 0.14: 0.5},
        "moco-v3-vit/optimizer.lr": {5e-5: 1e-4, 1e-4: 2e-4, 1.5e-4: 3e-4, 2e-4: 4e-4, 5e-4: 1e-3,
                                     6e-4: 1.2e-3, 8e-4: 1.6e-3},
        "moco-v3-vit/batch_size": {1024: 128, 2048: 256, 4096: 512, 6144: 768},
    },
    small_axes={"objective.queue": {65536: 4096}},
    notes=(
        "SimCLR: the authors' CIFAR-10 example (LARS 1.0 per 256, temperature 0.5, no blur).",
        "Residual blocks start as torchvision's do, their last norm at 1, also where a recipe "
        "starts it at 0 (SimCLR's example).",
        "MoCo: the authors' CIFAR-10 demo (linear head, queue 4096, momentum 0.99, 8 BN splits); "
        "it scores its 128-d output by kNN, we score the encoder's 512 features.",
        "DCL: its paper's setting, batches as they are. Debiased, HCL: their code (ResNet-50, "
        "blur). Ring: its code, on one device; its queue is longer than CIFAR-10. FT: MoCo's demo.",
        "SimSiam: App. D of its paper. BYOL, Barlow Twins: solo-learn's CIFAR settings.",
        "Memory bank: the CIFAR settings of Wang and Liu 2020; NPID's own CIFAR runs take the full "
        "softmax, which is instdisc at temperature 0.1. Alignment and uniformity: the authors' "
        "STL-10 settings with this scale's encoder; the queue form has MoCo's.",
        "ReSSL: its code's small-image settings (8 BN splits, queue 4096, blur). MoCo v3: "
        "solo-learn's, on a ViT its ImageNet-100 rate. DINO: solo-learn's prototypes and momentum, "
        "on a ResNet its rate, with local crops, which it has not; on a ViT the paper's rate, also "
        "for the recipes that the paper compares with it.",
        "SwAV, DeepCluster-v2, SeLa-v2: solo-learn's rates, and SwAV's queue, which it starts at "
        "epoch 50 of 1,000; it has no local crops. The prototypes are the paper's 3,000.",
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
