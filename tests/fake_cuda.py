"""A training step on `cuda` tensors that hold no numbers: no GPU and no driver is needed.

torch's FakeTensorMode follows shapes, types and devices through every operation, so it refuses one
that mixes the device with a tensor left on the CPU, and one that needs a number on the host.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from sslbench.engine.gradients import GradientNorms
from sslbench.engine.optimizers import build_optimizer
from sslbench.engine.trainer import Trainer

CUDA = torch.device("cuda", 0)


class HostRead(Exception):
    """A tensor was copied from the device to the host, which waits for all that it has to do."""


class NoHostReads(TorchDispatchMode):
    """Refuses copies from the device to the CPU; FakeTensorMode itself refuses `.item()`,
    `nonzero` and whatever else needs a number."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        source, target = None, None
        if func is torch.ops.aten._to_copy.default:
            source, target = args[0], kwargs.get("device")
        elif func is torch.ops.aten.copy_.default:
            source, target = args[1], args[0].device
        if source is not None and target is not None and target.type == "cpu" != source.device.type:
            raise HostRead(f"{tuple(source.shape)} {source.dtype} was read by the host.")
        return func(*args, **kwargs)


def move(trainer: Trainer, mode: FakeTensorMode) -> None:
    """Put all that a trainer built on the CPU has on a fake device. Only `step` may follow."""
    fakes: dict[int, Tensor] = {}

    def fake(x: Tensor) -> Tensor:
        if id(x) not in fakes:  # a bank that two modules share stays one
            made: Tensor = torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=CUDA)
            if isinstance(x, nn.Parameter):
                made = nn.Parameter(made, requires_grad=x.requires_grad)
            fakes[id(x)] = made
        return fakes[id(x)]

    with mode:
        for module in trainer.method.modules():
            for held in (module._parameters, module._buffers):
                for name, value in held.items():
                    if value is not None:
                        held[name] = fake(value)
        trainer.device = CUDA
        trainer.images, trainer._samples = fake(trainer.images), fake(trainer._samples)
        trainer.labels = None if trainer.labels is None else fake(trainer.labels)
        trainer.boxes = None if trainer.boxes is None else fake(trainer.boxes)
        trainer._reader.images, trainer._orders = trainer.images, {}
        recipe = trainer.recipe
        trainer.optimizer = build_optimizer(
            recipe.optimizer, trainer.method.groups(),
            batch_size=recipe.batch_size * recipe.accumulate,
        )  # fmt: skip
        if isinstance(trainer.optimizer, torch.optim.SGD):
            for group in trainer.optimizer.param_groups:  # its fused kernel has no fake form
                group |= {"fused": False, "foreach": True}
        trainer.gradients = GradientNorms(trainer.method.named_parameters())


@contextlib.contextmanager
def stepping(trainer: Trainer, mode: FakeTensorMode) -> Iterator[None]:
    """Within the block a step runs on the fake device. The backward pass, which torch runs in
    threads of a real device, only gives every parameter a gradient."""

    def backward(loss: Tensor, *args: Any, **kwargs: Any) -> None:
        assert isinstance(loss, FakeTensor) and loss.device == CUDA and loss.shape == ()
        assert loss.requires_grad
        for parameter in trainer.method.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.zeros_like(parameter)

    with contextlib.ExitStack() as stack:
        stack.enter_context(_replaced(torch.Tensor, "backward", backward))
        # SGD asks a driver whether it is being captured.
        stack.enter_context(_replaced(torch.cuda, "is_current_stream_capturing", lambda: False))
        stack.enter_context(mode)
        stack.enter_context(NoHostReads())
        yield


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
