"""View presets of the papers, at 224 pixels (the small-image forms are part of the scales)."""

from __future__ import annotations

from sslbench.recipes.specs import Blur, Crop, Jitter, View, Views

_WEAK_JITTER = Jitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
_BYOL_JITTER = Jitter(brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1)
_BICUBIC = Crop(scale=(0.08, 1.0), interpolation="bicubic")

SIMCLR_VIEW = View(blur=Blur(probability=0.5))
MOCOV2_VIEW = View(crop=Crop(scale=(0.2, 1.0)), jitter=_WEAK_JITTER,
                   order=("crop", "jitter", "grayscale", "blur", "flip"))  # fmt: skip
# Grey first, and the jitter always: with four times the hue of MoCo v2's.
INSTDISC_VIEW = View(
    crop=Crop(scale=(0.2, 1.0)),
    jitter=Jitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.4, probability=1.0),
    blur=None,
    order=("crop", "grayscale", "jitter", "flip"),
)
ALIGN_UNIFORM_VIEW = INSTDISC_VIEW.but(
    crop=Crop(scale=(0.08, 1.0)), order=("crop", "flip", "jitter", "grayscale")
)
# Quarter turns as well, all four alike.
LOOC_VIEW = MOCOV2_VIEW.but(rotate=1.0, order=("crop", "jitter", "grayscale", "blur", "flip",
                                               "rotate"))  # fmt: skip
WEAK_VIEW = View(crop=Crop(scale=(0.2, 1.0)), jitter=None, grayscale=0.0, blur=None)
CROP_FLIP_VIEW = View(crop=Crop(scale=(0.08, 1.0)), jitter=None, grayscale=0.0, blur=None)
MAE_VIEW = View(crop=Crop(scale=(0.2, 1.0), interpolation="bicubic"),
                jitter=None, grayscale=0.0, blur=None)  # fmt: skip
# The two views differ in blur and solarisation alone; 23 is the odd number at a tenth of 224.
BYOL_VIEW_1 = View(crop=_BICUBIC, jitter=_BYOL_JITTER, blur=Blur(probability=1.0, kernel=23))
BYOL_VIEW_2 = View(crop=_BICUBIC, jitter=_BYOL_JITTER, blur=Blur(probability=0.1, kernel=23),
                   solarize=0.2)  # fmt: skip
_DINO_GLOBAL = Crop(scale=(0.4, 1.0), interpolation="bicubic")
_DINO_LOCAL = Crop(scale=(0.05, 0.4), interpolation="bicubic")
CIFAR_DEBIASED_VIEW = View(jitter=_WEAK_JITTER, blur=Blur(probability=0.5, kernel=3))
CIFAR_RESSL_VIEW = View(crop=Crop(scale=(0.2, 1.0)), jitter=_WEAK_JITTER)

PRESETS: dict[str, Views] = {
    "simclr": Views(first=SIMCLR_VIEW),
    "mocov2": Views(first=MOCOV2_VIEW),
    "instdisc": Views(first=INSTDISC_VIEW),
    "instdisc-one-view": Views(first=INSTDISC_VIEW, num_global=1),
    "align-uniform": Views(first=ALIGN_UNIFORM_VIEW),
    "byol": Views(first=BYOL_VIEW_1, second=BYOL_VIEW_2),
    "byol-symmetric": Views(  # BYOL's Table 17
        first=BYOL_VIEW_1.but({"blur.probability": 0.5, "solarize": 0.2}),
    ),
    "mocov3": Views(  # of its ResNet; its ViT crops from 0.08
        first=BYOL_VIEW_1.but(crop=Crop(scale=(0.2, 1.0))),
        second=BYOL_VIEW_2.but(crop=Crop(scale=(0.2, 1.0))),
    ),
    "dino": Views(
        first=BYOL_VIEW_1.but(crop=_DINO_GLOBAL),
        second=BYOL_VIEW_2.but(crop=_DINO_GLOBAL),
        local=BYOL_VIEW_1.but({"crop": _DINO_LOCAL, "blur.probability": 0.5, "size": 96}),
        num_local=8,
    ),
    "swav": Views(
        first=SIMCLR_VIEW.but({"crop.scale": (0.14, 1.0)}),
        local=SIMCLR_VIEW.but({"crop.scale": (0.05, 0.14), "size": 96}),
        num_local=6,
    ),
    # The large crops from 0.08, as in the table of multi-crop.
    "swav-small": Views(
        first=SIMCLR_VIEW.but(size=160),
        local=SIMCLR_VIEW.but({"crop.scale": (0.05, 0.14), "size": 96}),
        num_local=4,
    ),
    "weak": Views(first=WEAK_VIEW),
    "strong-weak": Views(first=MOCOV2_VIEW, second=WEAK_VIEW),
    "looc": Views(first=LOOC_VIEW, shared=(("jitter", "grayscale"), ("rotate",))),
    "mae": Views(first=MAE_VIEW, num_global=1),
    "crop-flip": Views(first=CROP_FLIP_VIEW),
    "crop-flip-small": Views(
        first=CROP_FLIP_VIEW.but(size=160),
        local=CROP_FLIP_VIEW.but({"crop.scale": (0.05, 0.14), "size": 96}),
        num_local=4,
    ),
    "cifar-debiased": Views(first=CIFAR_DEBIASED_VIEW),
    "cifar-ressl": Views(first=CIFAR_RESSL_VIEW),
}
