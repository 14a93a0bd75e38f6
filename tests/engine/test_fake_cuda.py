"""No recipe's step leaves a tensor on the CPU, or waits for the device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from sslbench.data import load
from sslbench.engine.trainer import Trainer
from sslbench.recipes.specs import View
from tests.fake_cuda import CUDA, HostRead, move, stepping
from tests.tiny import DATA, TRAINED, tiny

ORDER = View().order


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


@pytest.mark.parametrize("recipe", TRAINED)
def test_a_step_stays_on_the_device(recipe, dataset):
    mode = FakeTensorMode()
    take(prepared(recipe, dataset, mode), mode, steps=2)  # the second reads what the first kept


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        ("simclr", {"accumulate": 2}),
        ("simclr", {"optimizer": {"kind": "LAMB"}}),
        ("moco-v2", {"views__common": {"kind": "View"}}),
        ("swav", {"objective__assignment__queue": 16,
                  "objective__assignment__queue_start_epoch": 0}),
        ("byol", {"target": "ConstantRandom"}),
        ("pixpro", {"instance__weight": 1.0, "predictor__layers": 2, "views__first__size": 24}),
        ("mae", {"mask__sampling": "block", "mask__ratio": 0.5, "mask__in_encoder": True}),
        ("mae", {"mask__sampling": "grid", "objective__loss": "l1", "objective__target": {
            "kind": "PrincipalComponents", "components": 6}}),
        ("simsiam", {"views__*__rotate": 0.5, "views__*__sobel": 0.5, "views__*__noise": 0.5,
                     "views__*__cutout": 0.5, "views__*__solarize": 0.5, "views__*__order": ORDER}),
    ],
)  # fmt: skip
def test_so_does_one_with_other_pieces(recipe, changes, dataset):
    mode = FakeTensorMode()
    take(prepared(recipe, dataset, mode, **changes), mode, steps=3)


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
