"""Encoder files: ours for other tools, and other people's for our protocols."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from sslbench.errors import UserError
from sslbench.models.encoders import build_encoder
from sslbench.models.files import read_tensors
from sslbench.models.layouts import NAMINGS, PREFIXES, find_encoder, to_torchvision_vit
from sslbench.recipes.base import Spec
from sslbench.recipes.specs import ResNet, ViT

Layout = Literal["torchvision", "timm"]


@dataclass(frozen=True)
class LoadReport:
    """What was found in a file: who wrote it, how many tensors were taken, which keys were not
    (heads, momentum encoders, optimiser state), and notes on what was changed."""

    layout: str
    loaded: int
    ignored: tuple[str, ...]
    notes: tuple[str, ...] = ()


def export_encoder(
    encoder: nn.Module, spec: Spec, path: Path, layout: Layout = "torchvision"
) -> None:
    """Write an encoder's weights as safetensors, whole or not at all.

    Args:
        encoder: from `build_encoder(spec, ...)`.
        layout: key names of torchvision's or timm's model. They differ for a ViT only. A mean-
            pooled ViT is timm's with `global_pool="avg", fc_norm=False`.
    Raises:
        UserError: an encoder without weights, or no such layout.
    """
    from safetensors.torch import save_file

    if type(spec) not in NAMINGS:
        raise UserError(f"{type(spec).__name__} has no weights to export.")
    if layout not in ("torchvision", "timm"):
        raise UserError(f"no layout '{layout}'; known: torchvision, timm")
    rename = isinstance(spec, ViT) and layout == "torchvision"
    state = {
        to_torchvision_vit(key) if rename else key: value.detach().cpu().contiguous()
        for key, value in encoder.state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        save_file(state, temporary, metadata={"format": "pt", "layout": layout})
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_encoder_file(path: Path, spec: Spec, *, resolution: int) -> tuple[nn.Module, LoadReport]:
    """An encoder with the weights of a file, from whatever project wrote it.

    Known are the files of torchvision, timm, MoCo, MoCo v3, SimSiam, SwAV, Barlow Twins, DINO,
    MAE, VISSL, lightly and solo-learn (see `PREFIXES`); others load if they hold one encoder of
    a known naming. Every parameter must be in the file; only a ViT's positions are resampled to
    the resolution.

    Args:
        path: `.safetensors`, or a PyTorch file, which is never allowed to run code.
        spec: the encoder that the file holds.
        resolution: side of the images it will see.
    Raises:
        UserError: an unreadable file, no such encoder in it, or one of another shape.
    """
    if type(spec) not in NAMINGS:
        raise UserError(f"{type(spec).__name__} has no weights to load.")
    tensors, inside = read_tensors(path)
    found = find_encoder(tensors, NAMINGS[type(spec)])
    if found is None:
        raise UserError(f"{path}: {_what_it_holds(tensors, spec)}")
    naming, prefix = found
    layout = _layout(prefix, inside)
    if layout == "MoCo v3" and isinstance(spec, ViT):
        width, _, heads = spec.shape()
        if width == 384 and heads != 12:  # the shapes agree, so that nothing else would notice
            raise UserError(
                f"{path}: MoCo v3's ViT-S has 12 attention heads, not {heads}; set "
                "encoder.heads=12."
            )
    names = {
        naming.ours(key.removeprefix(prefix)): key for key in tensors if key.startswith(prefix)
    }
    state = {ours: tensors[key] for ours, key in names.items()}
    encoder = build_encoder(spec, resolution=resolution)
    wanted = encoder.state_dict()
    notes = _resample_positions(state, wanted)
    _check(path, spec, state, wanted, inside=naming.inside)
    state = {name: state[name].to(value) for name, value in wanted.items() if name in state}
    encoder.load_state_dict({**wanted, **state})
    ignored = sorted(set(tensors) - {names[ours] for ours in state})
    return encoder, LoadReport(layout, len(state), tuple(ignored), notes)


def _layout(prefix: str, inside: tuple[str, ...]) -> str:
    if "trunk" in inside:
        return "VISSL"
    for role in ("teacher", "student"):
        if role in inside:
            return f"DINO {role}"
    return PREFIXES.get(prefix, f"unknown, prefix '{prefix}'")


def _what_it_holds(tensors: dict[str, Tensor], spec: Spec) -> str:
    for other, namings in NAMINGS.items():
        if find_encoder(tensors, namings) is not None:
            return f"holds a {other.__name__}, not a {type(spec).__name__}; change encoder.kind."
    some = ", ".join(f"'{key}'" for key in sorted(tensors)[:3])
    return (
        f"no {type(spec).__name__} recognised among its {len(tensors)} tensors ({some}, ...); "
        "export the encoder with torchvision's or timm's names."
    )


def _resample_positions(state: dict[str, Tensor], wanted: dict[str, Tensor]) -> tuple[str, ...]:
    """Bring a ViT's positions to the wanted grid, in place; what was done, as notes."""
    given, target = state.get("pos_embed"), wanted.get("pos_embed")
    if given is None or target is None or given.dim() != 3 or given.shape[1] == target.shape[1]:
        return ()
    old, new = (round((x.shape[1] - 1) ** 0.5) for x in (given, target))
    if old * old + 1 != given.shape[1]:
        return ()  # no square grid behind a class token: the check of shapes will say so
    from timm.layers.pos_embed import resample_abs_pos_embed

    state["pos_embed"] = resample_abs_pos_embed(given.float(), [new, new], [old, old])
    return (f"positions resampled from {old}x{old} to {new}x{new} patches",)


def _check(
    path: Path, spec: Spec, state: dict[str, Tensor], wanted: dict[str, Tensor], *, inside: str
) -> None:
    """Raise UserError unless the state fills the encoder, in shape, and holds no more of it."""
    # Files from before torch 0.4.1 have no counters; nothing here reads them.
    missing = [k for k in wanted if k not in state and not k.endswith("num_batches_tracked")]
    extra = [k for k in state if k not in wanted and re.match(inside, k)]
    differing = [k for k in wanted if k in state and state[k].shape != wanted[k].shape]
    kind = ", ".join(f"{name}={value}" for name, value in spec.leaves())
    if missing or extra:
        what = f"lacks '{missing[0]}'" if missing else f"also holds '{extra[0]}'"
        more = len(missing) + len(extra) - 1
        raise UserError(
            f"{path}: {what} ({more} more such keys), so it is another architecture than "
            f"{type(spec).__name__}({kind}); change the encoder."
        )
    if differing:
        name = differing[0]
        stem = isinstance(spec, ResNet) and differing == ["conv1.weight"]
        advice = "change encoder.stem." if stem else "change the encoder."
        raise UserError(
            f"{path}: '{name}' is {_shape(state[name])} where {type(spec).__name__}({kind}) "
            f"has {_shape(wanted[name])}; {advice}"
        )


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"
