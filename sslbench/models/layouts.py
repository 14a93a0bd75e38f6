"""How other people's files name the parameters of our encoders.

Inside every file the parameters carry one of a few namings (torchvision or timm ResNet, three ways
of putting one into an `nn.Sequential`, timm ViT, torchvision ViT, the authors' small AlexNet)
behind a prefix that tells who wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sslbench.models.libraries import library_keys
from sslbench.recipes.base import Spec
from sslbench.recipes.specs import LibraryEncoder, NarrowResNet, ResNet, SmallAlexNet, ViT

PREFIXES: dict[str, str] = {
    "": "torchvision or timm",
    "module.encoder_q.": "MoCo",
    "module.encoder_q.net.": "MoCo's CIFAR demo",
    "encoder_q.net.": "MoCo's CIFAR demo",
    "module.base_encoder.": "MoCo v3",
    "module.encoder.": "SimSiam",
    "encoder.module.": "SupContrast",
    "module.backbone.": "Barlow Twins or DINO",
    "module.": "SwAV, or another behind DataParallel",
    "module.f.": "a SimCLR port",
    "f.": "a SimCLR port",
    "backbone.": "lightly, solo-learn or DINO",
    "teacher_backbone.": "lightly",
    "encoder.": "solo-learn before 1.0 or SupContrast",
    "_feature_blocks.": "VISSL",
}
# A method's second encoder by its name, and the one that its paper evaluates: MoCo's query,
# BYOL's online network, DINO's teacher. Applied to prefixes without their "module.".
_SECOND_TO_FIRST = (
    (r"encoder_k\b", "encoder_q"),
    (r"\bstudent(?=\b|_)", "teacher"),
    (r"\btarget_(?=network|encoder|net\b)", "online_"),
    (r"\bmomentum_encoder\b", "base_encoder"),
    (r"\bmomentum_(?=encoder|backbone)", ""),
    (r"\b(backbone|encoder)_momentum\b", r"\1"),
)


@dataclass(frozen=True)
class Naming:
    """One way to name an encoder's parameters.

    Attributes:
        name: for reports.
        anchor: a key that every such encoder has.
        ours: turns a key into ours, or itself where it is no parameter of the encoder.
        inside: matches our names of what an encoder may hold too much of when it is deeper than
            the spec says.
        absent: a key that an encoder of this naming cannot have beside the anchor.
        pooled: whether there is a place for a max-pooling after the stem; None where the names
            do not tell.
        relu: whether there is a place for a ReLU after the stem's batch norm.
    """

    name: str
    anchor: str
    ours: Callable[[str], str]
    inside: str
    absent: str = "-"
    pooled: bool | None = None
    relu: bool = True


@dataclass(frozen=True)
class Found:
    """An encoder in a file: how its parameters are named, behind which prefix."""

    naming: Naming
    prefix: str

    def names(self, keys: Iterable[str]) -> dict[str, str]:
        """Our name of each of its parameters to the key in the file."""
        inside = [key for key in keys if key.startswith(self.prefix)]
        return {self.naming.ours(key.removeprefix(self.prefix)): key for key in inside}


TORCHVISION_VIT = "torchvision's ViT"
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


def _from_torchvision_resnet(key: str) -> str:
    """SupContrast's and lightly's ResNets call a block's projection `shortcut`."""
    return re.sub(r"^(layer\d+\.\d+\.)shortcut\.", r"\1downsample.", key)


def _sequential(first: int, *, pooled: bool | None, relu: bool) -> Naming:
    """A ResNet's children in an `nn.Sequential`, in which the first stage is number `first`."""
    names = {"0": "conv1", "1": "bn1", **{str(first + i): f"layer{i + 1}" for i in range(4)}}

    def ours(key: str) -> str:
        index, _, rest = key.partition(".")
        return _from_torchvision_resnet(f"{names[index]}.{rest}") if index in names else key

    return Naming(
        f"ResNet in a Sequential, stages from {first}",
        f"{first}.0.conv1.weight",
        ours,
        r"layer\d+\.",
        absent=f"{first - 1}.0.conv1.weight",
        pooled=pooled,
        relu=relu,
    )


def _same(key: str) -> str:
    return key


_RESNETS = (
    Naming("ResNet", "layer1.0.conv1.weight", _from_torchvision_resnet, r"layer\d+\."),
    _sequential(4, pooled=None, relu=True),  # the fourth may be an Identity
    _sequential(3, pooled=False, relu=True),
    _sequential(2, pooled=False, relu=False),  # lightly's, whose ReLU is no module
)
_VITS = (
    Naming("ViT", "blocks.0.norm1.weight", _same, r"blocks\."),
    Naming(
        TORCHVISION_VIT, "encoder.layers.encoder_layer_0.ln_1.weight", _from_torchvision_vit,
        r"blocks\.",
    ),
)  # fmt: skip
_ALEXNETS = (Naming("SmallAlexNet", "blocks.6.0.weight", _same, r"blocks\.[0-6]\."),)
NAMINGS: dict[type[Spec], tuple[Naming, ...]] = {
    ResNet: _RESNETS,
    NarrowResNet: _RESNETS,
    ViT: _VITS,
    SmallAlexNet: _ALEXNETS,
}


def namings_of(spec: Spec, resolution: int) -> tuple[Naming, ...]:
    """The ways in which files name an encoder's parameters; none for one without a known naming."""
    if isinstance(spec, LibraryEncoder):
        return (_library_naming(spec, library_keys(spec, resolution)),)
    return NAMINGS.get(type(spec), ())


def _library_naming(spec: LibraryEncoder, keys: list[str]) -> Naming:
    """A library's network has one naming, its own. What lies in numbered places, as blocks do, is
    inside; classifiers are not."""
    anchor = next(a for a in keys if not any(key.endswith(f".{a}") for key in keys))
    tops = {key.split(".")[0] for key in keys if re.match(r"\w+\.\d+\.", key)}
    inside = "|".join(sorted(tops - {"classifier", "head", "heads"})) or "-"
    return Naming(f"{type(spec).__name__} {spec.name}", anchor, _same, rf"({inside})\.")


def find_encoders(keys: Iterable[str], namings: Iterable[Naming]) -> list[Found]:
    """Every encoder in a file by its keys, in the order of the prefixes' names."""
    present = set(keys)
    found = [
        Found(naming, key.removesuffix(naming.anchor))
        for naming in namings
        for key in present
        if key == naming.anchor or key.endswith("." + naming.anchor)
    ]
    real = [f for f in found if f.prefix + f.naming.absent not in present]
    return sorted(real, key=lambda f: f.prefix)


def without_seconds(found: list[Found]) -> list[Found]:
    """Those encoders that are not the second of a known pair: of MoCo's the query, of BYOL's the
    online network, of DINO's the teacher, whatever the order of the keys."""
    bare = {_bare(f.prefix) for f in found}

    def is_second(prefix: str) -> bool:
        firsts = (re.sub(a, b, prefix) for a, b in _SECOND_TO_FIRST)
        return any(first != prefix and first in bare for first in firsts)

    return [f for f in found if not is_second(_bare(f.prefix))]


def _bare(prefix: str) -> str:
    return re.sub(r"(^|\.)module\.", r"\1", prefix)
