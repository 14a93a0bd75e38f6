"""A step that is captured once and replayed is the plain step, with graphs in software."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sslbench.data import load
from sslbench.data.streaming.images import Streamed
from sslbench.engine.graph import Graphed, reason_against, told
from sslbench.engine.optimizers import rates_on_device
from sslbench.engine.pretrain import Options, pretrain
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
        "synchronize": lambda: fake.calls.append("synchronize"),
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
    made[1].graph = Graphed(made[1].work, made[1].optimizer)
    return made[0], made[1]


def differing(plain: Trainer, replayed: Trainer) -> set[str]:
    """What the two have that is not the same, bit for bit."""
    a, b = plain.method.state_dict(), replayed.method.state_dict()
    a["gradients"], b["gradients"] = plain.gradients.flush(), replayed.gradients.flush()
    return {name for name in a if not _same(a[name], b[name])}


def _same(a: Any, b: Any) -> bool:
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else bool(a == b)


def step_losses(trainers: tuple[Trainer, Trainer]) -> tuple[float, float]:
    one, other = (float(trainer.step().loss.detach()) for trainer in trainers)
    return one, other


@pytest.mark.parametrize("recipe", TRAINED)
def test_replayed_steps_are_plain_steps(recipe, dataset, cuda):
    trainers = pair(recipe, dataset)
    for step in range(11 if recipe == "moco-ring" else 8):  # whose ring narrows at first
        one, other = step_losses(trainers)
        assert one == other, step
    assert "replay" in cuda.calls
    assert not differing(*trainers)


PLAIN, CAPTURED = ["wait", "wait"], ["capture", "replay"]  # what a step asks for


def test_a_phase_is_captured_after_three_plain_steps(dataset, cuda):
    _, replayed = pair("simclr", dataset)
    for _ in range(6):
        replayed.step()
    assert cuda.calls == [*PLAIN, *PLAIN, *PLAIN, *CAPTURED, "replay", "replay"]
    assert told(replayed.graph) == "replayed"


QUEUE = {"objective__assignment__queue": 32, "objective__assignment__queue_start_epoch": 0.5}


def test_another_phase_is_captured_anew(dataset, cuda):
    """SwAV's queues are filled from step 3 on and read from step 5 on."""
    trainers = pair("swav", dataset, prototypes__frozen_epochs=0.0, **QUEUE)
    for step in range(10):
        assert step > 8 or told(trainers[1].graph) == "no phase lasted long enough"
        one, other = step_losses(trainers)
        assert one == other
    assert cuda.calls.count("capture") == 1  # of steps 8 and 9: those before are of short phases
    assert cuda.calls[-3:] == [*CAPTURED, "replay"]
    assert not differing(*trainers)


def test_what_no_loss_reaches_is_not_decayed(dataset, cuda):
    """Frozen prototypes have no gradient, and no step of their phase moves them."""
    changes = {"prototypes__frozen_epochs": 1.0, "optimizer": {"kind": "SGD", "weight_decay": 0.1}}
    trainers = pair("dino", dataset, **changes)
    start = trainers[1].method.objective.prototypes.weight.detach().clone()
    for _ in range(6):
        step_losses(trainers)
    assert cuda.calls.count("replay") == 3
    assert torch.equal(trainers[1].method.objective.prototypes.weight, start)
    for _ in range(5):
        one, other = step_losses(trainers)
        assert one == other
    assert cuda.calls.count("capture") == 2
    assert cuda.calls.index("synchronize") == cuda.calls.index("capture") + 4  # replayed thrice
    assert not torch.equal(trainers[1].method.objective.prototypes.weight, start)


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        ("mae", {"encoder__drop_path": 0.5}),  # drawn by the generator, seeded before the replay
        ("simclr", {"optimizer": {"kind": "LARS"}}),
        ("dino", {"optimizer__weight_decay_end": 0.4, "optimizer__clip_whole": True,
                  "objective__assignment__start_temperature": 0.01,
                  "objective__assignment__warmup_epochs": 2}),
        ("byol", {"target": "ConstantRandom"}),
    ],
)  # fmt: skip
def test_so_are_those_with_other_pieces(recipe, changes, dataset, cuda):
    trainers = pair(recipe, dataset, **changes)
    for _ in range(8):
        one, other = step_losses(trainers)
        assert one == other
    assert "replay" in cuda.calls
    assert not differing(*trainers)


def test_losses_outlive_the_next_replay(dataset, cuda):
    plain, replayed = pair("simclr", dataset)
    kept = [[trainer.step().loss for _ in range(7)] for trainer in (plain, replayed)]
    assert [float(x.detach()) for x in kept[0]] == [float(x.detach()) for x in kept[1]]


def test_a_count_that_python_keeps_is_found(dataset, cuda):
    trainers = pair("simclr", dataset)
    for trainer in trainers:
        seen: list[int] = []

        def hook(module, args, out, seen=seen):
            seen.append(1)
            return out * (1 + 0.1 * len(seen))

        trainer.method.encoder.register_forward_hook(hook)
    losses = [step_losses(trainers) for _ in range(6)]
    assert [one == other for one, other in losses] == [True] * 4 + [False] * 2


