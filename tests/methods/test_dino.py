"""DINO: what freezes, follows and is scored, and every row of its ablation a few fields away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sslbench.batch import Clock
from sslbench.data import load
from sslbench.engine.trainer import Trainer
from tests.tiny import DATA, tiny

PREDICTOR = {"kind": "MLP", "hidden": [8], "out": None}
QUEUE = {"kind": "InfoNCE", "temperature": 0.2, "negatives": "queue", "queue": 32,
         "symmetric": False}  # fmt: skip
ABLATION: dict[str, dict[str, Any]] = {  # Caron et al. 2021, Table 7
    "1 DINO": {},
    "2 no momentum": {"target": "Shared"},
    "3 Sinkhorn": {"objective.assignment": "Sinkhorn"},
    "4 two crops": {"views.num_local": 0},
    "5 MSE": {"objective.loss": "normalized_mse"},
    "6 predictor": {"predictor": PREDICTOR},
    "7 BYOL": {"prototypes": None, "objective": "NegativeCosine", "predictor": PREDICTOR,
               "views.num_local": 0},
    "8 MoCo v2": {"prototypes": None, "objective": QUEUE, "views.num_local": 0},
    "9 SwAV": {"target": "Shared", "objective.assignment": "Sinkhorn"},
}  # fmt: skip


def trainer(recipe: str = "dino", **changes: Any) -> Trainer:
    experiment = tiny(recipe, **changes)
    return Trainer(experiment, load(DATA, root=Path("unused")), device=torch.device("cpu"))


@pytest.mark.parametrize("row", ABLATION)
@pytest.mark.parametrize("recipe", ["dino", "dino-resnet"])
def test_every_row_of_the_ablation_trains(recipe, row):
    run = trainer(recipe, **{k.replace(".", "__"): v for k, v in ABLATION[row].items()})
    before = [p.detach().clone() for p in run.method.encoder.parameters()]
    for _ in range(2):
        assert torch.isfinite(run.step().loss)
    after = run.method.encoder.parameters()
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(p.grad is None for p in run.method.target_parameters())


def test_the_prototypes_are_frozen_at_first():
    run = trainer(prototypes__frozen_epochs=0.5)  # of an epoch of six steps
    start = run.method.objective.prototypes.weight.detach().clone()
    for _ in range(3):
        run.step()
        assert torch.equal(run.method.objective.prototypes.weight, start)
    run.step()
    assert not torch.equal(run.method.objective.prototypes.weight, start)


def test_the_centre_moves_after_the_step_and_is_saved():
    run = trainer()
    output = run._forward(run._part(0, 0))
    assert not run.method.objective.centre.value.any()
    run.method.after_update([output], Clock())
    _, _, scores = output.carry[0]
    mean = torch.cat(scores).mean(dim=0)
    moved = 1 - run.method.objective.centre.momentum
    assert 0 < moved < 1
    torch.testing.assert_close(run.method.objective.centre.value, moved * mean)
    assert "objective.centre.value" in run.state()["method"]


def test_the_teacher_sees_the_global_crops_only_and_is_what_is_scored():
    run = trainer()
    seen: list[tuple[str, tuple[int, ...]]] = []
    for name in ("encoder", "target.encoder"):
        run.method.get_submodule(name).register_forward_hook(
            lambda module, args, out, name=name: seen.append((name, tuple(args[0].shape[::3])))
        )
    run.step()
    assert seen == [("encoder", (32, 16)), ("encoder", (32, 8)),
                    ("target.encoder", (16, 16)), ("target.encoder", (16, 16))]  # fmt: skip
    assert run.method.exported()["encoder"] is run.method.target.encoder


def test_weight_decay_rises_and_gradients_are_clipped(monkeypatch):
    run = trainer(optimizer__clip_norm=1e-3)
    norms: list[float] = []
    update = run.optimizer.step

    def step():
        grads = [p.grad for g in run.optimizer.param_groups for p in g["params"]]
        norms.extend(float(g.norm()) for g in grads if g is not None)
        update()

    monkeypatch.setattr(run.optimizer, "step", step)
    decays = []
    for _ in range(12):
        run.step()
        decays.append({g["weight_decay"] for g in run.optimizer.param_groups} - {0.0})
    assert max(norms) == pytest.approx(1e-3)
    values = [value for step in decays for value in step]
    assert values[0] == pytest.approx(0.04) and values == sorted(values)
    assert values[-1] == pytest.approx(0.4, abs=0.01)


def test_drop_path_reaches_the_student_only():
    encoder = tiny("dino").recipe.encoder.but(drop_path=0.5)
    method = trainer(encoder=encoder.to_dict()).method

    def rates(network):
        return {module.drop_prob for module in network.modules() if hasattr(module, "drop_prob")}

    assert max(rates(method.encoder)) == 0.5
    assert rates(method.target.encoder) == {0.0}
