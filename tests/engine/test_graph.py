"""A step that is captured once and replayed is the plain step, with graphs in software."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sslbench.data import load
from sslbench.engine.graph import Graphed
from sslbench.engine.optimizers import rates_on_device
from sslbench.engine.trainer import Trainer
from tests.fake_graph import Graph, capture
from tests.tiny import DATA, TRAINED, tiny


@pytest.fixture(scope="module")
def dataset():
    return load(DATA, root=Path("unused"))


class Cuda:
    """What is asked of torch.cuda, in order."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.stream = SimpleNamespace(wait_stream=lambda other: self.calls.append("wait"))

    def graph(self, graph: Graph) -> Any:
        self.calls.append("capture")
        return capture(graph)

    def new_graph(self) -> Graph:
        made = Graph()
        replay = made.replay
        made.replay = lambda: (self.calls.append("replay"), replay())[1]  # type: ignore[method-assign,func-returns-value]
        return made


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    fake = Cuda()
    for name, value in {
        "Stream": lambda: fake.stream, "current_stream": lambda: fake.stream,
        "stream": lambda stream: nullcontext(), "CUDAGraph": fake.new_graph, "graph": fake.graph,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, value)
    return fake


def pair(recipe: str, dataset: Any, **changes: Any) -> tuple[Trainer, Trainer]:
    """Two trainers of an experiment: of plain steps, and of replayed ones."""
    made = []
    for _ in range(2):
        trainer = Trainer(tiny(recipe, **changes), dataset, device=torch.device("cpu"))
        rates_on_device(trainer.optimizer, decays=trainer._decays())
        made.append(trainer)
    made[1]._graphed = Graphed(made[1].work, made[1].optimizer)
    return made[0], made[1]


def differing(plain: Trainer, replayed: Trainer) -> set[str]:
    """What the two have that is not the same, bit for bit."""
    a, b = plain.method.state_dict(), replayed.method.state_dict()
    found = {name for name in a if not _same(a[name], b[name])}
    return found | ({"gradients"} if plain.gradients.flush() != replayed.gradients.flush() else set())


def _same(a: Any, b: Any) -> bool:
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@pytest.mark.parametrize("recipe", TRAINED)
def test_replayed_steps_are_plain_steps(recipe, dataset, cuda):
    plain, replayed = pair(recipe, dataset)
    for step in range(8):
        losses = [float(trainer.step().loss) for trainer in (plain, replayed)]
        assert losses[0] == losses[1], step
    assert "replay" in cuda.calls
    assert not differing(plain, replayed)
