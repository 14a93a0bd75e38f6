"""A loss with new state is what stands in this file: a spec, a module and two entries."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from sslbench.batch import Batch, Clock
from sslbench.data import load
from sslbench.distributed import mean
from sslbench.engine.trainer import Trainer
from sslbench.objectives import OBJECTIVES, Given, LossOutput, Objective, Reads, by_direction
from sslbench.objectives.embeddings import Embeddings, select
from sslbench.recipes import RECIPES
from sslbench.recipes.families import JointRecipe
from sslbench.recipes.specs import ObjectiveSpec
from tests.fake_cuda import move, stepping
from tests.tiny import DATA, tiny


@dataclass(frozen=True, kw_only=True)
class CentredCosine(ObjectiveSpec):
    """Cosine of embeddings less their moving average."""

    momentum: float = 0.9

    def cause(self, recipe: JointRecipe, *, complete: bool) -> str:
        return "The average follows too fast."


class CentredCosineLoss(Objective):
    """Owns the average, D."""

    average: Tensor

    def __init__(self, spec: CentredCosine, given: Given) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("average", torch.zeros(given.projected))

    def reads(self, num_views: int) -> Reads:
        return by_direction(symmetric=False, num_views=num_views)

    def forward(self, online: Embeddings, target: Embeddings, batch: Batch) -> LossOutput:
        p, z = select(online, 0, name="online"), select(target, 1, name="target")
        cosine = F.cosine_similarity(p - self.average, z - self.average, dim=1).mean()
        return LossOutput(-cosine, {"positive_similarity": cosine}, z.detach())

    def remember(self, carry: Any, clock: Clock) -> None:
        self.average.lerp_(mean(carry.mean(dim=0)), 1 - self.spec.momentum)


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(OBJECTIVES, CentredCosine, CentredCosineLoss)
    mine = RECIPES["byol"].but(name="mine", objective=CentredCosine())
    monkeypatch.setitem(RECIPES, "mine", mine)
    return "mine"


def trainer_of(recipe: str, **changes: Any) -> Trainer:
    dataset = load(DATA, root=Path("unused"))
    return Trainer(tiny(recipe, **changes), dataset, device=torch.device("cpu"))


def test_it_trains_and_remembers_after_the_step(recipe):
    trainer = trainer_of(recipe)
    assert not trainer.method.objective.average.any()
    before = [p.detach().clone() for p in trainer.method.encoder.parameters()]
    trainer.step()
    assert trainer.method.objective.average.any()
    after = trainer.method.encoder.parameters()
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_its_state_is_saved_and_restored(recipe):
    saved, restored = trainer_of(recipe), trainer_of(recipe)
    saved.step()
    restored.load_state(copy.deepcopy(saved.state()))
    assert torch.equal(saved.method.objective.average, restored.method.objective.average)
    assert torch.equal(saved.step().loss, restored.step().loss)


def test_a_table_can_turn_its_knob_and_the_verdict_speaks_for_it(recipe):
    experiment = tiny(recipe, objective__momentum=0.5)
    assert experiment.recipe.objective == CentredCosine(momentum=0.5)
    assert experiment.recipe.cause(complete=True) == "The average follows too fast."


def test_its_step_stays_on_the_device(recipe):
    trainer, mode = trainer_of(recipe), FakeTensorMode()
    move(trainer, mode)
    with stepping(trainer, mode):
        trainer.step()
        trainer.step()
