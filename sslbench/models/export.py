"""Encoder files: ours for other tools, and other people's for our protocols."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from sslbench.errors import UserError
from sslbench.files import write_atomically
from sslbench.memory import require_memory
from sslbench.models.card import EncoderCard, card_of
from sslbench.models.choosing import choose_encoder
from sslbench.models.encoders import build_encoder
from sslbench.models.files import Contents, read_contents, safetensors_bytes
from sslbench.models.layouts import NAMINGS, PREFIXES, Found, namings_of, to_torchvision_vit
from sslbench.models.positions import WAYS, Resampling, resample_positions
from sslbench.models.unsaid import check_unsaid, resampling_of
from sslbench.recipes.base import Spec
from sslbench.recipes.specs import LibraryEncoder, NarrowResNet, ResNet, Timm, ViT

Layout = Literal["torchvision", "timm"]
_FIRST_LAYERS = ("conv1.weight", "patch_embed.proj.weight", "blocks.0.0.weight")


@dataclass(frozen=True)
class LoadReport:
    """What was found in a file.

    Attributes:
        layout: who wrote it, as far as the names tell.
        prefix: of the encoder's keys.
        loaded: how many tensors were taken.
        ignored: keys that were not (heads, second encoders, optimiser state).
        notes: what was changed, or taken for granted.
    """

    layout: str
    prefix: str
    loaded: int
    ignored: tuple[str, ...]
    notes: tuple[str, ...] = ()


def export_encoder(
    encoder: nn.Module,
    spec: Spec,
    path: Path,
    layout: Layout = "torchvision",
    card: EncoderCard | None = None,
) -> None:
    """Write an encoder's weights as safetensors, whole or not at all.

    Args:
        encoder: from `build_encoder(spec, ...)`.
        layout: key names of torchvision's or timm's model. They differ for a ViT only, and a
            library's network has its own. A mean-pooled ViT is timm's with `global_pool="avg",
            fc_norm=False`.
        card: kept in the file, so that it can be imported without saying what it is.
    Raises:
        UserError: an encoder without weights, no such layout or not this network's, another
            suffix than `.safetensors`, or a place that cannot be written.
    """
    if not isinstance(spec, LibraryEncoder) and type(spec) not in NAMINGS:
        raise UserError(f"{type(spec).__name__} has no weights to export.")
    if layout not in ("torchvision", "timm"):
        raise UserError(f"No layout '{layout}'; known: torchvision, timm.")
    usual = usual_layout(spec)
    if isinstance(spec, LibraryEncoder) and layout != usual:
        raise UserError(
            f"{layout} has no key names for {spec.name}, which is {usual}'s; export it with "
            f"--to {usual}."
        )
    if path.suffix != ".safetensors" and not path.is_dir():
        raise UserError(f"{path}: encoders are written as safetensors; name a .safetensors file.")
    rename = isinstance(spec, ViT) and layout == "torchvision"
    state = {
        to_torchvision_vit(key) if rename else key: value
        for key, value in encoder.state_dict().items()
    }
    metadata = {"layout": layout, **(card.to_metadata() if card else {})}
    write_atomically(path, safetensors_bytes(state, metadata))


def usual_layout(spec: Spec) -> Layout:
    """torchvision's key names, unless the network is timm's."""
    return "timm" if isinstance(spec, Timm) else "torchvision"


def load_encoder_file(
    path: Path,
    spec: Spec,
    *,
    resolution: int,
    part: str | None = None,
    positions: Resampling | None = None,
) -> tuple[nn.Module, LoadReport]:
    """An encoder with the weights of a file, from whatever project wrote it.

    Known are the files of torchvision, timm, MoCo, MoCo v3, SimSiam, SwAV, Barlow Twins, DINO,
    MAE, VISSL, SupContrast, lightly and solo-learn (see `PREFIXES`); others load if they hold one
    encoder of a known naming. Every parameter must be in the file; only a ViT's positions are
    resampled to the resolution.

    Args:
        path: `.safetensors`, or a PyTorch file, which is never allowed to run code.
        spec: the encoder that the file holds.
        resolution: side of the images it will see.
        part: the prefix of the encoder's keys, or its beginning, where there are several.
        positions: how a ViT's are resampled; None: as the project does that wrote the file.
    Raises:
        UserError: an unreadable file, no such encoder in it, several, or one of another shape.
    """
    namings = namings_of(spec, resolution)
    if not namings:
        raise UserError(f"{type(spec).__name__} has no weights to load.")
    contents = read_contents(path)
    tensors = contents.tensors
    found = choose_encoder(path, tensors, spec, namings=namings, part=part)
    _check_depth(path, spec, tensors)
    names = found.names(tensors)
    state = {ours: tensors[key] for ours, key in names.items()}
    encoder = _built(path, spec, resolution)
    wanted = encoder.state_dict()
    _check_values(path, state, wanted)
    card = card_of(path, contents.metadata)
    own = card is not None and card.encoder == spec
    timms = own or isinstance(spec, Timm)
    how = positions or ("timm" if timms else resampling_of(tensors, found))
    notes = _resample(path, state, wanted, how)
    _check(path, spec, state, wanted, inside=found.naming.inside)
    if not own:
        notes += check_unsaid(path, spec, tensors, found)
    state = {name: state[name].to(value) for name, value in wanted.items() if name in state}
    encoder.load_state_dict({**wanted, **state})
    ignored = sorted(set(tensors) - {names[ours] for ours in state})
    layout = "sslbench" if own else layout_of(found, contents)
    return encoder, LoadReport(layout, found.prefix, len(state), tuple(ignored), notes)


def layout_of(found: Found, contents: Contents) -> str:
    """Who wrote a file, by where its encoder lies."""
    groups = [g for g in contents.groups if found.prefix.startswith(g)]
    inner = found.prefix.removeprefix(max(groups, key=len))
    words = found.prefix.split(".")
    if "trunk" in words:
        return "VISSL"
    for role in ("teacher", "student"):
        if role in words:
            return f"DINO {role}"
    if any(word.startswith("online_") for word in words):
        return "BYOL, online network"
    return PREFIXES.get(inner, f"unknown, prefix '{inner}'")


def _built(path: Path, spec: Spec, resolution: int) -> nn.Module:
    """The encoder, once it is known to fit the memory."""
    if not isinstance(spec, LibraryEncoder):  # whose builder looks itself
        with torch.device("meta"):
            sizes = build_encoder(spec, resolution=resolution).state_dict().values()
        num_bytes = sum(t.numel() * t.element_size() for t in sizes)
        what = f"{path}: a {type(spec).__name__} for images of {resolution} pixels"
        require_memory(num_bytes, what=what, remedy="use a machine with more")
    return build_encoder(spec, resolution=resolution)


def _check_depth(path: Path, spec: Spec, tensors: Mapping[str, Tensor]) -> None:
    """Raise UserError where the spec has more blocks than the file has tensors."""
    if isinstance(spec, ViT):
        depth = spec.shape()[1]
    else:
        depth = sum(spec.blocks) if isinstance(spec, NarrowResNet) else 0
    if depth > len(tensors):
        raise UserError(
            f"{path}: holds {len(tensors)} tensors, too few for {depth} blocks; change the encoder."
        )


def _resample(
    path: Path, state: dict[str, Tensor], wanted: Mapping[str, Tensor], how: Resampling | None
) -> tuple[str, ...]:
    """Bring a ViT's positions to the wanted grid, in place; what was done, as notes."""
    given, target = state.get("pos_embed"), wanted.get("pos_embed")
    if given is None or target is None or given.dim() != 3 or given.shape[1] == target.shape[1]:
        return ()
    old, new = (round((x.shape[1] - 1) ** 0.5) for x in (given, target))
    if old < 1 or old * old + 1 != given.shape[1] or given.shape[0] != 1:
        return ()  # no square grid behind a class token: the check of shapes will say so
    if how is None:
        raise UserError(
            f"{path}: its {old}x{old} positions must become {new}x{new}, which DINO, MAE and timm "
            "do differently, and the file does not tell whose it is; say --positions dino, mae or "
            "timm."
        )
    state["pos_embed"] = resample_positions(given, new, how)
    return (f"positions resampled from {old}x{old} to {new}x{new} patches, {WAYS[how]}",)


