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
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from sslbench.engine.gradients import GradientNorms
from sslbench.engine.graph import placed
from sslbench.engine.inputs import Part
from sslbench.engine.optimizers import build_optimizer, rates_on_device
from sslbench.engine.trainer import Trainer
from tests.fake_graph import storage, tensors_of

CUDA = torch.device("cuda", 0)

# The fused kernels with a rate in a tensor have no form for tensors without numbers.
_META = torch.library.Library("aten", "IMPL", "Meta")
for kernel in ("_fused_sgd_", "_fused_adamw_"):
    _META.impl(f"{kernel}.tensor_lr", lambda *args, **kwargs: None)


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


class HostTensor(Exception):
    """A tensor of the host was read: a captured step would read it where it lay, or as it was."""


_COPIES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}


class Recorder(TorchDispatchMode):
    """Writes down what a step does, without its backward pass: every operation with its tensors,
    each by where it lies, and all else that it is given.

    Args:
        lasting: names, by memory, of what outlives a step; for the records of one trainer.
    """

    def __init__(self, lasting: dict[int, tuple[str, Tensor]]) -> None:
        super().__init__()
        self.record: list[tuple[Any, ...]] = []
        self.lasting = lasting
        self.made: dict[int, tuple[str, Tensor]] = {}  # of this step; held, so that none is reused

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        flat, form = tree_flatten((args, kwargs))
        given = [self._named(func, x) if isinstance(x, Tensor) else repr(x) for x in flat]
        found = func(*args, **kwargs)
        for x in tensors_of(found):
            if storage(x) not in self.lasting:
                self.made.setdefault(storage(x), (f"made {len(self.made)}", x))
        if func.namespace != "profiler":  # around an optimiser's step
            self.record.append((func, form, *given))
        return found

    def _named(self, func: Any, x: Tensor) -> tuple[Any, ...]:
        if func is torch.ops.aten.lift_fresh.default and x.dim() == 0:
            with no_dispatch():
                return "number", repr(x.item())  # as in `x[0] = 1`, which fills
        number = x.dim() == 0 and storage(x) in self.made and func not in _COPIES
        if x.device.type == "cpu" and not number:
            raise HostTensor(f"{func} read {tuple(x.shape)} {x.dtype} of the host.")
        if storage(x) not in self.made:
            self.lasting.setdefault(storage(x), (f"lasting {len(self.lasting)}", x))
        name, _ = self.made.get(storage(x)) or self.lasting[storage(x)]
        return name, tuple(x.shape), x.stride(), x.storage_offset(), x.dtype


def record(trainer: Trainer, held: list[Part], lasting: dict[int, Any]) -> tuple[Any, Any]:
    """Take one step within `stepping`.

    Args:
        held: the inputs of the step before, where the new ones are put; none before the first.
        lasting: as a `Recorder`'s.
    Returns:
        The phase, and what the device's part of the step did.
    """
    parts, phase = trainer.prepare()
    pairs = zip(parts, held or [None] * trainer.recipe.accumulate, strict=True)
    held[:] = [placed(part, before) for part, before in pairs]
    with Recorder(lasting) as recorder:
        trainer.work(held)
    trainer.step_count += 1
    return phase, recorder.record


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
        rates_on_device(trainer.optimizer, decays=trainer._decays())
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
