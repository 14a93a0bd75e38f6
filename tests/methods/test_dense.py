"""Dense learning: the forward is the papers', and reads the recipe's fields alone."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from sslbench.batch import Batch, Clock, ViewBatch
from sslbench.distributed import rank, world_size
from sslbench.errors import UserError
from sslbench.methods import DenseLearning
from sslbench.models.maps import map_and_vector
from sslbench.objectives.dense import pixel_consistency
from sslbench.recipes.specs import PixelConsistency
from sslbench.streams import permutation
from sslbench.views.cells import cell_distances
from tests.reference import dense as plain
from tests.reference.objectives import cosine, moco
from tests.reference.processes import run_processes
from tests.tiny import tiny

WITH_INSTANCE = {"instance__weight": 0.3}
VIT = {"encoder": {"kind": "ViT", "arch": "tiny", "patch": 4, "width": 16, "depth": 2, "heads": 2}}
SHAPE = ((4, 4), (4, 4))


def method(recipe: str, *, resolution: int = 16, **changes) -> DenseLearning:
    torch.manual_seed(0)
    recipe = tiny(recipe, **changes).recipe
    return DenseLearning(recipe, resolution=resolution).double().train()


def unit_queues(model: DenseLearning) -> None:
    """In float64 what was of length 1 in float32 is not quite so."""
    for part in (model.objective, model.instance):
        if (queue := getattr(part, "queue", None)) is not None:
            queue.entries = F.normalize(queue.entries, dim=1)


def batch(count: int = 4, *, key: int = 0, epoch: float = 1.0, sizes=(16, 16)) -> Batch:
    """Two views with boxes anywhere in an image of 16 pixels, some of them mirrored."""
    generator = torch.Generator().manual_seed(1)
    views = []
    for size in sizes:
        images = torch.randn(count, 3, size, size, generator=generator, dtype=torch.float64)
        side = 6 + 10 * torch.rand(count, 2, generator=generator, dtype=torch.float64)
        start = (16 - side) * torch.rand(count, 2, generator=generator, dtype=torch.float64)
        flipped = torch.rand(count, generator=generator) < 0.5
        views.append(ViewBatch(images, torch.cat([start, side], dim=1), flipped))
    return Batch(views, clock=Clock(key=key, epoch=epoch), order=permutation(key, count))


def positives(made: Batch, image: int, *, back: bool) -> list[list[bool]]:
    ends = [
        plain.corners(tuple(v.box[image].tolist()), bool(v.flipped[image]), 16) for v in made.views
    ]
    near = plain.near(*ends, SHAPE, 0.7)
    return [list(column) for column in zip(*near, strict=True)] if back else near


def seen(networks, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Features and projections N×L×D of a map, and the vector's projection."""
    features, vector = map_and_vector(networks.encoder, images)
    cells = networks.projector(features)
    head = networks.instance_projector
    return (
        features.flatten(2).transpose(1, 2),
        cells.flatten(2).transpose(1, 2),
        vector if head is None else head(vector),
    )


def papers_loss(model: DenseLearning, made: Batch) -> Tensor:
    """Of a model whose target is another network, image by image."""
    online = [seen(model, view.images) for view in made.views]
    with torch.no_grad():
        target = [seen(model.target, view.images) for view in made.views]
    recipe, terms = model.recipe, []
    if recipe.objective.symmetric:
        for view in (0, 1):
            predicted = online[view][1]
            if recipe.predictor is not None:
                moved = model.predictor.transform(
                    predicted.transpose(1, 2).unflatten(2, SHAPE[0])
                )  # of batch norm's layers there is none here
                moved = moved.flatten(2).transpose(1, 2)
                rows = zip(predicted, moved, strict=True)
                predicted = torch.stack([plain.propagated(x, u, 2.0) for x, u in rows])
            for i in range(len(predicted)):
                near, keys = positives(made, i, back=view == 1), target[1 - view][1][i]
                if recipe.predictor is not None:
                    terms.append(-4.0 * plain.consistency(predicted[i], keys, near))
                else:
                    terms.append(plain.pixel_contrast(predicted[i], keys, near, 0.3))
        dense = torch.stack(terms).mean()
    else:
        queue = model.objective.queue.entries
        (features, query, _), (key_features, keys, _) = online[0], target[1]
        every = zip(query, keys, features, key_features, strict=True)
        dense = (
            recipe.objective.weight
            * torch.stack(
                [plain.dense_contrast(*four, queue, recipe.objective.temperature) for four in every]
            ).mean()
        )
    if model.instance is None:
        return dense
    if recipe.objective.symmetric:
        vectors = [model.instance_predictor(view[2]) for view in online]
        each = [
            cosine(p, z)
            for view in (0, 1)
            for p, z in zip(vectors[view], target[1 - view][2], strict=True)
        ]
        return dense - recipe.instance.weight * 4.0 * torch.stack(each).mean()
    queue, spec = model.instance.queue.entries, recipe.instance.objective
    return dense + recipe.instance.weight * moco(
        online[0][2], target[1][2], queue, spec.temperature
    )


