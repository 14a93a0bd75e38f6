"""What leaves a tensor on the CPU or waits for the device is found; that no recipe's step does is
held by test_recorded.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from sslbench.data import load
from sslbench.engine.trainer import Trainer
from tests.fake_cuda import CUDA, HostRead, move, stepping
from tests.tiny import DATA, tiny


@pytest.fixture(scope="module")
def dataset():
    return load(DATA, root=Path("unused"))


def prepared(recipe: str, dataset: Any, mode: FakeTensorMode, **changes: Any) -> Trainer:
    trainer = Trainer(tiny(recipe, **changes), dataset, device=torch.device("cpu"))
    trainer._begin(0)  # clusters of an epoch are found on the host, once an epoch
    move(trainer, mode)
    return trainer


def take(trainer: Trainer, mode: FakeTensorMode, *, steps: int) -> None:
    with stepping(trainer, mode):
        for _ in range(steps):
            output = trainer.step()
    assert isinstance(output.embeddings, FakeTensor) and output.embeddings.device == CUDA
    assert all(value.device == CUDA for value in output.metrics.values())


def test_a_tensor_left_on_the_cpu_is_found(dataset):
    mode = FakeTensorMode()
    trainer = prepared("simclr", dataset, mode)
    trainer.method.encoder.register_forward_hook(
        lambda module, args, out: out + torch.ones(out.shape[1])
    )
    with pytest.raises(RuntimeError, match="device"):
        take(trainer, mode, steps=1)


@pytest.mark.parametrize(
    "look", [lambda out: out.sum().item(), lambda out: out.nonzero(), lambda out: bool(out.any())]
)
def test_a_number_that_the_host_needs_is_found(look, dataset):
    mode = FakeTensorMode()
    trainer = prepared("simclr", dataset, mode)
    trainer.method.encoder.register_forward_hook(lambda module, args, out: look(out) and None)
    with pytest.raises(Exception, match=r"_local_scalar_dense|nonzero"):
        take(trainer, mode, steps=1)


def test_a_copy_to_the_host_is_found(dataset):
    mode = FakeTensorMode()
    trainer = prepared("simclr", dataset, mode)
    trainer.method.encoder.register_forward_hook(
        lambda module, args, out: out * (out.detach().cpu().numel() > 0)
    )
    with pytest.raises(HostRead):
        take(trainer, mode, steps=1)
