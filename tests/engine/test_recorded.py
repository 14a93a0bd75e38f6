"""What a step does on the device is the same in every step of a phase: recorded on tensors that
hold no numbers, operation by operation, with all numbers of the host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from sslbench.batch import Moment
from sslbench.data import load
from sslbench.engine.trainer import Trainer
from sslbench.recipes.specs import View
from sslbench.streams import permutation
from tests.fake_cuda import HostTensor, move, record, stepping
from tests.tiny import DATA, TRAINED, tiny

ORDER = View().order


@pytest.fixture(scope="module")
def dataset():
    return load(DATA, root=Path("unused"))


def records(trainer: Trainer) -> list[list[Any]]:
    """What two steps of one phase did, one before and one after an epoch's end where the phase
    lasts so long."""
    mode = FakeTensorMode()
    trainer._begin(0)  # clusters of an epoch are found on the host, once an epoch
    move(trainer, mode)
    found: dict[Any, list[Any]] = {}
    lasting: dict[int, Any] = {}
    held: list[Any] = []
    with stepping(trainer, mode):
        trainer.step_count = trainer.steps_per_epoch - 2
        parts, before = trainer.prepare()
        trainer.work(parts)  # the first of a phase sets up what lasts
        for step in range(trainer.steps_per_epoch - 1, trainer.total_steps):
            trainer.step_count, trainer._begun = step, step // trainer.steps_per_epoch
            phase, did = record(trainer, held, lasting)
            same = found.setdefault(phase, [])
            same += [did] if phase == before else []
            if len(same) == 2:
                return same
            before = phase
    raise AssertionError("no phase lasts for two steps")


def require_equal(trainer: Trainer) -> None:
    one, other = records(trainer)
    assert len(one) == len(other)
    different = next(((a, b) for a, b in zip(one, other, strict=True) if a != b), None)
    assert different is None


def trainer_of(recipe: str, dataset: Any, **changes: Any) -> Trainer:
    return Trainer(tiny(recipe, **changes), dataset, device=torch.device("cpu"))


@pytest.mark.parametrize("recipe", TRAINED)
def test_every_step_of_a_phase_does_the_same(recipe, dataset):
    require_equal(trainer_of(recipe, dataset))


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        ("simclr", {"accumulate": 2}),
        ("simclr", {"optimizer": {"kind": "LARS"}}),
        ("simclr", {"optimizer": {"kind": "SGD", "weight_decay": 1e-4}}),
        ("moco-v2", {"views__common": {"kind": "View"}}),
        ("moco-v2", {"objective__ring": {"kind": "Ring"}}),
        ("swav", {"objective__assignment__queue": 16,
                  "objective__assignment__queue_start_epoch": 0}),
        ("byol", {"target": "ConstantRandom"}),
        ("dino", {"optimizer__weight_decay_end": 0.4, "optimizer__clip_whole": True,
                  "objective__assignment__start_temperature": 0.01,
                  "objective__assignment__warmup_epochs": 2}),
        ("pixpro", {"instance__weight": 1.0, "predictor__layers": 2, "views__first__size": 24}),
        ("mae", {"mask__sampling": "block", "mask__ratio": 0.5, "mask__in_encoder": True}),
        ("mae", {"mask__sampling": "grid", "objective__loss": "l1", "objective__target": {
            "kind": "PrincipalComponents", "components": 6}}),
        ("simsiam", {"views__*__rotate": 0.5, "views__*__sobel": 0.5, "views__*__noise": 0.5,
                     "views__*__cutout": 0.5, "views__*__solarize": 0.5, "views__*__order": ORDER}),
    ],
)  # fmt: skip
def test_so_does_one_with_other_pieces(recipe, changes, dataset):
    require_equal(trainer_of(recipe, dataset, **changes))


def test_a_ring_that_narrows_is_another_phase_in_every_step(dataset):
    trainer = trainer_of("moco-ring", dataset)
    phases = [trainer.method.before_step(Moment(progress=k / 12)) for k in range(12)]
    assert len(set(phases[:7])) == 7 and set(phases[6:]) == {phases[6]}  # over half of training


def test_the_step_that_lamb_counts_on_the_host_is_found(dataset):
    with pytest.raises(HostTensor):
        records(trainer_of("simclr", dataset, optimizer={"kind": "LAMB"}))


def scheduled(trainer: Trainer) -> Callable[[], Any]:
    return lambda: trainer.step_count / trainer.total_steps


@pytest.mark.parametrize("where", ["forward", "momentum", "rate"])
def test_a_number_of_the_host_that_changes_is_found(where, dataset):
    trainer = trainer_of("byol", dataset)
    now = scheduled(trainer)
    if where == "forward":
        trainer.method.encoder.register_forward_hook(lambda module, args, out: out * (1 + now()))
    elif where == "momentum":
        trainer.method.target.momentum = lambda clock: 0.9 + 0.1 * now()
    else:
        before = trainer.work

        def work(parts):
            for group in trainer.optimizer.param_groups:
                group["weight_decay"] = now()
            return before(parts)

        trainer.work = work
    with pytest.raises(AssertionError):
        require_equal(trainer)


def test_a_permutation_that_the_host_draws_within_the_step_is_found(dataset):
    trainer = trainer_of("simclr", dataset)

    def shuffle(module, args):
        return (args[0][permutation(trainer.step_count, len(args[0])).to(args[0].device)],)

    trainer.method.projector.register_forward_pre_hook(shuffle)
    with pytest.raises(HostTensor):
        records(trainer)


def test_a_tensor_that_lies_elsewhere_in_the_next_step_is_found(dataset):
    trainer = trainer_of("simclr", dataset)
    before = trainer.prepare
    held = []

    def prepare():
        held.append(torch.ones((), device=trainer.device))
        return before()

    trainer.prepare = prepare
    trainer.method.encoder.register_forward_hook(lambda module, args, out: out * held[-1])
    with pytest.raises(AssertionError):
        require_equal(trainer)
