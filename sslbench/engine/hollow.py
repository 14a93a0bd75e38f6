"""A step's forward pass without memory: on the meta device, where tensors have shapes alone."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from sslbench import distributed
from sslbench.batch import Batch, Clock, ViewBatch
from sslbench.methods import Method
from sslbench.recipes.recipe import Recipe
from sslbench.views import list_views


@contextlib.contextmanager
def without_memory() -> Iterator[None]:
    """Where a hollow method may be called: as the only process, in float32, with the generator of
    the CPU put back at its end."""
    with contextlib.ExitStack() as stack:
        # As products of matrices, which are counted, on whatever device it trains.
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        stack.enter_context(torch.random.fork_rng(devices=[]))
        stack.enter_context(distributed.alone())
        stack.enter_context(_without_autocast())
        yield


def hollow(method: Method) -> Method:
    """A copy whose parameters and buffers have no memory."""
    copies: dict[int, Any] = {id(x): torch.empty_like(x, device="meta") for x in method.buffers()}
    for x in method.parameters():
        copies[id(x)] = nn.Parameter(torch.empty_like(x, device="meta"), x.requires_grad)
    return copy.deepcopy(method, copies)  # takes these as copies already made


def hollow_batch(recipe: Recipe, resolution: int) -> Batch:
    """A batch of the recipe's views, without memory."""
    count, drawn = recipe.batch_size, list_views(recipe.views)
    with torch.device("meta"):
        made = [
            ViewBatch(
                torch.empty(count, 3, side, side),
                torch.empty(count, 4),
                torch.empty(count, dtype=torch.bool),
            )
            for side in (view.size or resolution for view in drawn)
        ]
        rows = torch.empty(count, dtype=torch.int64)
        boxes = torch.empty(count, 4, 4) if recipe.needs_boxes else None
    labels = rows if recipe.needs_labels else None
    return Batch(made, rows, labels, Clock(), boxes, order=rows)


@contextlib.contextmanager
def _without_autocast() -> Iterator[None]:
    """torch refuses autocast of the meta device, where there are no numbers to round."""
    before: Any = torch.autocast
    torch.autocast = _Nothing  # type: ignore[misc,assignment]
    try:
        yield
    finally:
        torch.autocast = before  # type: ignore[misc]


class _Nothing(contextlib.nullcontext[None]):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
