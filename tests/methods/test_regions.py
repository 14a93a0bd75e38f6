"""Regions whole: boxes of a batch, the target, what is refused, and runs that stop."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from sslbench import distributed
from sslbench.batch import Batch, Clock, ViewBatch
from sslbench.data import load
from sslbench.data.split import Split
from sslbench.engine.pretrain import pretrain
from sslbench.engine.trainer import Trainer
from sslbench.errors import Interrupted, UserError
from sslbench.methods import RegionLearning
from sslbench.models.maps import last_map
from sslbench.recipes import RECIPES
from sslbench.recipes.recipe import Recipe
from sslbench.recipes.specs import Scenes
from sslbench.views.regions import comparable
from tests.engine.test_pretrain import assert_same_encoder, stop_after, train
from tests.models.test_regions import plain as plain_mean
from tests.tiny import tiny

BOTH = ["region", "region-objects"]
LOCAL = {"kind": "BatchNorm", "mode": "local"}
SCENES = Scenes(resolution=32, num_train=48, num_test=16)
NONE = [float("nan")] * 4
OBJECTS = torch.tensor([[[1.0, 1, 6, 7], [2, 0, 15, 12]], [[0, 0, 3, 3], NONE], [NONE, NONE]])


def method(recipe: str = "region", **changes) -> RegionLearning:
    torch.manual_seed(0)
    return RegionLearning(tiny(recipe, **changes).recipe, resolution=16).train()


def batch(boxes: torch.Tensor | None = None, *, key: int = 3) -> Batch:
    """Three images of 16 pixels; the views of the last one do not meet."""
    generator = torch.Generator().manual_seed(0)
    crops = [[[0, 0, 12, 12], [0, 0, 16, 16], [0, 0, 6, 6]], [[2, 1, 14, 10], [4, 4, 9, 9],
             [8, 8, 8, 8]]]  # fmt: skip
    views = [
        ViewBatch(
            torch.randn(3, 3, 16, 16, generator=generator).double(),
            torch.tensor(crop, dtype=torch.float32),
            torch.tensor([False, True, False]),
        )
        for crop in crops
    ]
    return Batch(views, boxes=boxes, clock=Clock(key=key))


@pytest.mark.parametrize("recipe", BOTH)
def test_a_recipe_comes_back_from_what_it_prints_and_the_oracle_says_what_it_is(recipe):
    assert Recipe.from_dict(RECIPES[recipe].to_dict()) == RECIPES[recipe]
    oracle = recipe == "region-objects"
    assert RECIPES[recipe].needs_boxes == oracle
    assert any("oracle" in words for words in RECIPES[recipe].departures) == oracle


def plain_loss(model: RegionLearning, given: Batch) -> torch.Tensor:
    """Box by box, in source pixels, from the networks themselves."""
    boxes, total = model.boxes(given), 0.0
    counts = comparable(boxes)
    found = {}
    for name, of in (("online", model), ("target", model.target)):
        for v, view in enumerate(given.views):
            maps, rows = last_map(of.encoder, view.images), []
            for n in range(3):
                top, left, height, width = view.box[n].tolist()
                for k, box in enumerate(boxes[n].tolist()):
                    x = [(box[0] - left) / width, (box[2] - left) / width]
                    y = [(box[1] - top) / height, (box[3] - top) / height]
                    if view.flipped[n]:
                        x = [1 - x[1], 1 - x[0]]
                    own = [x[0], y[0], x[1], y[1]] if counts[n, k] else [0.0, 0.0, 1.0, 1.0]
                    output = model.recipe.objective.output
                    rows.append(plain_mean(maps[n : n + 1], torch.tensor([[own]]), output))
            projections = of.projector(torch.cat(rows))
            found[name, v] = projections.view(3, -1, projections.shape[1])
    for here, there in ((0, 1), (1, 0)):
        online = model.predictor(found["online", here].flatten(0, 1)).view_as(found["online", 0])
        for n in range(3):
            own = [F.cosine_similarity(online[n, k], found["target", there][n, k].detach(), dim=0)
                   for k in range(boxes.shape[1]) if counts[n, k]]  # fmt: skip
            total = total - 2 * sum(own) / (len(own) + 1e-6) / 3
    return total


@pytest.mark.parametrize("recipe", BOTH)
def test_loss_and_gradients_are_those_of_the_plain_networks(recipe):
    model = method(recipe, batch_norm=LOCAL).double()
    with torch.no_grad():  # a target that is not the online network
        for p in model.target.parameters():
            p.add_(0.1 * torch.randn_like(p))
    twin, given = copy.deepcopy(model), batch(OBJECTS)
    output, expected = model(given), plain_loss(twin, given)
    torch.testing.assert_close(output.loss, expected, rtol=1e-5, atol=1e-6)  # boxes are float32
    output.loss.backward()
    expected.backward()
    for (name, ours), theirs in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert (ours.grad is None) == name.startswith("target."), name
        if ours.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-5)
    assert output.embeddings.shape == (3, 8)


def test_boxes_follow_the_step_and_the_image_and_not_the_batch(monkeypatch):
    model = method()
    first = model.boxes(batch())
    assert torch.equal(first, model.boxes(batch())) and first.shape == (3, 4, 4)
    assert not torch.equal(first, model.boxes(batch(key=4)))
    given = batch()
    last = [ViewBatch(v.images[1:2], v.box[1:2], v.flipped[1:2]) for v in given.views]
    monkeypatch.setattr(distributed, "rank", lambda: 1)  # of processes with an image each
    torch.testing.assert_close(model.boxes(Batch(last, clock=given.clock)), first[1:2])


def test_what_is_left_out_adds_nothing():
    model = method("region-objects", batch_norm=LOCAL).double().eval()
    assert model(batch(torch.full((3, 2, 4), float("nan")))).loss == 0
    one = model(batch(OBJECTS)).metrics["images_with_boxes"]
    torch.testing.assert_close(one.double(), torch.tensor(100 / 3, dtype=torch.float64))
    assert model(batch(OBJECTS)).loss.isfinite()


def test_fewer_objects_than_boxes_are_taken_as_they_are():
    assert method("region-objects").boxes(batch(OBJECTS)).shape == (3, 2, 4)
    many = OBJECTS.repeat(1, 5, 1)
    assert method("region-objects").boxes(batch(many)).shape == (3, 4, 4)


def test_the_target_follows_after_a_step():
    model = method(target__momentum=0.75, target__schedule="constant").double()
    with torch.no_grad():
        for p in model.projector.parameters():
            p.add_(1.0)
    before = [p.clone() for p in model.target.projector.parameters()]
    output = model(batch())
    model.after_update([output], Clock())
    for old, now in zip(before, model.target.projector.parameters(), strict=True):
        torch.testing.assert_close(now, old + 0.25)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"objective__count": 0}, "count must lie in 1 to 1000"),
        ({"objective__output": 0}, "output must lie in 1 to 64"),
        ({"objective__area": [0.0, 0.5]}, "area needs 0 < low"),
        ({"objective__area": [0.5, 0.1]}, "area needs 0 < low <= high <= 1"),
        ({"objective__area": [0.5, 1.5]}, "high <= 1"),
        ({"objective__ratio": [2.0, 0.5]}, "ratio needs 0 < low <= high"),
        ({"objective__area": [float("nan"), 1.0]}, "needs a finite number"),
        ({"objective__boxes": "proposals"}, "'proposals' is not one of random, objects"),
        ({"views__first__rotate": 0.5}, "boxes are not turned with their view; set views.first"),
        ({"views__common": {"kind": "View", "rotate": 1.0}}, "set views.common.rotate=0"),
        ({"views__num_global": 1, "views__second": None}, "seen in two views"),
        ({"views__local": {"kind": "View"}, "views__num_local": 1}, "views.num_local=0"),
        ({"batch_norm__joint_views": True}, "batch_norm.joint_views=false"),
        ({"batch_norm__shuffle": True}, "batch_norm.shuffle=false"),
        ({"target": "Shared"}, "target: no kind 'Shared'; known: EMA"),
    ],
)
def test_what_cannot_be_is_refused(changes, says):
    with pytest.raises(UserError, match=says):
        tiny("region", **changes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"encoder__blocks": [1, 1, 1, 1]},
            "has 1×1 cells, and parts of it are what is compared",
        ),
        ({"views__first__size": 4}, r"at 4 pixels has 1×1 cells.*views.first.size"),
        ({"encoder": "SmallAlexNet"}, "does not pool its last map into its output"),
        ({"views__*__crop__scale": [0.01, 0.02]}, "% of the images, and only there"),
        ({"predictor__out": 5}, "the predictor gives 5; set predictor.out=null"),
    ],
)
def test_so_is_what_only_the_network_tells(changes, says):
    with pytest.raises(UserError, match=says):
        method(**changes)


def test_a_batch_without_boxes_is_refused_where_they_are_needed():
    with pytest.raises(UserError, match=r"set objective\.boxes=random"):
        method("region-objects")(batch())


def test_only_an_oracle_is_given_boxes_and_they_are_those_of_its_images():
    dataset = load(SCENES, root=Path("unused"))
    seen = []
    for recipe in BOTH:
        trainer = Trainer(tiny(recipe), dataset, device=torch.device("cpu"))
        trainer.method.register_forward_hook(lambda module, args, out: seen.append(args[0]))
        trainer.step()
    assert seen[0].boxes is None
    found, row = dataset.train.instances, int(seen[1].indices[3])
    own = seen[1].boxes[3]
    assert torch.equal(own[~own.isnan().any(1)], found.box[found.image == row])


def test_a_set_without_boxes_is_refused_in_a_sentence():
    dataset = load(SCENES, root=Path("unused"))
    bare = dataclasses.replace(dataset, train=Split(dataset.train.images))
    with pytest.raises(UserError, match=r"has no boxes of objects.*--dataset scenes"):
        Trainer(tiny("region-objects"), bare, device=torch.device("cpu"))


@pytest.mark.parametrize("recipe", BOTH)
def test_a_run_on_scenes_stopped_anywhere_is_the_uninterrupted_run(recipe, tmp_path: Path):
    experiment = tiny(recipe).but({"data": SCENES, "recipe.batch_size": 8})
    whole = pretrain(experiment, provenance={}, runs=tmp_path / "a", root=tmp_path)
    with pytest.raises(Interrupted):
        pretrain(experiment, provenance={}, runs=tmp_path / "b", root=tmp_path,
                 progress=stop_after(5))  # fmt: skip
    resumed = pretrain(experiment, provenance={}, runs=tmp_path / "b", root=tmp_path)
    assert_same_encoder(whole, resumed)
    assert resumed.summary()["final"]["images_with_boxes"] > 0


def test_a_run_goes_on_from_another_ones_encoder_and_projector(tmp_path: Path):
    first = tiny("region", epochs=1)
    experiment = first.but({"recipe.start": first.recipe})
    folder = train(experiment, tmp_path)
    assert folder.status() == "finished"
