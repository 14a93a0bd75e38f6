"""What lives longer than a batch: the queues of SwAV, the clusters of an epoch."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from sslbench.data import load
from sslbench.engine.trainer import Trainer
from sslbench.errors import Interrupted, UserError
from sslbench.recipes.recipe import Experiment
from tests.engine.test_pretrain import assert_same_encoder, stop_after, train
from tests.tiny import DATA, tiny

QUEUE = {"objective__assignment__queue": 32, "objective__assignment__queue_start_epoch": 0.5}
EPOCHWISE = ["deepcluster-v2", "sela-v2"]


@pytest.fixture(scope="module")
def dataset():
    return load(DATA, root=Path("unused"))


def trainer_of(experiment: Experiment, dataset) -> Trainer:
    return Trainer(experiment, dataset, device=torch.device("cpu"))


def losses(trainer: Trainer, steps: int) -> list[float]:
    return [trainer.step().loss.item() for _ in range(steps)]


def test_the_queues_fill_from_their_start_and_are_read_once_full(dataset):
    trainer, plain = (trainer_of(tiny("swav", **more), dataset) for more in (QUEUE, {}))
    stored = trainer.method.objective.stored
    before = [queue.entries.clone() for queue in (stored.first, stored.second)]
    first = losses(trainer, 3)
    assert torch.equal(before[0], stored.first.entries)
    assert torch.equal(before[1], stored.second.entries)
    first += losses(trainer, 2)  # two batches of 16 in half an epoch: full
    assert stored.count == 32 and not stored.full
    assert first == losses(plain, 5)
    assert losses(trainer, 1) != losses(plain, 1)
    assert stored.full


def test_each_queue_holds_the_embeddings_of_its_view(dataset):
    trainer = trainer_of(tiny("swav", **QUEUE), dataset)
    outputs = [trainer.step() for _ in range(5)][3:]
    stored = trainer.method.objective.stored
    for view, entries in enumerate((stored.first.entries, stored.second.entries)):
        rows = torch.cat([F.normalize(out.carry[0][1][view], dim=1) for out in outputs])
        assert_close(entries, rows)


@pytest.mark.parametrize("steps", [2, 4, 6, 7])
def test_a_restored_trainer_goes_on_with_half_full_queues(steps, dataset):
    saved, restored = (trainer_of(tiny("swav", **QUEUE), dataset) for _ in range(2))
    losses(saved, steps)
    restored.load_state(copy.deepcopy(saved.state()))
    assert losses(saved, 4) == losses(restored, 4)


@pytest.mark.parametrize("steps", [1, 6, 9])
@pytest.mark.parametrize("recipe", EPOCHWISE)
def test_a_restored_trainer_has_the_clusters_of_its_epoch(recipe, steps, dataset):
    saved, restored = (trainer_of(tiny(recipe), dataset) for _ in range(2))
    losses(saved, steps)
    restored.load_state(copy.deepcopy(saved.state()))
    assert torch.equal(
        saved.method.objective.memory.assignments, restored.method.objective.memory.assignments
    )
    assert losses(saved, 3) == losses(restored, 3)


@pytest.mark.parametrize("recipe", [*EPOCHWISE, "swav"])
@pytest.mark.parametrize("step", [6, 8])
def test_a_run_stopped_at_or_in_an_epoch_resumes_bit_for_bit(recipe, step, tmp_path):
    experiment = tiny(recipe, **QUEUE if recipe == "swav" else {})
    whole = train(experiment, tmp_path / "a")
    with pytest.raises(Interrupted):
        train(experiment, tmp_path / "b", progress=stop_after(step))
    assert_same_encoder(whole, train(experiment, tmp_path / "b"))


@pytest.mark.parametrize("recipe", EPOCHWISE)
def test_clusters_change_with_the_epoch_and_not_in_it(recipe, dataset):
    trainer = trainer_of(tiny(recipe), dataset)
    memory = trainer.method.objective.memory
    trainer.step()
    of_first = memory.assignments.clone()
    losses(trainer, 5)
    assert torch.equal(memory.assignments, of_first)
    trainer.step()
    assert not torch.equal(memory.assignments, of_first)
    assert int(memory.epoch) == 1


def test_every_image_is_in_the_memory_before_the_first_step(dataset):
    trainer = trainer_of(tiny("deepcluster-v2", batch_size=20), dataset)  # 96 = 4 * 20 + 16
    trainer._begin(0)
    assert_close(trainer.method.objective.memory.embeddings.norm(dim=2), torch.ones(2, 96))


def test_the_memory_is_of_the_last_epochs_embeddings(dataset):
    trainer = trainer_of(tiny("deepcluster-v2"), dataset)
    output = trainer.step()
    memory = trainer.method.objective.memory
    for view in range(2):
        rows = F.normalize(output.carry[0][1][view], dim=1)
        assert_close(memory.embeddings[view, output.carry[0][0]], rows)


def test_centroids_are_the_prototypes_of_the_epoch_and_are_not_learned(dataset):
    trainer = trainer_of(tiny("deepcluster-v2"), dataset)
    weight = trainer.method.objective.prototypes.weight
    trainer.step()
    of_first = weight.detach().clone()
    losses(trainer, 5)
    assert_close(weight.detach(), of_first)
    trainer.step()
    assert not torch.allclose(weight, of_first)
    assert weight.grad is None and not weight.requires_grad


def test_prototypes_of_sela_are_learned_after_their_first_epoch(dataset):
    trainer = trainer_of(tiny("sela-v2"), dataset)
    weight = trainer.method.objective.prototypes.weight
    start = weight.detach().clone()
    losses(trainer, 6)
    assert_close(weight.detach(), start)
    losses(trainer, 2)
    assert not torch.allclose(weight, start)
    assert_close(weight.norm(dim=2), torch.ones(weight.shape[:2]))


@pytest.mark.parametrize("optimizer", ["SGD", "LARS", "AdamW"])
def test_frozen_prototypes_begin_to_learn_under_every_optimizer(optimizer, dataset):
    experiment = tiny("swav", optimizer={"kind": optimizer}, prototypes__frozen_epochs=0.5)
    trainer = trainer_of(experiment, dataset)
    weight = trainer.method.objective.prototypes.weight
    start = weight.detach().clone()
    losses(trainer, 3)
    assert_close(weight.detach(), start)
    losses(trainer, 3)
    assert not torch.allclose(weight, start, rtol=0, atol=1e-6)


@pytest.mark.parametrize("recipe", EPOCHWISE)
def test_clusters_are_of_the_target_network_where_there_is_one(recipe, dataset):
    trainer = trainer_of(tiny(recipe, target={"kind": "EMA", "momentum": 0.9}), dataset)
    values = losses(trainer, 8)
    assert all(map(torch.isfinite, map(torch.tensor, values)))
    method = trainer.method
    if recipe == "deepcluster-v2":
        assert_close(method.objective.prototypes.weight, method.objective.target_prototypes.weight)


@pytest.mark.parametrize("recipe", ["swav", *EPOCHWISE])
def test_more_prototypes_than_images_are_refused(recipe, dataset):
    with pytest.raises(UserError, match="97 prototypes are more than the 96 training images; set"):
        trainer_of(tiny(recipe, prototypes__count=97), dataset)


def test_a_queue_that_would_start_after_the_last_epoch_is_refused():
    with pytest.raises(UserError, match="would start at epoch 2, after the last of 2; lower"):
        tiny("swav", **{**QUEUE, "objective__assignment__queue_start_epoch": 2})


def test_a_queue_that_the_batch_does_not_divide_is_refused():
    with pytest.raises(UserError, match=r"try objective\.assignment\.queue=32"):
        tiny("swav", **{**QUEUE, "objective__assignment__queue": 40})
