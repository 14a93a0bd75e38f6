"""Pixel work that compiled code does in one loop.

On a CPU not a whole view is compiled but its dear parts one by one: between them the draws decide
which are needed, and each is compiled once for a kind of views, in seconds.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

Pixels = Callable[..., Tensor]

_COMPILED: ContextVar[dict[Pixels, Pixels] | None] = ContextVar("compiled", default=None)

# Whoever compiles a function has its own limit of recompilations.
ISOLATED: dict[str, Any] = {
    name: True
    for name in ("isolate_recompiles",)
    if name in inspect.signature(torch.compile).parameters
}


def fused(function: Pixels) -> Pixels:
    """A function of tensors that is compiled within `fusing`, and runs as it is elsewhere."""

    @functools.wraps(function)
    def call(*arguments: Any) -> Tensor:
        if torch.compiler.is_compiling():
            return function(*arguments)
        compiled = _COMPILED.get()
        if compiled is None:
            return function(*arguments)
        if function not in compiled:
            compiled[function] = torch.compile(
                function, dynamic=False, options=_options(), **ISOLATED
            )
        return compiled[function](*arguments)

    return call


@contextmanager
def fusing(compiled: dict[Pixels, Pixels] | None) -> Iterator[None]:
    """Within, `fused` functions are compiled and kept in that dictionary; None: they are not."""
    token = _COMPILED.set(compiled)
    try:
        yield
    finally:
        _COMPILED.reset(token)


@functools.cache
def _options() -> dict[str, Any]:
    """A check of every index of a gather costs as much as the gather; ours are clamped."""
    from torch import _inductor  # slow to import

    name = "assert_indirect_indexing"
    return {name: False} if name in _inductor.list_options() else {}