CASES = [
    ("pixpro", {}),
    ("pixpro", WITH_INSTANCE),
    ("pixpro", {"predictor__layers": 0}),
    ("pixpro", {**VIT, **WITH_INSTANCE}),
    ("pixcontrast", {}),
    ("pixcontrast", WITH_INSTANCE),
    ("densecl", {"batch_norm__shuffle": False}),
    ("densecl", {"batch_norm__shuffle": False, "instance__weight": 0.0}),
    ("densecl", {**VIT, "batch_norm__shuffle": False}),
]


@pytest.mark.parametrize(("recipe", "changes"), CASES)
def test_loss_and_gradient_are_those_of_the_papers_written_plainly(recipe, changes):
    model, made = method(recipe, **changes), batch()
    with torch.no_grad():  # another network than the online one
        for parameter in model.target.parameters():
            parameter.mul_(1.1).add_(0.01)
    unit_queues(model)
    output = model(made)
    output.loss.backward()
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    # A ViT's class token, which no map has; batch norm's layers of PixelPropagation are none here.
    found = {n: p.grad.clone() for n, p in trained.items() if p.grad is not None}
    model.zero_grad()
    expected = papers_loss(model, made)
    expected.backward()
    assert_close(output.loss, expected)
    for name, gradient in found.items():
        assert_close(gradient, trained[name].grad, msg=lambda m, n=name: f"{n}: {m}")
    assert not any(p.grad is not None for p in model.target.parameters())
    pooled = model.projector(map_and_vector(model.encoder, made.views[0].images)[0]).mean((2, 3))
    assert_close(output.embeddings, pooled.detach())
    assert not output.embeddings.requires_grad
    assert not any(value.requires_grad for value in output.metrics.values())


@pytest.mark.parametrize("recipe", ["pixpro", "pixcontrast", "densecl"])
def test_every_trained_parameter_has_a_gradient_and_the_target_starts_as_a_copy(recipe):
    model = method(recipe)
    for name in ("encoder", "projector", "instance_projector"):
        own, copied = getattr(model, name), getattr(model.target, name)
        assert (own is None) == (copied is None)
        if own is not None:
            assert_close(dict(own.state_dict()), dict(copied.state_dict()))
    # As in DenseCL's warm-up, where the dense loss weighs nothing.
    model(batch(epoch=0.0)).loss.backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


def test_the_target_follows_by_the_momentum_and_the_queues_take_the_batch():
    model, made = method("densecl").float(), batch()
    views = [ViewBatch(v.images.float(), v.box, v.flipped) for v in made.views]
    before = copy.deepcopy(model.target)
    output = model(Batch(views, order=made.order))
    with torch.no_grad():
        for parameter in [*model.encoder.parameters(), *model.instance_projector.parameters()]:
            parameter.add_(1.0)
    queues = [model.objective.queue, model.instance.queue]
    old = [queue.entries.clone() for queue in queues]
    model.after_update([output], Clock())
    momentum = model.recipe.target.momentum
    for name in ("encoder", "instance_projector"):
        parts = (getattr(m, name).parameters() for m in (model.target, before, model))
        for new, former, online in zip(*parts, strict=True):
            assert_close(new, momentum * former + (1 - momentum) * online)
    for queue, entries in zip(queues, old, strict=True):
        assert not torch.equal(queue.entries[:4], entries[:4])
        assert torch.equal(queue.entries[4:], entries[4:]) and int(queue.pointer) == 4


def test_shuffled_batch_norm_gives_each_query_its_own_key():
    plainly, shuffled = (method("densecl", batch_norm__shuffle=s) for s in (False, True))
    made = batch(8, key=5)
    for model in (plainly, shuffled):
        model.target.eval()  # then the batch does not matter
    assert_close(shuffled(made).loss, plainly(made).loss)
    for model in (plainly, shuffled):
        model.target.train()
    assert not torch.allclose(shuffled(made).loss, plainly(made).loss)


def test_a_branch_of_no_weight_is_not_there():
    without = method("pixpro")
    assert without.instance_projector is None and "projector" not in without.exported()
    names = {name.split(".")[0] for name, _ in without.named_parameters()}
    assert names == {"encoder", "projector", "predictor", "target"}
    model = method("pixpro", **WITH_INSTANCE)
    assert model.exported()["projector"] is model.instance_projector
    other = model(batch()).metrics
    assert {"positive_similarity", "dense_similarity"} <= other.keys()


