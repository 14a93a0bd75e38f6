"""How deep in a network each parameter lies, and rates that fall with the distance from the head.

timm's own groups only hold an `lr_scale`, which only timm's schedulers read: with another schedule
the decay is silently off. Here it is multiplied into the rate of the group itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sslbench.errors import UserError

_HEAD = "head."  # before the names of the head's parameters in a Classifier
_ENCODER = "encoder."
_UNDECAYED = re.compile(r"(^|\.)(pos_embed|pos_embedding|cls_token|class_token|reg_token)$")
# Of each structure: what comes first, a block's name, and what comes after the last one.
_VITS = (
    (r"(cls_token|reg_token|pos_embed|patch_embed\.|norm_pre\.)", r"blocks\.(\d+)\.",
     r"(norm|fc_norm)\."),
    (r"(class_token|conv_proj\.|encoder\.pos_embedding)", r"encoder\.layers\.encoder_layer_(\d+)\.",
     r"encoder\.ln\."),
)  # fmt: skip
_ATTENTION = re.compile(r"\.(attn|self_attention)\.")
_RESNET = (r"(conv1|bn1)\.", r"layer(\d+)\.(\d+)\.")


@dataclass(frozen=True)
class LayerMap:
    """The layer of every parameter of an encoder.

    Attributes:
        layers: by the parameter's name: 0 for what meets the image (patch embedding, class token,
            positions, stem), i + 1 for block i, L + 1 for a norm behind the last block.
        num_blocks: L. The head is layer L + 1.
        transformer: whether the blocks are a transformer's.
    """

    layers: Mapping[str, int]
    num_blocks: int
    transformer: bool

    @property
    def head(self) -> int:
        """The layer of the head."""
        return self.num_blocks + 1


def layer_map(encoder: nn.Module) -> LayerMap | None:
    """The layers of a ViT (ours, timm's, torchvision's) or a ResNet; None of any other structure.

    Source: He et al. 2021 (MAE), App. A.1, after Bao et al. 2021 (BEiT); a ResNet's blocks are the
    residual ones, in order, and its stem is layer 0.
    """
    names = [name for name, _ in encoder.named_parameters()]
    attends = any(_ATTENTION.search(name) for name in names)  # as no mixer or AlexNet does
    for first, block, last in _VITS if attends else ():
        found = {name: _vit_layer(name, first, block, last) for name in names}
        blocks = [layer for layer in found.values() if layer is not None and layer > 0]
        if blocks and None not in found.values():
            depth = max(blocks)
            known = {n: depth + 1 if layer == -1 else layer for n, layer in found.items()}
            return LayerMap(_complete(known), depth, True)
    return _resnet_map(names)


def rate_groups(
    module: nn.Module, layers: LayerMap | None, *, rate: float, decay: float, weight_decay: float
) -> list[dict[str, Any]]:
    """torch's parameter groups of an encoder and a head: what is trained, by its layer's rate.

    Layer k of L blocks has the rate times decay^(L + 1 - k), the head the rate itself. Biases,
    norms, positions and tokens have no weight decay.

    Args:
        module: has its encoder as `encoder` and the new part as `head`.
        layers: of the encoder; None where they are not known.
        rate: of the head.
        decay: in (0, 1]; 1 is one rate for all.
        weight_decay: of matrices and kernels.
    Raises:
        UserError: the decay is out of its range, or is not 1 and the layers are not known.
    """
    if not 0 < decay <= 1:
        raise UserError(f"layer decay {decay:g} must lie above 0 and be at most 1.")
    if layers is None and decay != 1:
        raise UserError(
            f"layer decay {decay:g} needs a ViT or a ResNet, whose layers are known; use a decay "
            f"of 1 for {type(module.get_submodule('encoder')).__name__}."
        )
    head = 0 if layers is None else layers.head
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            own = name.removeprefix(_ENCODER)
            layer = head if layers is None or name.startswith(_HEAD) else layers.layers[own]
            decayed = parameter.ndim > 1 and not _UNDECAYED.search(own)
            groups.setdefault((layer, decayed), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": rate * decay ** (head - layer),
            "base_lr": rate * decay ** (head - layer),
            "constant": False,
            "weight_decay": weight_decay if decayed else 0.0,
        }
        for (layer, decayed), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def set_drop_path(encoder: nn.Module, rate: float) -> None:
    """Give a timm ViT stochastic depth, in place: from 0 at its first block linearly to `rate` at
    its last. Other networks are left as they are.

    Source: Huang et al. 2016, arXiv:1603.09382, Sec. 3, "linear decay".
    """
    from timm.layers.drop import DropPath
    from timm.models.vision_transformer import Block, VisionTransformer

    if not isinstance(encoder, VisionTransformer):
        return
    blocks = [block for block in encoder.blocks if isinstance(block, Block)]
    for block, drop in zip(blocks, torch.linspace(0, rate, len(blocks)).tolist(), strict=True):
        for name in ("drop_path1", "drop_path2"):
            setattr(block, name, DropPath(drop) if drop > 0 else nn.Identity())


def train_last(encoder: nn.Module, layers: LayerMap, *, blocks: float) -> None:
    """Let gradients into the last blocks alone, and what lies behind them.

    Args:
        blocks: how many; 0 is none of the encoder, 0.5 the MLP of the last block with its norm, and
            one more than there are is all, with what lies before them.
    Source: He et al. 2021 (MAE), Sec. 4.4: "fine-tune the last several layers while freezing the
    others"; the half block is "MLP sub-block" there.
    """
    half = re.compile(r"(^|\.)(mlp|norm2|ls2|ln_2)\.")
    for name, parameter in encoder.named_parameters():
        layer = layers.layers[name]
        trained = blocks > 0 and layer > layers.num_blocks - int(blocks)
        if blocks == 0.5 and layer == layers.num_blocks:
            trained = half.search(name) is not None
        parameter.requires_grad_(trained)


def set_modes(module: nn.Module, *, training: bool = True) -> None:
    """Training mode where something is trained, evaluation mode where all is frozen: a frozen batch
    norm keeps its statistics. What has no parameters follows what it is part of."""
    own = next(module.parameters(), None)
    module.training = training if own is None else any(p.requires_grad for p in module.parameters())
    for child in module.children():
        set_modes(child, training=module.training)


def _vit_layer(name: str, first: str, block: str, last: str) -> int | None:
    """0, a block's number from 1, -1 for what follows the last one; None where it is neither."""
    if re.match(first, name):
        return 0
    if found := re.match(block, name):
        return int(found[1]) + 1
    return -1 if re.match(last, name) else None


def _resnet_map(names: list[str]) -> LayerMap | None:
    first, block = _RESNET
    blocks = {(int(m[1]), int(m[2])) for name in names if (m := re.match(block, name))}
    places = {found: place + 1 for place, found in enumerate(sorted(blocks))}
    layers: dict[str, int | None] = {}
    for name in names:
        found = re.match(block, name)
        stem = 0 if re.match(first, name) else None
        layers[name] = places[int(found[1]), int(found[2])] if found else stem
    if not blocks or None in layers.values():
        return None
    return LayerMap(_complete(layers), len(blocks), False)


def _complete(layers: Mapping[str, int | None]) -> dict[str, int]:
    return {name: layer for name, layer in layers.items() if layer is not None}
