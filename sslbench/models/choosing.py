"""Which of a file's encoders is meant, and what a file without one holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from sslbench.errors import UserError
from sslbench.models.layouts import NAMINGS, Found, Naming, find_encoders, without_seconds
from sslbench.recipes.base import Spec
from sslbench.recipes.specs import ViT

# ViTs of other projects, by a key that only they have.
_OTHER_VITS = (
    (r"ls1\.gamma$", "DINOv2's or another ViT with LayerScale, whose blocks scale what they add"),
    (r"(^|\.)fc_norm\.weight$", "a ViT whose norm comes after its pooling (fc_norm), as MAE's "
     "fine-tuned ones and timm's with global_pool=\"avg\""),
    (r"relative_position_bias_table$|q_bias$", "BEiT's or another ViT with relative positions"),
    (r"dist_token$", "DeiT's distilled ViT, which has a second token"),
    (r"reg(ister)?_tokens?$", "a ViT with register tokens"),
    (r"attn\.q_norm\.weight$", "a ViT that normalises its queries and keys"),
    (r"(^|\.)(norm_pre|patch_embed\.norm)\.weight$", "a ViT that normalises its patches first"),
    (r"embeddings\.patch_embeddings\.", "a ViT with the key names of transformers"),
)  # fmt: skip


def choose_encoder(
    path: Path,
    tensors: Mapping[str, Tensor],
    spec: Spec,
    *,
    namings: Sequence[Naming],
    part: str | None,
) -> Found:
    """The encoder in a file that is to be judged.

    Of MoCo's two it is the query, of BYOL's the online network, of DINO's the teacher; copies of
    one encoder are one.

    Args:
        namings: in which the spec's parameters may be.
        part: the prefix of the encoder's keys, or its beginning; chooses among several.
    Raises:
        UserError: none of the spec's kind, several that no rule decides between, or none in the
            part.
    """
    found = find_encoders(tensors, namings)
    if not found:
        _require_known_vit(path, tensors)
        raise UserError(f"{path}: {_what_it_holds(tensors, spec)}")
    names = _listed(found)
    if part is not None:
        exact = [f for f in found if f.prefix.rstrip(".") == part.rstrip(".")]
        start = f"{part.rstrip('.')}."
        found = exact or [f for f in found if f.prefix.startswith(start)]
        if not found:
            raise UserError(f"{path}: no encoder in the part '{part}'; there is {names}.")
    left = _distinct(without_seconds(found), tensors)
    if len(left) > 1:
        raise UserError(
            f"{path}: holds {len(left)} encoders, {_listed(left)}, and nothing tells which is "
            "meant; say --part and one of these names."
        )
    if isinstance(spec, ViT):
        _require_known_vit(path, [key for key in tensors if key.startswith(left[0].prefix)])
    return left[0]


def _require_known_vit(path: Path, keys: Iterable[str]) -> None:
    """Raise UserError where a file holds a ViT that is known and that none here is like."""
    for pattern, what in _OTHER_VITS:
        if key := next((k for k in keys if re.search(pattern, k)), None):
            raise UserError(
                f"{path}: holds {what} ('{key}'); no encoder here is like that, so it cannot be "
                "judged."
            )


def _listed(found: list[Found]) -> str:
    return ", ".join(f"'{f.prefix.rstrip('.')}'" for f in found)


def _distinct(found: list[Found], tensors: Mapping[str, Tensor]) -> list[Found]:
    """Without those whose parameters are those of one before."""
    kept: list[Found] = []
    for one in found:
        if not any(_same(one, other, tensors) for other in kept):
            kept.append(one)
    return kept


def _same(a: Found, b: Found, tensors: Mapping[str, Tensor]) -> bool:
    """Whether two prefixes hold the same tensors where both hold one, and both the anchor."""
    keys = {k.removeprefix(a.prefix) for k in tensors if k.startswith(a.prefix)}
    both = [k for k in keys if b.prefix + k in tensors]
    return f"{a.naming.anchor}" in both and all(
        tensors[a.prefix + k].shape == tensors[b.prefix + k].shape
        and torch.equal(tensors[a.prefix + k], tensors[b.prefix + k])
        for k in both
    )


def _what_it_holds(tensors: Mapping[str, Tensor], spec: Spec) -> str:
    for other, namings in NAMINGS.items():
        if find_encoders(tensors, namings):
            return (
                f"holds a {other.__name__}, not a {type(spec).__name__}; change the encoder "
                "(--encoder)."
            )
    some = ", ".join(f"'{key}'" for key in sorted(tensors)[:3])
    return (
        f"no {type(spec).__name__} recognised among its {len(tensors)} tensors ({some}, ...); "
        "export the encoder with torchvision's or timm's names."
    )
