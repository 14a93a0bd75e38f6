"""DINO: the teacher's scores, centred and sharpened, are what the student predicts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from sslbench.distributed import rank, world_size
from sslbench.errors import UserError
from sslbench.objectives import Centre
from sslbench.objectives.cluster_assignment import (
    Assigned,
    cluster_assignment,
    teacher_temperature,
)
from sslbench.recipes.specs import Centering, ClusterAssignment, Sinkhorn
from tests.reference import objectives as reference
from tests.reference.embeddings import assert_same, compute, embeddings
from tests.reference.processes import run_processes

K = 6
SPEC = ClusterAssignment(temperature=0.1, assignment=Centering(temperature=0.04))
MSE = SPEC.but(loss="normalized_mse")


def scores(count: int, *, heads: int = 1, seed: int = 0) -> list[Tensor]:
    """Leaves N×H×K, of the size of cosines."""
    drawn = embeddings(count, d=heads * K, seed=seed)
    return [(x.detach() / 4).view(-1, heads, K).requires_grad_() for x in drawn]


def centre(*, heads: int = 1) -> Centre:
    """One that has moved."""
    made = Centre(heads, K, momentum=0.9)
    made.value.copy_(torch.linspace(-0.3, 0.4, heads * K).view(heads, K))
    return made.double()


def loss_of(spec: ClusterAssignment, online: Any, target: Any, **given: Any) -> Tensor:
    loss, metrics = compute(spec, online, target, **{"centre": centre().value, **given})
    assert all(torch.isfinite(value) for value in metrics.values())
    return loss


@pytest.mark.parametrize("num_views", [2, 5])
@pytest.mark.parametrize("teacher_temperature", [0.04, 0.07, 1.0])
def test_it_is_the_formula_of_the_paper(num_views: int, teacher_temperature: float) -> None:
    spec = SPEC.but({"assignment.temperature": teacher_temperature})
    student, teacher = scores(num_views), scores(2, seed=1)
    theirs = reference.dino(
        [x[:, 0] for x in student], [x[:, 0].detach() for x in teacher], centre().value[0],
        0.1, teacher_temperature,
    )  # fmt: skip
    ours = loss_of(spec, student, teacher)
    assert_same(ours, theirs, student)
    ours.backward()
    assert all(x.grad is None for x in teacher)


@pytest.mark.parametrize("num_views", [2, 5])
def test_the_squared_error_is_of_unit_outputs_without_sharpening(num_views: int) -> None:
    student, teacher = scores(num_views), scores(2, seed=1)
    theirs = reference.dino_mse(
        [x[:, 0] for x in student], [x[:, 0].detach() for x in teacher], centre().value[0]
    )
    ours = loss_of(MSE, student, teacher)
    assert_same(ours, theirs, student)
    ours.backward()
    assert all(x.grad is None for x in teacher)


def test_the_squared_error_knows_neither_temperature_nor_length() -> None:
    student, teacher = scores(3), scores(2, seed=1)
    loss = loss_of(MSE, student, teacher)
    other = MSE.but({"temperature": 1.0, "assignment.temperature": 0.9})
    assert_close(loss_of(other, [3 * x for x in student], teacher), loss)
    assert 0 < loss.item() < 4
    opposite = centre().value - torch.ones_like(student[0])  # what the centre leaves is -1
    assert_close(loss_of(MSE, [torch.ones_like(x) for x in student], [opposite] * 2),
                 torch.tensor(4.0, dtype=torch.float64))  # fmt: skip


def test_the_squared_error_is_of_centred_scores_only() -> None:
    with pytest.raises(UserError, match=r"not the codes of Sinkhorn; set objective\.assignment"):
        ClusterAssignment(loss="normalized_mse", assignment=Sinkhorn())


def test_heads_are_averaged() -> None:
    student, teacher = scores(3, heads=2), scores(2, heads=2, seed=1)
    theirs = [
        reference.dino(
            [x[:, h] for x in student], [x[:, h].detach() for x in teacher],
            centre(heads=2).value[h], 0.1, 0.04,
        )
        for h in range(2)
    ]  # fmt: skip
    ours = loss_of(SPEC, student, teacher, centre=centre(heads=2).value)
    assert_same(ours, sum(theirs) / 2, student)
    squared = [
        reference.dino_mse(
            [x[:, h] for x in student], [x[:, h].detach() for x in teacher],
            centre(heads=2).value[h],
        )
        for h in range(2)
    ]  # fmt: skip
    ours = loss_of(MSE, student, teacher, centre=centre(heads=2).value)
    assert_same(ours, sum(squared) / 2, student)


def test_the_first_view_and_the_crops_predict_the_second_where_it_is_one_sided() -> None:
    student, teacher = scores(3), scores(2, seed=1)
    views = [student[v][:, 0] for v in (1, 0, 2)]  # the reference leaves out the target's own
    theirs = reference.dino(views, [teacher[1][:, 0].detach()], centre().value[0], 0.1, 0.04)
    ours = loss_of(SPEC.but(symmetric=False), [student[0], None, student[2]], teacher)
    assert_same(ours, theirs, [student[0], student[2]])


def test_what_all_images_share_is_taken_away() -> None:
    student, teacher = scores(2), scores(2, seed=1)
    shift = torch.linspace(-1, 1, K, dtype=torch.float64)
    moved = centre()
    moved.value += shift
    same = loss_of(SPEC, student, [x + shift for x in teacher], centre=moved.value)
    assert_close(same, loss_of(SPEC, student, teacher))


def test_the_temperature_rises_over_the_warmup() -> None:
    how = Centering(temperature=0.07, start_temperature=0.04, warmup_epochs=30)
    epochs = torch.tensor([0.0, 15, 30, 200], dtype=torch.float64)
    expected = torch.tensor([0.04, 0.055, 0.07, 0.07], dtype=torch.float64)
    assert_close(teacher_temperature(how, epochs), expected)
    constant = Centering(temperature=0.04, warmup_epochs=30)
    assert teacher_temperature(constant, epochs) == 0.04
    student, teacher = scores(2), scores(2, seed=1)
    early = loss_of(SPEC.but(assignment=how), student, teacher, epoch=15.0)
    fixed = SPEC.but({"assignment.temperature": 0.055})
    assert_close(early, loss_of(fixed, student, teacher))


def test_metrics_split_the_loss_into_entropy_and_divergence() -> None:
    student, teacher = scores(4), scores(2, seed=1)
    given = Assigned(centre=centre().value)
    loss, metrics = cluster_assignment(SPEC, student, teacher, given=given)
    codes = torch.cat([((x - centre().value) / 0.04).softmax(2) for x in teacher])
    assert_close(metrics["assignment_entropy"], -(codes * codes.log()).sum(2).mean())
    assert_close(metrics["assignment_entropy"] + metrics["divergence"], loss.detach())
    _, squared = cluster_assignment(MSE, student, teacher, given=given)
    assert_close(squared["divergence"], metrics["divergence"])


@pytest.mark.parametrize("loss", ["cross_entropy", "normalized_mse"])
def test_equal_distributions_have_no_divergence_and_no_gradient(loss: Any) -> None:
    spec = ClusterAssignment(temperature=0.1, assignment=Centering(temperature=0.1), loss=loss)
    (x,) = scores(1)
    given = Assigned(centre=Centre(1, K, momentum=0.9).double().value)
    value, metrics = cluster_assignment(spec, [x, x], [x.detach()] * 2, given=given)
    zero = torch.zeros((), dtype=torch.float64)
    assert_close(metrics["divergence"], zero)
    if loss == "normalized_mse":
        assert_close(value.detach(), zero)
    value.backward()
    assert_close(x.grad, torch.zeros_like(x))


def test_a_blunt_teacher_asks_for_all_prototypes_alike() -> None:
    student, teacher = scores(2), scores(2, seed=1)
    blunt = SPEC.but({"assignment.temperature": 1e7})
    _, metrics = cluster_assignment(blunt, student, teacher, given=Assigned(centre=centre().value))
    assert metrics["assignment_entropy"].item() == pytest.approx(math.log(K))


def test_half_precision_is_computed_in_float32() -> None:
    student, teacher = ([x.detach().bfloat16() for x in scores(2, seed=s)] for s in (0, 1))
    assert loss_of(SPEC, student, teacher).dtype == torch.float32


@pytest.mark.parametrize("fields", [{"temperature": 0.0}, {"temperature": -0.1},
                                    {"start_temperature": 0.0}])  # fmt: skip
def test_a_teacher_temperature_at_or_below_zero_is_refused(fields: dict[str, float]) -> None:
    with pytest.raises(UserError, match="must be > 0"):
        Centering(**fields)


def test_without_a_centre_it_is_refused() -> None:
    with pytest.raises(UserError, match="given no centre"):
        loss_of(SPEC, scores(2), scores(2), centre=None)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_centre_follows_the_mean_of_both_views(momentum: float) -> None:
    moving = Centre(1, K, momentum=momentum)
    wanted = torch.zeros(K, dtype=torch.float64)
    for seed in range(3):
        teacher = [x.detach() for x in scores(2, seed=seed)]
        moving.update(torch.cat(teacher))
        wanted = reference.centre_update(wanted, [x[:, 0] for x in teacher], momentum)
    assert_close(moving.value[0], wanted.float())
    assert moving.state_dict().keys() == {"value"}


def moved_centre() -> Tensor:
    """The centre of three batches of which this process has its rows."""
    moving = Centre(2, K, momentum=0.9)
    for seed in range(3):
        views = embeddings(2, n=8, d=2 * K, seed=seed)
        rows = [x.detach().view(8, 2, K).chunk(world_size())[rank()] for x in views]
        moving.update(torch.cat(rows))
    return moving.value


def test_the_centre_of_two_processes_is_that_of_one(tmp_path: Path) -> None:
    first, second = run_processes(moved_centre, folder=tmp_path)
    assert torch.equal(first, second)
    assert_close(first, moved_centre())
