"""What the shapes in a file do not tell about its encoder: told by its author's layout, or asked.

A wrong guess fills every parameter and gives other features, so that nothing else would notice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from sslbench.errors import UserError
from sslbench.models.layouts import TORCHVISION_VIT, Found
from sslbench.models.positions import Resampling
from sslbench.recipes.base import Spec
from sslbench.recipes.specs import ResNet, ViT

_ANYONES = re.compile(r"(.*\.)?(module\.)?(backbone\.|encoder\.)?")  # many projects' prefixes


def resampling_of(tensors: Mapping[str, Tensor], found: Found) -> Resampling | None:
    """How the project that wrote a ViT's file brings its positions to another size; None where
    the file does not tell.

    A bare encoder may be DINO's or timm's, unless a classifier stands beside it, as in timm's.
    """
    prefix = found.prefix
    outside = re.sub(r"backbone\.$", "", prefix)
    if found.naming.name == TORCHVISION_VIT:
        return "torchvision"
    roles = {"teacher", "student"} & set(prefix.split("."))
    if roles or any(key.startswith(f"{outside}head.last_layer.") for key in tensors):
        return "dino"
    if any(key.startswith((f"{prefix}mask_token", f"{prefix}decoder_")) for key in tensors):
        return "mae"
    if f"{prefix}head.weight" in tensors or not _ANYONES.fullmatch(prefix):
        return "timm"
    return None


def check_unsaid(
    path: Path, spec: Spec, tensors: Mapping[str, Tensor], found: Found
) -> tuple[str, ...]:
    """Notes on what is taken for granted of an encoder. Raises UserError with the question where
    the file leaves heads or stem open, or differs from the spec in them."""
    _check_stem(path, spec, tensors, found)
    if isinstance(spec, ViT):
        _check_heads(path, spec, tensors, found)
    open_pool = isinstance(spec, ResNet) and spec.stem == "small" and found.naming.pooled is None
    return ("small stem taken to have stride 1 and no max-pool",) if open_pool else ()


def _check_heads(path: Path, spec: ViT, tensors: Mapping[str, Tensor], found: Found) -> None:
    """Raise UserError where a ViT's number of heads is wrong, or open and not said.

    Widths below 768 have other heads in other projects: at 384, MoCo v3 has 12, all others 6.
    """
    width, _, heads = spec.shape()
    if "base_encoder." in found.prefix:
        if width == 384 and heads != 12:
            raise UserError(
                f"{path}: MoCo v3's ViT-S has 12 attention heads, not {heads}; say --heads 12."
            )
        return
    if spec.heads is not None or width >= 768:
        return
    positions = tensors.get(f"{found.prefix}pos_embed")
    # The class token has no position in MoCo v3 and MAE: its row is zero, and never trained.
    fixed = positions is not None and not positions[:, 0].any()
    project = resampling_of(tensors, found)
    known = project == "dino" or (found.prefix == "" and project != "mae")
    if fixed or not known:
        raise UserError(
            f"{path}: a ViT {width} wide has {heads} attention heads in most projects and 12 in "
            f"MoCo v3's, and the file does not tell; say --heads {heads} or --heads 12."
        )


def _check_stem(path: Path, spec: Spec, tensors: Mapping[str, Tensor], found: Found) -> None:
    """Raise UserError where a ResNet's stem is another than the spec's, or open and not said."""
    naming, prefix = found.naming, found.prefix
    small = getattr(spec, "stem", "small") == "small"
    arch = getattr(spec, "arch", "resnet18")
    if naming.pooled is False and not small:
        raise UserError(
            f"{path}: its Sequential has no max-pool behind the stem, which {arch} has; no encoder "
            "here is like that."
        )
    if not naming.relu and getattr(spec, "stem_relu", True):
        raise UserError(
            f"{path}: its Sequential has no ReLU behind the stem, as lightly's ResNet has none "
            f"there; say --encoder {arch}-small-norelu."
        )
    if not isinstance(spec, ResNet) or not small or spec.stem_padding is not None:
        return
    said = naming.name != "ResNet" or any("shortcut" in key for key in tensors)
    inner = re.sub(r"^(.*\.)?(?=(backbone|encoder)\.$)", "", prefix)
    if said or inner not in ("backbone.", "encoder."):
        return
    if f"{prefix.removesuffix(inner)}classifier.weight" in tensors:
        raise UserError(
            f"{path}: a file of solo-learn, whose small stem pads by 2 pixels; say --encoder "
            f"{arch}-small-pad2."
        )
    raise UserError(
        f"{path}: solo-learn's small stem pads by 2 pixels, others' by 1, and the file does not "
        f"tell; say --encoder {arch}-small-pad2 or --encoder {arch}-small-pad1."
    )
