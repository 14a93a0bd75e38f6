"""LooC whole: one query, a key for each space, their target, queues, and what a run keeps."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from sslbench.batch import Clock
from sslbench.engine.checkpoint import load_weights
from sslbench.errors import Interrupted, UserError
from sslbench.evaluation.evaluate import evaluate, open_subject
from sslbench.methods import LeaveOneOutContrast
from sslbench.methods.targets import ema_update
from sslbench.recipes import RECIPES
from sslbench.recipes.recipe import Recipe
from tests.engine.test_pretrain import assert_same_encoder, stop_after, train
from tests.evaluation.conftest import finished
from tests.tiny import batch_of, tiny

LOCAL = {"kind": "BatchNorm", "mode": "local"}


def method(**changes) -> LeaveOneOutContrast:
    torch.manual_seed(0)
    return LeaveOneOutContrast(tiny("looc", **changes).recipe, resolution=16).train()


def views(count: int = 4) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(16, 3, 16, 16, generator=generator) for _ in range(count)]


def test_the_recipe_comes_back_from_what_it_prints():
    assert Recipe.from_dict(RECIPES["looc"].to_dict()) == RECIPES["looc"]


def plain_loss(model: LeaveOneOutContrast, given: list[torch.Tensor]) -> torch.Tensor:
    """Space by space, from the networks themselves."""
    temperature, total = model.recipe.objective.temperature, 0.0
    features = model.encoder(given[0])
    with torch.no_grad():
        key_features = [model.target.encoder(view) for view in given[1:]]
    for i in range(3):
        head, target = (p[0].heads[i] for p in (model.projector, model.target.projector))
        query = F.normalize(head(features), dim=1)
        keys = [F.normalize(target(f), dim=1).detach() for f in key_features]
        negatives = [query @ model.objective.queues[i].entries.double().T]
        negatives += [(query * keys[j]).sum(1, keepdim=True) for j in range(3) if j != i and i > 0]
        logits = torch.cat([(query * keys[i]).sum(1, keepdim=True), *negatives], 1) / temperature
        total = total - F.log_softmax(logits, dim=1)[:, 0].mean()
    return total / 3


def test_loss_and_gradients_are_those_of_the_plain_networks():
    model = method(batch_norm=LOCAL).double()
    ema_update(  # a target that is not the online network
        list(model.target.encoder.parameters()), [torch.randn_like(p) for p in
        model.target.encoder.parameters()], 0.9)  # fmt: skip
    given = [view.double() for view in views()]
    twin = copy.deepcopy(model)
    loss, expected = model(batch_of(given)).loss, plain_loss(twin, given)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    for (name, ours), theirs in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert (ours.grad is None) == name.startswith("target."), name
        if ours.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad)


def test_after_a_step_the_target_follows_and_the_queues_hold_the_keys():
    model = method(target__momentum=0.75)
    with torch.no_grad():
        for p in model.encoder.parameters():
            p.add_(1.0)
    before = [p.clone() for p in model.target.encoder.parameters()]
    output = model(batch_of(views()))
    assert output.carry.shape == (16, 3, 3, 8) and output.embeddings.shape == (16, 24)
    model.after_update([output], Clock())
    for old, now in zip(before, model.target.encoder.parameters(), strict=True):
        torch.testing.assert_close(now, old + 0.25)
    for i, queue in enumerate(model.objective.queues):
        torch.testing.assert_close(queue.entries[:16], output.carry[:, i, i])


def test_one_augmentation_left_out_is_two_spaces():
    model = method(views__shared=[["rotate"]])
    assert model.num_spaces == 2
    assert model(batch_of(views(3))).carry.shape == (16, 2, 2, 8)


@pytest.mark.parametrize(
    ("recipe", "changes", "says"),
    [
        ("looc", {"views__shared": []}, "name some in views.shared, or take moco-v2"),
        ("looc", {"views__shared": [["blur"]]}, "shared names blur, which the first view does not"),
        ("looc", {"views__local": {"kind": "View"}, "views__num_local": 2}, "views.num_local=0"),
        ("looc", {"objective__queue": 40}, r"multiple of the batch \(16\); try objective.queue=32"),
        ("looc", {"objective__temperature": 0}, "temperature must be > 0"),
        ("looc", {"batch_norm__splits": 3}, "must split into 3 equal groups"),
        ("looc", {"batch_norm__joint_views": True}, "set batch_norm.joint_views=false"),
        ("looc", {"projector": None}, "projector"),
        ("moco-v2", {"views__shared": [["jitter"]]}, "views.shared adds views that are not read"),
        ("supervised", {"views__shared": [["flip"]], "views__num_global": 2}, "not read here"),
    ],
)
def test_what_cannot_be_is_refused(recipe, changes, says):
    with pytest.raises(UserError, match=says):
        tiny(recipe, **changes)


@pytest.mark.parametrize("step", [3, 6, 9])
def test_a_run_stopped_anywhere_is_the_uninterrupted_run(step, tmp_path: Path):
    whole = train(tiny("looc"), tmp_path / "a")
    with pytest.raises(Interrupted):
        train(tiny("looc"), tmp_path / "b", progress=stop_after(step))
    resumed = train(tiny("looc"), tmp_path / "b")
    assert_same_encoder(whole, resumed)
    one, two = (load_weights(folder.network_path("projector")) for folder in (whole, resumed))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_run_goes_on_from_another_ones_encoder_and_spaces(tmp_path: Path):
    first = tiny("looc", epochs=1)
    experiment = first.but({"recipe.start": first.recipe, "recipe.optimizer.lr": 1e-12})
    folder = train(experiment, tmp_path)
    started = train(first, tmp_path)
    for name in ("encoder", "projector"):
        own, given = (load_weights(f.network_path(name)) for f in (folder, started))
        for key, value in given.items():
            if "running" not in key and "num_batches" not in key:
                torch.testing.assert_close(own[key], value, atol=1e-5, rtol=1e-3)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    root = tmp_path_factory.mktemp("looc")
    return finished("looc", root), root


def test_looc_plus_plus_is_a_linear_probe_of_all_spaces(run):
    folder, root = run
    subject = open_subject(folder, root=root)
    projections = subject.project(subject.features.test)
    assert projections.shape == (32, 24)
    lengths = projections.unflatten(1, (3, 8)).norm(dim=2)
    torch.testing.assert_close(lengths, torch.ones_like(lengths))
    scores = evaluate(folder, ["linear", "linear.projector"], root=root)
    assert set(scores) == {"linear.features.v1", "linear.projector.v1"}
    assert 0 <= scores["linear.projector.v1"].values["top1"] <= 100


def test_a_run_without_a_projector_has_no_such_probe(tmp_path: Path):
    folder = finished("untrained", tmp_path)
    with pytest.raises(UserError, match=r"reads a trained projector.* use linear.features.v1"):
        evaluate(folder, ["linear.projector"], root=tmp_path)
