"""The losses on cells are those of the papers, written in loops."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from sslbench.batch import Clock
from sslbench.objectives.dense import (
    DENSE_OBJECTIVES,
    DenseContrastLoss,
    Map,
    PositionLoss,
    dense_contrast,
    matches,
    pixel_consistency,
    pixel_contrast,
)
from sslbench.recipes.base import kinds
from sslbench.recipes.specs import (
    DenseContrast,
    DenseObjectiveSpec,
    PixelConsistency,
    PixelContrast,
)
from tests.reference.dense import consistency
from tests.reference.dense import dense_contrast as plain_dense_contrast
from tests.reference.dense import pixel_contrast as plain_pixel_contrast

N, D, C, L, M, K = 3, 5, 6, 4, 9, 7


def drawn(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.fixture
def cells() -> list[Tensor]:
    """Online of both views, target of both, the second view's map of another size."""
    shapes = ((N, D, L), (N, D, M), (N, D, L), (N, D, M))
    return [drawn(*shape, seed=i).requires_grad_() for i, shape in enumerate(shapes)]


@pytest.fixture
def distances() -> Tensor:
    """The views of the last image do not meet."""
    generator = torch.Generator().manual_seed(9)
    found = 2 * torch.rand(N, L, M, generator=generator)
    found[-1] = 3.0
    found[0, 0] = 3.0  # a cell without a near one in an image that has others
    return found


def pairs(distances: Tensor, threshold: float, image: int, *, back: bool) -> list[list[bool]]:
    near = distances[image] < threshold
    return (near.T if back else near).tolist()


def gradients(loss: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad(loss, leaves, retain_graph=True))


@pytest.mark.parametrize("threshold", [0.3, 0.7, 1.5])
@pytest.mark.parametrize("kind", [PixelConsistency, PixelContrast])
def test_losses_of_near_cells_are_the_papers(kind, threshold, cells, distances) -> None:
    online, target = cells[:2], cells[2:]
    terms = []
    for image in range(N):
        for view in (0, 1):
            near = pairs(distances, threshold, image, back=view == 1)
            own, other = online[view][image].T, target[1 - view][image].T
            if kind is PixelConsistency:
                terms.append(-4.0 * consistency(own, other, near))
            else:
                terms.append(plain_pixel_contrast(own, other, near, 0.3))
    plain = torch.stack(terms).mean()
    function = pixel_consistency if kind is PixelConsistency else pixel_contrast
    loss, metrics = function(kind(threshold=threshold), online, target, distances)
    assert_close(loss, plain)
    for found, expected in zip(gradients(loss, cells), gradients(plain, cells), strict=True):
        assert_close(found, expected)
    assert float(metrics["overlap_share"]) == pytest.approx(200 / 3)


@pytest.mark.parametrize("function", [pixel_consistency, pixel_contrast])
def test_views_that_never_meet_cost_nothing_and_move_nothing(function, cells) -> None:
    spec = PixelConsistency() if function is pixel_consistency else PixelContrast()
    loss, metrics = function(spec, cells[:2], cells[2:], torch.full((N, L, M), 2.0))
    assert loss.item() == 0.0
    for gradient in gradients(loss, cells):
        assert torch.equal(gradient, torch.zeros_like(gradient))
    assert all(float(value) == 0.0 for value in metrics.values())


def test_equal_cells_reach_the_least_loss() -> None:
    same = [drawn(N, D, 1, seed=0).expand(-1, -1, L)] * 2
    near = torch.zeros(N, L, L)
    loss, metrics = pixel_consistency(PixelConsistency(), same, same, near)
    assert loss.item() == pytest.approx(-4.0, rel=1e-6)
    assert float(metrics["dense_similarity"]) == pytest.approx(1.0, rel=1e-6)


def test_accuracy_counts_cells_that_are_most_alike_to_a_near_one() -> None:
    views = [torch.eye(4, dtype=torch.float64)[None]] * 2  # cell i is unit vector i
    here = torch.where(torch.eye(4, dtype=torch.bool), 0.0, 2.0)[None]
    _, metrics = pixel_contrast(PixelContrast(), views, views, here)
    assert float(metrics["dense_accuracy"]) == 100.0
    moved = here.roll(1, dims=2)
    assert float(pixel_contrast(PixelContrast(), views, views, moved)[1]["dense_accuracy"]) == 0.0


