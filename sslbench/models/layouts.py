"""How other people's files name the parameters of our encoders.

Inside every file the parameters carry one of five namings (torchvision or timm ResNet, the same
in an `nn.Sequential`, timm ViT, torchvision ViT, the authors' small AlexNet) behind a prefix that
tells who wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sslbench.recipes.base import Spec
from sslbench.recipes.specs import NarrowResNet, ResNet, SmallAlexNet, ViT

# In order of preference: a MoCo file also holds encoder_k, a lightly file a momentum backbone.
PREFIXES: dict[str, str] = {
    "": "torchvision or timm",
    "module.encoder_q.": "MoCo",
    "module.base_encoder.": "MoCo v3",
    "module.encoder.": "SimSiam",
    "module.backbone.": "Barlow Twins or DINO",
    "module.": "SwAV",
    "backbone.": "lightly, solo-learn or DINO",
    "encoder.": "solo-learn before 1.0",
    "_feature_blocks.": "VISSL",
}


@dataclass(frozen=True)
class Naming:
    """One way to name an encoder's parameters.

    `anchor` is a key that every such encoder has, `ours` turns a key into ours (or itself, where
    it is no parameter of the encoder), `inside` matches our names of what an encoder may hold
    too much of when it is deeper than the spec says.
    """

    anchor: str
    ours: Callable[[str], str]
    inside: str


_SEQUENTIAL = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
_TORCHVISION_VIT = (
    (r"^class_token$", "cls_token"),
    (r"^conv_proj\.", "patch_embed.proj."),
    (r"^encoder\.pos_embedding$", "pos_embed"),
    (r"^encoder\.ln\.", "norm."),
    (r"^encoder\.layers\.encoder_layer_(\d+)\.", r"blocks.\1."),
    (r"^(blocks\.\d+\.)ln_([12])\.", r"\1norm\2."),
    (r"^(blocks\.\d+\.)self_attention\.in_proj_", r"\1attn.qkv."),
    (r"^(blocks\.\d+\.)self_attention\.out_proj\.", r"\1attn.proj."),
    (r"^(blocks\.\d+\.)mlp\.0\.", r"\1mlp.fc1."),
    (r"^(blocks\.\d+\.)mlp\.3\.", r"\1mlp.fc2."),
)
_TO_TORCHVISION_VIT = (
    (r"^cls_token$", "class_token"),
    (r"^patch_embed\.proj\.", "conv_proj."),
    (r"^pos_embed$", "encoder.pos_embedding"),
    (r"^norm\.", "encoder.ln."),
    (r"^(blocks\.\d+\.)norm([12])\.", r"\1ln_\2."),
    (r"^(blocks\.\d+\.)attn\.qkv\.", r"\1self_attention.in_proj_"),
    (r"^(blocks\.\d+\.)attn\.proj\.", r"\1self_attention.out_proj."),
    (r"^(blocks\.\d+\.)mlp\.fc1\.", r"\1mlp.0."),
    (r"^(blocks\.\d+\.)mlp\.fc2\.", r"\1mlp.3."),
    (r"^blocks\.(\d+)\.", r"encoder.layers.encoder_layer_\1."),
)


def _renamed(key: str, rules: Iterable[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key


def to_torchvision_vit(key: str) -> str:
    """timm's name of a ViT parameter as torchvision has it."""
    return _renamed(key, _TO_TORCHVISION_VIT)


def _from_torchvision_vit(key: str) -> str:
    return _renamed(key, _TORCHVISION_VIT)


def _from_sequential(key: str) -> str:
    index, _, rest = key.partition(".")
    return f"{_SEQUENTIAL[index]}.{rest}" if index in _SEQUENTIAL else key


def _same(key: str) -> str:
    return key


_RESNETS = (
    Naming("layer1.0.conv1.weight", _same, r"layer\d+\."),
    Naming("4.0.conv1.weight", _from_sequential, r"layer\d+\."),
)
_VITS = (
    Naming("blocks.0.norm1.weight", _same, r"blocks\."),
    Naming("encoder.layers.encoder_layer_0.ln_1.weight", _from_torchvision_vit, r"blocks\."),
)
_ALEXNETS = (Naming("blocks.6.0.weight", _same, r"blocks\.[0-6]\."),)
NAMINGS: dict[type[Spec], tuple[Naming, ...]] = {
    ResNet: _RESNETS,
    NarrowResNet: _RESNETS,
    ViT: _VITS,
    SmallAlexNet: _ALEXNETS,
}


def find_encoder(keys: Iterable[str], namings: Iterable[Naming]) -> tuple[Naming, str] | None:
    """The naming and prefix of the encoder in a file, or None where there is none.

    Of several encoders the one whose prefix comes first in `PREFIXES`; unknown prefixes are
    last, the shortest first.
    """
    known = list(PREFIXES)
    keys = list(keys)
    found = [
        (naming, key.removesuffix(naming.anchor))
        for naming in namings
        for key in keys
        if key == naming.anchor or key.endswith("." + naming.anchor)
    ]
    if not found:
        return None

    def preference(candidate: tuple[Naming, str]) -> tuple[int, int]:
        prefix = candidate[1]
        return (known.index(prefix) if prefix in known else len(known), len(prefix))

    return min(found, key=preference)