def test_the_average_may_be_what_a_run_keeps():
    model = method("densecl", target__evaluate=True)
    assert model.exported()["encoder"] is model.target.encoder
    assert model.exported()["projector"] is model.target.instance_projector


def test_heads_have_their_own_rates():
    groups = {g.name: g for g in method("pixpro", predictor__learning_rate_scale=3.0).groups()}
    assert groups["predictor"].learning_rate_scale == 3.0
    assert groups["encoder"].learning_rate_scale == 1.0
    assert {n.split(".")[0] for n, _ in groups["encoder"].parameters} == {"encoder", "projector"}


@pytest.mark.parametrize("recipe", ["pixpro", "pixcontrast", "densecl"])
def test_views_may_be_of_two_sizes(recipe):
    model = method(recipe, views__first__size=24, views__second={"kind": "View"})
    output = model(batch(sizes=(24, 16)))
    output.loss.backward()
    assert torch.isfinite(output.loss) and output.embeddings.shape == (4, 8)


def test_a_view_that_is_mirrored_meets_itself():
    """The same crop, once mirrored: each cell finds its own pixels."""
    view = batch().views[0]
    mirror = ViewBatch(view.images.flip(3), view.box, ~view.flipped)
    cells = [F.avg_pool2d(v.images, 4).flatten(2) for v in (view, mirror)]
    distances = cell_distances(view, mirror, *SHAPE)
    spec = PixelConsistency(threshold=0.1, scale=1.0)
    loss, _ = pixel_consistency(spec, cells, cells, distances)
    assert loss.item() == pytest.approx(-1.0, rel=1e-5)


def test_another_runs_networks_are_taken_over_by_the_target_too():
    model, other = method("pixpro"), method("pixpro")
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.5)
    model.take_over({"encoder": other.encoder.state_dict()})
    for encoder in (model.encoder, model.target.encoder):
        assert_close(dict(encoder.state_dict()), dict(other.encoder.state_dict()))


def test_a_step_in_bf16_is_near_that_in_float32():
    losses = []
    for enabled in (False, True):
        model = method("pixpro").float()
        made = batch()
        views = [ViewBatch(v.images.float(), v.box.float(), v.flipped) for v in made.views]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            losses.append(model(Batch(views)).loss.item())
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


@pytest.mark.parametrize(
    ("recipe", "changes", "says"),
    [
        ("pixpro", {"encoder": {"kind": "NarrowResNet", "width": 4, "blocks": [1, 1, 1, 1]}},
         r"The last map of NarrowResNet at 16 pixels has 1×1 cells"),
        ("densecl", {"encoder": {"kind": "NarrowResNet", "width": 4, "blocks": [1, 1, 1, 1]}},
         "1×1 cells"),
        ("pixpro", {"views__second": {"kind": "View", "size": 4}}, r"larger views.second.size"),
        ("pixpro", {"encoder": {"kind": "SmallAlexNet"}, "resolution": 64, **WITH_INSTANCE},
         "SmallAlexNetEncoder does not pool its last map"),
        ("densecl", {"encoder": {"kind": "Torchvision", "name": "squeezenet1_1"}, "resolution": 64,
                     "instance__weight": 0.0}, "gives no feature maps that are known"),
        ("pixpro", {"views__*__crop__scale": [0.01, 0.02]},
         r"The two views have a part in common in \d+ % of the images"),
        ("pixpro", {**WITH_INSTANCE, "instance__predictor__out": 5},
         "The instance branch compares projections of width 8, the predictor gives 5"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused_before_the_first_step(recipe, changes, says):
    with pytest.raises(UserError, match=says):
        method(recipe, **changes)


def test_densecl_needs_no_overlap():
    method("densecl", **{"views__*__crop__scale": [0.01, 0.02]})(batch())


def halves() -> dict[str, Tensor]:
    """Loss, metrics and gradient of this process's half of a batch, with the instance branch."""
    found = {}
    for recipe in ("pixpro", "pixcontrast"):
        model, made = method(recipe, **WITH_INSTANCE), batch(8)
        own = slice(rank() * 8 // world_size(), (rank() + 1) * 8 // world_size())
        views = [ViewBatch(v.images[own], v.box[own], v.flipped[own]) for v in made.views]
        output = model(Batch(views, clock=made.clock))
        output.loss.backward()
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        parts = {"loss": output.loss.detach(), **output.metrics, **gradients}
        found |= {f"{recipe} {name}": value for name, value in parts.items()}
    return found


def test_two_processes_have_the_loss_metrics_and_gradient_of_one(tmp_path: Path):
    alone, both = halves(), run_processes(halves, folder=tmp_path)
    for name, value in alone.items():
        mean = sum(part[name] for part in both) / 2
        assert_close(mean, value, msg=lambda m, n=name: f"{n}: {m}")
