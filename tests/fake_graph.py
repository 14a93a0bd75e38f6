"""A CUDA graph in software, on a CPU: what a step does is recorded and done again, operation by
operation, in the memory of the recorded step and with its numbers of the host.

It goes as wrong as a real graph would: a number that the host has changed since, a tensor that lies
elsewhere now and a count that Python keeps are those of the captured step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten


def storage(x: Tensor) -> int:
    """The memory that a tensor lies in, as a number."""
    return int(x.untyped_storage()._cdata)


class Graph:
    """Stands for `torch.cuda.CUDAGraph`."""

    def __init__(self) -> None:
        self.operations: list[tuple[Any, Any, Any, Any]] = []

    @torch.no_grad()
    def replay(self) -> None:
        """Do it again. What is made anew is written to where the captured step had it."""
        for func, args, kwargs, held in self.operations:
            found = func(*args, **kwargs)
            for old, new in zip(tensors_of(held), tensors_of(found), strict=True):
                if storage(old) != storage(new):
                    old.copy_(new)


class _Capture(TorchDispatchMode):
    """Records what is done, and keeps what it was done to as it was before."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self.made: set[int] = set()
        self.before: dict[int, tuple[Tensor, Tensor]] = {}  # by memory: tensor, copy

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for x in tensors_of((args, kwargs)):
            if storage(x) not in self.made and storage(x) not in self.before:
                whole = torch.empty(0, dtype=x.dtype).set_(x.untyped_storage())
                self.before[storage(x)] = whole, whole.clone()
        found = func(*args, **kwargs)
        self.made |= {storage(x) for x in tensors_of(found)} - self.before.keys()
        if not _is_view(func):
            self.graph.operations.append((func, args, kwargs, found))
        return found

    def restore(self) -> None:
        """A capture does nothing; here it did."""
        for x, copy in self.before.values():
            x.copy_(copy)


@contextlib.contextmanager
def capture(graph: Graph, **_: Any) -> Iterator[None]:
    """Stands for `torch.cuda.graph`."""
    mode, generator = _Capture(graph), torch.get_rng_state()
    with mode:
        yield
    mode.restore()
    torch.set_rng_state(generator)


def tensors_of(x: Any) -> list[Tensor]:
    """All tensors in nested lists, tuples and dictionaries."""
    return [y for y in tree_flatten(x)[0] if isinstance(y, Tensor)]


def _is_view(func: Any) -> bool:
    returns = func._schema.returns
    aliased = bool(returns) and all(r.alias_info is not None for r in returns)
    return aliased and not func._schema.is_mutable
