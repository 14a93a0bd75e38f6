"""A step that does not fit the memory is refused before it is taken."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from sslbench import memory
from sslbench.data import load
from sslbench.engine import room
from sslbench.engine.room import activation_bytes, require_step
from sslbench.engine.trainer import Trainer
from sslbench.errors import UserError
from tests.tiny import DATA, tiny


@pytest.fixture(scope="module")
def dataset():
    return load(DATA, root=Path("unused"))


@pytest.mark.parametrize(
    "recipe", ["simclr", "byol", "moco-v2", "barlow-twins", "mae", "dino", "swav"]
)
def test_the_estimate_is_what_a_step_keeps(recipe: str, dataset) -> None:
    experiment = tiny(recipe)
    trainer = Trainer(experiment, dataset, device=torch.device("cpu"))
    own = [*trainer.method.parameters(), *trainer.method.buffers()]
    parts = {x.untyped_storage().data_ptr() for x in own}
    kept: dict[int, torch.UntypedStorage] = {}  # which keeps them alive

    def keep(x: torch.Tensor) -> torch.Tensor:
        if x.untyped_storage().data_ptr() not in parts:
            kept[x.untyped_storage().data_ptr()] = x.untyped_storage()
        return x

    estimate = activation_bytes(trainer.method, experiment.recipe, resolution=16)
    with saved_tensors_hooks(keep, lambda x: x):
        trainer.step()
    assert estimate == pytest.approx(sum(x.nbytes() for x in kept.values()), rel=0.15)


def test_what_does_not_fit_is_a_sentence(dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = tiny("simclr")
    method = Trainer(experiment, dataset, device=torch.device("cpu")).method
    needed = activation_bytes(method, experiment.recipe, resolution=16)
    assert needed is not None
    for precision, free, fits in (
        (None, 2 * needed, True), (None, needed, False),
        (torch.bfloat16, needed, True), (torch.bfloat16, needed // 2, False),
    ):  # fmt: skip
        monkeypatch.setattr(memory, "available_memory", lambda free=free: free)
        call = {"resolution": 16, "precision": precision}
        if fits:
            require_step(method, experiment.recipe, **call)
            continue
        with pytest.raises(UserError, match=r"^A step of simclr with 16 images of 16 pixels: about "
                                            r".* free; lower batch_size .*\.$"):  # fmt: skip
            require_step(method, experiment.recipe, **call)


def test_where_there_is_plenty_nothing_is_counted(dataset, monkeypatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 10**10)
    monkeypatch.setattr(room, "activation_bytes", None)
    Trainer(tiny("simclr"), dataset, device=torch.device("cpu"))
