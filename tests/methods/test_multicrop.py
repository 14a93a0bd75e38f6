"""Local crops and prototypes in the one forward of all joint-embedding methods."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from sslbench.batch import Clock, Moment
from sslbench.errors import UserError
from sslbench.methods import JointEmbedding, Supervised
from sslbench.objectives import Prototypes
from sslbench.recipes import RECIPES, specs
from sslbench.recipes.families import JointRecipe
from tests.tiny import TRAINED, batch_of, tiny

LOCAL = {"views__local": {"kind": "View", "size": 8}, "views__num_local": 3}
CLUSTERS = {
    "objective": "ClusterAssignment",
    "prototypes": {"kind": "Prototypes", "count": 6, "heads": 2},
}


def method(recipe: str, **changes) -> JointEmbedding:
    torch.manual_seed(0)
    experiment = tiny(recipe, **changes)
    return JointEmbedding(experiment.recipe, resolution=16, num_images=96).train()


@pytest.fixture
def views() -> list[Tensor]:
    """Two global views of 16 pixels, three local crops of 8."""
    generator = torch.Generator().manual_seed(0)
    sides = [16, 16, 8, 8, 8]
    return [torch.randn(16, 3, side, side, generator=generator) for side in sides]


def shapes_seen(module: nn.Module) -> list[tuple[int, ...]]:
    seen: list[tuple[int, ...]] = []
    module.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    return seen


def test_one_forward_for_each_size_and_one_of_the_projector(views):
    model = method("simclr", **LOCAL)
    encoder, projector = shapes_seen(model.encoder), shapes_seen(model.projector)
    model(batch_of(views))
    assert encoder == [(32, 3, 16, 16), (48, 3, 8, 8)]
    assert [shape[0] for shape in projector] == [80]


def test_global_views_keep_their_own_statistics_where_the_recipe_says_so(views):
    model = method("byol", **LOCAL)
    encoder, target = shapes_seen(model.encoder), shapes_seen(model.target.encoder)
    model(batch_of(views))
    assert encoder == [(16, 3, 16, 16), (16, 3, 16, 16), (48, 3, 8, 8)]
    assert target == [(16, 3, 16, 16), (16, 3, 16, 16)]  # the target never sees a local crop


def test_a_one_sided_method_does_not_forward_its_key_online(views):
    model = method("moco-v2", **LOCAL)
    encoder = shapes_seen(model.encoder)
    model(batch_of(views))
    assert encoder == [(16, 3, 16, 16), (48, 3, 8, 8)]


def test_views_come_back_in_order_whatever_their_sizes(views):
    model = method("simclr").eval()
    mixed = [views[0], views[2], views[1], views[3]]
    with torch.no_grad():
        together = [*model._project_together(dict(enumerate(mixed))).values()]
        alone = [model.projector(model.encoder(view)) for view in mixed]
    assert_close(together, alone)


@pytest.mark.parametrize("recipe", [r for r in TRAINED if isinstance(RECIPES[r], JointRecipe)])
def test_every_method_takes_local_crops(recipe, views):
    changes = dict(LOCAL)
    experiment = tiny(recipe)
    num_global = experiment.recipe.views.num_global
    if experiment.recipe.views.num_local:
        changes = {"views__num_local": 3}
    torch.manual_seed(0)
    model = method(recipe, **changes)
    given = views[:1] + views[2:] if num_global == 1 else views
    crops = [view.requires_grad_() for view in given[num_global:]]
    model(batch_of(given, indices=torch.arange(16))).loss.backward()
    assert all(crop.grad is not None and crop.grad.abs().sum() > 0 for crop in crops)


def test_supervision_is_a_mean_over_views(views):
    experiment = tiny("supervised", **LOCAL)
    torch.manual_seed(0)
    model = Supervised(experiment.recipe, resolution=16, num_classes=10).eval()
    labels = torch.arange(16) % 10
    with torch.no_grad():
        together = model(batch_of(views, labels=labels)).loss
        alone = torch.stack([model(batch_of([view], labels=labels)).loss for view in views]).mean()
    assert_close(together, alone)


def test_the_average_is_evaluated_where_the_recipe_says_so(views):
    online, average = method("byol"), method("byol", target__evaluate=True)
    assert online.exported() == {"encoder": online.encoder, "projector": online.projector}
    target = average.target
    assert average.exported() == {"encoder": target.encoder, "projector": target.projector}


def test_prototypes_score_cosines_and_stay_on_the_sphere():
    spec = specs.Prototypes(count=5, heads=2)
    model, z = Prototypes(spec, 4), torch.randn(3, 4, dtype=torch.float64)
    scores = model(z)
    assert scores.shape == (3, 2, 5)
    expected = nn.functional.cosine_similarity(z[:, None, None], model.weight.double()[None], dim=3)
    assert_close(scores, expected)
    with torch.no_grad():
        model.weight.mul_(3.0)
    model.renormalize()
    assert_close(model.weight.norm(dim=2), torch.ones(2, 5))


def test_weight_norm_sends_no_gradient_along_the_prototype():
    model = Prototypes(specs.Prototypes(count=5, constraint="weight_norm"), 4)
    with torch.no_grad():
        model.weight.mul_(2.0)
    model(torch.randn(3, 4)).square().sum().backward()
    along = (model.weight.grad * model.weight).sum(dim=2)
    assert_close(along, torch.zeros(1, 5), atol=1e-5, rtol=0)
    model.renormalize()
    assert_close(model.weight.norm(dim=2), torch.full((1, 5), 2.0))


def test_the_target_has_prototypes_of_its_own_that_follow(views):
    model = method("byol", predictor=None, **LOCAL, **CLUSTERS)
    pairs = zip(model.online_parameters(), model.target_parameters(), strict=True)
    assert any(target is model.objective.target_prototypes.weight for _, target in pairs)
    output = model(batch_of(views))
    output.loss.backward()
    assert model.objective.prototypes.weight.grad is not None
    assert model.objective.target_prototypes.weight.grad is None
    assert [tuple(s.shape) for s in output.carry[0][2]] == [(16, 2, 6)] * 2


def test_frozen_prototypes_get_no_gradient_until_their_epoch(views):
    changes = {**CLUSTERS, "prototypes": {"kind": "Prototypes", "count": 6, "frozen_epochs": 1.0}}
    model = method("simsiam", predictor=None, **changes)
    model(batch_of(views[:2])).loss.backward()
    model.before_step(Moment(epoch=0.9))
    model.before_update(Clock())
    assert model.objective.prototypes.weight.grad is None
    model(batch_of(views[:2])).loss.backward()
    model.before_step(Moment(epoch=1.0))
    model.before_update(Clock())
    assert model.objective.prototypes.weight.grad is not None


def test_the_centre_follows_the_targets_scores(views):
    changes = {**CLUSTERS, "objective": {"kind": "ClusterAssignment", "assignment": "Centering"}}
    model = method("byol", predictor=None, **changes)
    output = model(batch_of(views[:2]))
    assert model.objective.centre.value.abs().sum() == 0
    model.after_update([output], Clock())
    assert_close(model.objective.centre.value, 0.1 * torch.cat(output.carry[0][2]).mean(dim=0))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"objective": "ClusterAssignment"}, "set prototypes=Prototypes"),
        ({"prototypes": "Prototypes"}, "set prototypes=null"),
        ({**CLUSTERS, "target": "MemoryBank"}, "set target to Shared or EMA"),
    ],
)
def test_prototypes_and_clusters_come_together(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        tiny("simsiam", **changes)


def test_a_predictor_of_another_width_is_refused():
    with pytest.raises(UserError, match=r"set predictor\.out=null"):
        method("byol", predictor__out=5, **CLUSTERS)