def test_a_capture_that_fails_is_told_once_and_steps_stay_plain(dataset, cuda, monkeypatch):
    def refused(graph: Graph) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr(torch.cuda, "graph", refused)
    trainers = pair("simclr", dataset)
    for _ in range(3):
        step_losses(trainers)
    with pytest.warns(RuntimeWarning, match="Steps are not replayed: capturing failed: operation"):
        step_losses(trainers)
    one, other = step_losses(trainers)
    assert one == other and not differing(*trainers)
    assert told(trainers[1].graph) == (
        "capturing failed: operation not permitted when stream is capturing"
    )


def test_adam_is_capturable_while_it_is_captured(dataset, cuda):
    _, replayed = pair("simclr", dataset, optimizer={"kind": "AdamW"})
    during = []
    replayed.optimizer.register_step_pre_hook(
        lambda optimizer, *_: during.append(optimizer.param_groups[0]["capturable"])
    )
    for _ in range(4):
        replayed.step()
    assert during == [False, False, False, True]
    assert not replayed.optimizer.param_groups[0]["capturable"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"accumulate": 2}, "drop path is seeded for each part"),
        ({"optimizer": {"kind": "LAMB"}}, "LAMB counts its steps"),
    ],
)
def test_what_cannot_be_replayed_says_why(changes, reason, dataset):
    experiment, gpu = tiny("simclr", **changes), torch.device("cuda")
    found = reason_against(experiment, dataset.train.images, gpu)
    assert found is None if reason is None else found.startswith(reason)
    assert reason_against(experiment, dataset.train.images, torch.device("cpu")) == (
        "there is no GPU"
    )


def test_several_processes_streams_and_plugins_are_refused(dataset, monkeypatch):
    experiment, gpu = tiny("simclr"), torch.device("cuda")
    streamed = Streamed.__new__(Streamed)
    assert reason_against(experiment, streamed, gpu) == "images are streamed"
    monkeypatch.setattr("sslbench.engine.graph.plugins_of", lambda spec: {"mine": "hash"})
    assert reason_against(experiment, dataset.train.images, gpu).startswith("a plugin's code")
    monkeypatch.setattr("sslbench.distributed.world_size", lambda: 2)
    assert reason_against(experiment, dataset.train.images, gpu).startswith("several processes")


def test_a_restored_run_goes_on_with_the_tensors_that_steps_read(dataset, cuda):
    plain, saved = pair("dino", dataset)
    for _ in range(4):
        step_losses((plain, saved))
    _, restored = pair("dino", dataset)
    rates = [group["lr"] for group in restored.optimizer.param_groups]
    restored.load_state(copy.deepcopy(saved.state()))
    groups = restored.optimizer.param_groups
    assert all(group["lr"] is rate for group, rate in zip(groups, rates, strict=True))
    for _ in range(5):
        one, other = step_losses((plain, restored))
        assert one == other
    assert not differing(plain, restored)


def test_a_run_that_began_on_a_gpu_goes_on_without_one(dataset, cuda):
    _, saved = pair("dino", dataset)
    plain = Trainer(tiny("dino"), dataset, device=torch.device("cpu"))
    for _ in range(4):
        saved.step()
        plain.step()
    restored = Trainer(tiny("dino"), dataset, device=torch.device("cpu"))
    restored.load_state(copy.deepcopy(saved.state()))
    assert all(isinstance(group["lr"], float) for group in restored.optimizer.param_groups)
    torch.testing.assert_close(restored.step().loss, plain.step().loss, rtol=1e-5, atol=0)
    assert [g["weight_decay"] for g in restored.optimizer.param_groups] == [
        g["weight_decay"] for g in plain.optimizer.param_groups
    ]


def test_a_run_that_cannot_be_replayed_says_so_once_and_trains(dataset, tmp_path):
    with pytest.warns(RuntimeWarning, match="Steps are not replayed: there is no GPU"):
        folder = pretrain(
            tiny("simclr", epochs=1), provenance={}, runs=tmp_path, root=tmp_path,
            options=Options(device="cpu", precision="fp32", graph=True), dataset=dataset,
        )  # fmt: skip
    assert folder.summary()["graph"] == "there is no GPU"


@pytest.mark.gpu
@pytest.mark.parametrize("recipe", ["simclr", "moco-v2", "swav", "dino", "mae", "deepcluster-v2"])
def test_replayed_steps_are_plain_steps_on_a_gpu(recipe, dataset):
    device = torch.device("cuda")
    plain, replayed = (
        Trainer(tiny(recipe), dataset, device=device, graph=graph) for graph in (False, True)
    )
    for _ in range(10):
        one, other = step_losses((plain, replayed))
        assert one == pytest.approx(other, rel=1e-3)
    assert told(replayed.graph) == "replayed"