def _check_values(path: Path, state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Raise UserError where a tensor is not plain floating-point numbers, or not finite."""
    for name in wanted.keys() & state.keys():
        tensor = state[name]
        plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
        if not plain or tensor.is_quantized or tensor.is_complex():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise UserError(
                f"{path}: '{name}' holds no plain real numbers ({kind}, {tensor.layout}, "
                f"{tensor.device.type}); export it as float32."
            )
        if wanted[name].is_floating_point() and not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise UserError(
                f"{path}: '{name}' holds whole numbers ({kind}), as a quantised encoder does; "
                "export it as float32."
            )
        if not bool(torch.isfinite(tensor.float()).all()):
            raise UserError(
                f"{path}: '{name}' holds values that are not finite, so the file is damaged or "
                "its training diverged; get another."
            )


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
    if not differing:
        return
    name = differing[0]
    if name in _FIRST_LAYERS and state[name].dim() == 4 and state[name].shape[1] != 3:
        raise UserError(
            f"{path}: its first layer takes images of {state[name].shape[1]} channels ('{name}' "
            f"is {_shape(state[name])}), and all data here have three; an encoder of grey images "
            "can be imported with that layer's weight repeated three times and divided by three."
        )
    advice = "change the encoder."
    if isinstance(spec, ResNet) and differing == ["conv1.weight"]:
        stem = spec.arch if spec.stem == "small" else f"{spec.arch}-small"
        advice = f"it has another stem: try --encoder {stem}."
    raise UserError(
        f"{path}: '{name}' is {_shape(state[name])} where {type(spec).__name__}({kind}) "
        f"has {_shape(wanted[name])}; {advice}"
    )


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"