@pytest.mark.parametrize("temperature", [0.1, 0.2, 1.0])
def test_dense_contrast_is_the_papers(temperature) -> None:
    leaves = [drawn(N, D, L, seed=0).requires_grad_()]
    features, keys = drawn(N, C, L, seed=1), drawn(N, D, M, seed=2)
    key_features, queue = drawn(N, C, M, seed=3), F.normalize(drawn(K, D, seed=4), dim=1)
    plain = torch.stack(
        [
            plain_dense_contrast(
                leaves[0][i].T, keys[i].T, features[i].T, key_features[i].T, queue, temperature
            )
            for i in range(N)
        ]
    ).mean()
    spec = DenseContrast(temperature=temperature, queue=K)
    online, target = Map(features, leaves[0]), Map(key_features, keys)
    loss, metrics = dense_contrast(spec, online, target, queue=queue)
    assert_close(loss, plain)
    assert_close(gradients(loss, leaves), gradients(plain, leaves))
    assert 0 <= float(metrics["dense_accuracy"]) <= 100


def test_a_match_is_of_backbone_features_and_has_no_gradient() -> None:
    features = drawn(N, C, L, seed=0).requires_grad_()
    order = torch.tensor([2, 0, 3, 1])
    lengths = torch.tensor([0.1, 7.0, 1.0, 3.0])  # which cosines ignore
    scaled = features.detach()[:, :, order] * lengths
    found = matches(features, scaled)
    assert torch.equal(found, torch.argsort(order).expand(N, -1))
    assert not found.requires_grad


def contrast(warmup: float = 0.0) -> DenseContrastLoss:
    return DenseContrastLoss(DenseContrast(queue=6, warmup_epochs=warmup), width=D, seed=0)


def maps(seed: int = 0) -> tuple[dict[int, Map], dict[int, Map]]:
    made = [Map(drawn(N, C, L, seed=seed + i), drawn(N, D, L, seed=seed + 4 + i)) for i in (0, 1)]
    return {0: made[0]}, {1: made[1]}


def test_the_queue_takes_one_vector_an_image_the_mean_of_its_projected_cells() -> None:
    loss, (online, target) = contrast(), maps()
    before = loss.queue.entries.clone()
    output = loss(online, target, None, Clock())
    assert torch.equal(loss.queue.entries, before)  # the step has read what was there
    loss.remember(output.carry)
    expected = F.normalize(target[1].cells.mean(dim=2), dim=1).float()
    assert_close(loss.queue.entries[:N], expected)
    assert torch.equal(loss.queue.entries[N:], before[N:])


@pytest.mark.parametrize(("epoch", "weight"), [(0.0, 0.0), (0.9, 0.0), (1.0, 0.5), (5.0, 0.5)])
def test_the_dense_loss_begins_after_the_warm_up(epoch, weight) -> None:
    loss, (online, target) = contrast(warmup=1.0), maps()
    plain, _ = dense_contrast(loss.spec, online[0], target[1], queue=loss.queue.entries)
    cells = online[0].cells.requires_grad_()
    found = loss({0: Map(online[0].features, cells)}, target, None, Clock(epoch=epoch)).loss
    assert_close(found.detach(), weight * plain)
    (gradient,) = torch.autograd.grad(found, [cells])  # there, and 0 before
    assert bool(gradient.abs().sum() > 0) == (weight > 0)


def test_cells_in_half_precision_are_compared_in_float32(cells, distances) -> None:
    halves = [x.detach().bfloat16() for x in cells]
    loss, _ = pixel_contrast(PixelContrast(), halves[:2], halves[2:], distances)
    exact, _ = pixel_contrast(
        PixelContrast(), [x.float() for x in halves[:2]], [x.float() for x in halves[2:]], distances
    )
    assert loss.dtype == torch.float32 and torch.equal(loss, exact)


def test_every_kind_has_an_implementation() -> None:
    assert set(DENSE_OBJECTIVES) == set(kinds(DenseObjectiveSpec))
    for kind, build in DENSE_OBJECTIVES.items():
        assert (build is PositionLoss) == kind.reads_positions
