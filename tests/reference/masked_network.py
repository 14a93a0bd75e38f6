"""A masked autoencoder image by image and head by head, in float64, from the paper.

Source: Dosovitskiy et al. 2021, Eq. 1 to 4; He et al. 2021 (MAE), Sec. 3; the mask token in the
encoder is Bao et al. 2021 (BEiT), Sec. 2.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

State = Mapping[str, Tensor]


def predictions(
    state: State, image: Tensor, hidden: Sequence[bool], *, patch: int, heads: int,
    decoder_heads: int | None, in_encoder: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """What is predicted of every patch of one image, L×outputs, and the encoder's tokens.

    Args:
        state: of a `MaskedModelling`, by name.
        image: 3×H×W.
        hidden: of L patches.
        decoder_heads: None where the decoder is one linear layer.
    """
    pieces = cut(image, patch)
    tokens = [state["encoder.cls_token"][0, 0] + state["encoder.pos_embed"][0, 0]]
    for number, piece in enumerate(pieces):
        if hidden[number] and not in_encoder:
            continue
        token = _projected(state, piece)
        if hidden[number]:
            token = state["decoder.mask_token"][0, 0]
        tokens.append(token + state["encoder.pos_embed"][0, 1 + number])
    encoded = _transformer(state, "encoder", torch.stack(tokens), heads=heads)
    if decoder_heads is None:
        return _linear(state, "decoder.predict", encoded[1:]), encoded
    narrow = list(_linear(state, "decoder.embed", encoded))
    if not in_encoder:
        seen = iter(narrow[1:])
        fill = state["decoder.mask_token"][0, 0]
        narrow = [narrow[0]] + [fill if there else next(seen) for there in hidden]
    width, side = len(narrow[0]), math.isqrt(len(pieces))
    places = [torch.zeros(width)] + [position(p // side, p % side, width) for p in range(side**2)]
    placed = torch.stack([token + place for token, place in zip(narrow, places, strict=True)])
    decoded = _transformer(state, "decoder", placed, heads=decoder_heads)
    return _linear(state, "decoder.predict", decoded[1:]), encoded


def cut(image: Tensor, patch: int) -> list[Tensor]:
    """The patches 3×p×p of an image 3×H×W, in rows."""
    _, height, width = image.shape
    return [
        image[:, top : top + patch, left : left + patch]
        for top in range(0, height, patch)
        for left in range(0, width, patch)
    ]


def pixels(piece: Tensor) -> Tensor:
    """A patch's numbers row by row, pixel by pixel, its three channels together."""
    rows = range(piece.shape[1])
    return torch.stack([piece[c, y, x] for y in rows for x in rows for c in range(3)])


def hidden_loss(
    predicted: Tensor, targets: Sequence[Tensor], hidden: Sequence[bool], *, loss: str
) -> Tensor:
    """The mean over one image's hidden patches of the mean over a patch's numbers."""
    kinds = {"mse": lambda d: d * d, "l1": torch.abs}
    each = [
        kinds[loss](p - t).mean() for p, t, h in zip(predicted, targets, hidden, strict=True) if h
    ]
    return torch.stack(each).mean()


def position(row: int, column: int, width: int) -> Tensor:
    """A quarter each of sine and cosine of the column, then of the row."""
    quarter = width // 4
    rates = [1 / 10_000 ** (i / quarter) for i in range(quarter)]
    return torch.tensor(
        [f(place * rate) for place in (column, row) for f in (math.sin, math.cos) for rate in rates]
    )


def _projected(state: State, piece: Tensor) -> Tensor:
    weight, bias = (state[f"encoder.patch_embed.proj.{n}"] for n in ("weight", "bias"))
    return torch.stack([(w * piece).sum() for w in weight]) + bias


def _transformer(state: State, part: str, tokens: Tensor, *, heads: int) -> Tensor:
    blocks = {k.split(".")[2] for k in state if k.startswith(f"{part}.blocks.")}
    for number in sorted(blocks, key=int):
        name = f"{part}.blocks.{number}"
        tokens = tokens + _attention(
            state, f"{name}.attn", _norm(state, f"{name}.norm1", tokens), heads
        )
        inner = _linear(state, f"{name}.mlp.fc1", _norm(state, f"{name}.norm2", tokens))
        inner = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
        tokens = tokens + _linear(state, f"{name}.mlp.fc2", inner)
    return _norm(state, f"{part}.norm", tokens)


def _attention(state: State, name: str, tokens: Tensor, heads: int) -> Tensor:
    width = tokens.shape[1]
    size = width // heads
    query, key, value = _linear(state, f"{name}.qkv", tokens).split(width, dim=1)
    found = []
    for head in range(heads):
        own = slice(head * size, (head + 1) * size)
        weights = (query[:, own] @ key[:, own].T / math.sqrt(size)).exp()
        found.append(weights / weights.sum(dim=1, keepdim=True) @ value[:, own])
    return _linear(state, f"{name}.proj", torch.cat(found, dim=1))


def _linear(state: State, name: str, tokens: Tensor) -> Tensor:
    return tokens @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def _norm(state: State, name: str, tokens: Tensor) -> Tensor:
    centred = tokens - tokens.mean(dim=1, keepdim=True)
    scale = (centred.square().mean(dim=1, keepdim=True) + 1e-6).sqrt()
    return centred / scale * state[f"{name}.weight"] + state[f"{name}.bias"]
