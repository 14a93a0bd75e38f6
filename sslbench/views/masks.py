"""Which patches of an image are hidden: random ones, rectangular blocks, or a regular grid."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sslbench import streams
from sslbench.recipes.specs import Mask

_LOG_ASPECT = math.log(1 / 0.3)  # of a block: between 0.3 and 1 / 0.3
_IN_A_ROW = 10  # attempts at a block that may fail one after the other
_ATTEMPTS = 64  # in all; up to a ratio of 0.75 images need fewer (tests/views/test_masks.py)

Draw = Callable[[int], Tensor]  # so many uniform numbers for each image


@torch.no_grad()
def hidden_patches(
    spec: Mask, *, side: int, patch: int, key: int | Tensor, samples: Tensor
) -> Tensor:
    """The hidden patches of each image, in rows from the top left.

    A sample's mask is a function of (key, sample). No shape depends on a random number, and
    nothing waits for the device.

    Args:
        spec: what to hide; `Mask.require_fit` has passed for the image.
        side: L^(1/2), patches a side.
        patch: its side in pixels, of which `spec.unit` is a multiple.
        key: from `streams.stream_key`, another one every step.
        samples: N int64 places in the global batch.
    Returns:
        N×L bool, of which every row has `L - spec.num_visible(...)` true.
    """
    size = side * patch
    units = spec.num_units(size, patch=patch)
    wide = (spec.unit or patch) // patch  # patches a side of a unit
    hide = units**2 - spec.num_visible(size, patch=patch) // wide**2
    if spec.sampling == "grid":
        hidden = _grid(units, samples)
    elif spec.sampling == "block":
        draws = streams.uniform(key, samples, units**2 + 4 * _ATTEMPTS)
        blocks = _blocks(
            draws[:, units**2 :], side=units, hide=hide, least=spec.smallest_block(units**2)
        )
        hidden = _filled_up(blocks.flatten(1), draws[:, : units**2], hide=hide)
    else:
        noise = streams.uniform(key, samples, units**2)
        hidden = _filled_up(torch.zeros_like(noise, dtype=torch.bool), noise, hide=hide)
    square = hidden.view(-1, units, 1, units, 1).expand(-1, units, wide, units, wide)
    return square.reshape(len(samples), side**2)


def _filled_up(hidden: Tensor, noise: Tensor, *, hide: int) -> Tensor:
    """N×U bool: random units beside those that are hidden, until `hide` of each image are."""
    order = torch.where(hidden, -1.0, noise).argsort(dim=1, stable=True)  # N×U, hidden ones first
    return hidden.scatter(1, order[:, :hide], True)


def _grid(side: int, samples: Tensor) -> Tensor:
    """N×U bool: of each 2×2 units the one at the top left is visible."""
    even = torch.arange(side, device=samples.device) % 2 == 0
    return ~(even[:, None] & even).flatten().expand(len(samples), -1)


def _blocks(draws: Tensor, *, side: int, hide: int, least: int) -> Tensor:
    """N×side×side bool: rectangles, laid until `hide` units are hidden or ten in a row do not fit.

    A rectangle's area is uniform between `least` and what is still to hide, the logarithm of its
    aspect uniform, its place uniform. It fits if it is smaller than the image in both directions
    and hides a new unit, but not too many.

    Args:
        draws: N×(4 attempts) uniform numbers: area, aspect, top and left of each.
    Source: Bao et al. 2021 (BEiT), Algorithm 1, and the authors' code, which has the ten attempts.
    """
    places = torch.arange(side, device=draws.device)
    hidden = torch.zeros(len(draws), side, side, dtype=torch.bool, device=draws.device)
    failed = torch.zeros(len(draws), dtype=torch.int64, device=draws.device)
    for attempt in draws.unflatten(1, (-1, 4)).unbind(1):
        left_over = hide - hidden.sum(dim=(1, 2))  # N
        area = least + attempt[:, 0] * (left_over - least)
        aspect = torch.exp((2 * attempt[:, 1] - 1) * _LOG_ASPECT)
        high, wide = torch.sqrt(area * aspect).round(), torch.sqrt(area / aspect).round()
        rows = _within(places, attempt[:, 2], high, side)  # N×side
        columns = _within(places, attempt[:, 3], wide, side)
        block = rows[:, :, None] & columns[:, None, :]
        new = (block & ~hidden).sum(dim=(1, 2))
        fits = (high < side) & (wide < side) & (new > 0) & (new <= left_over)
        fits &= failed < _IN_A_ROW
        hidden = hidden | (block & fits[:, None, None])
        failed = torch.where(fits, 0, failed + 1)
    return hidden


def _within(places: Tensor, draw: Tensor, length: Tensor, side: int) -> Tensor:
    """N×side bool: a stretch of so many places, where the draw puts it."""
    start = torch.floor(draw * (side - length + 1))[:, None]
    return (places >= start) & (places < start + length[:, None])
