from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing import assert_close

from sslbench.distributed import rank, world_size
from sslbench.errors import UserError
from sslbench.objectives.patches import standardize
from sslbench.objectives.reconstruction import (
    TARGETS,
    PatchTargets,
    build_target,
    patchify,
    reconstruction_loss,
    unpatchify,
)
from sslbench.recipes.base import kinds
from sslbench.recipes.specs import (
    HOG,
    Codebook,
    PatchTarget,
    Pixels,
    PrincipalComponents,
    Reconstruction,
)
from tests.fake_cuda import CUDA, NoHostReads
from tests.reference import masked as reference
from tests.reference.embeddings import assert_same
from tests.reference.processes import run_processes

PATCH = 4
SPECS = {
    "pixels": Pixels(),
    "standardised pixels": Pixels(normalize=True),
    "components": PrincipalComponents(components=6),
    "codebook": Codebook(size=8, iterations=3),
    "standardised codebook": Codebook(size=8, iterations=3, normalize=True),
    "hog": HOG(cell=2),
}


def images(count: int = 3, *, side: int = 8, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, side, side, generator=generator, dtype=torch.float64)


def built(spec: PatchTarget, patch: int = PATCH) -> PatchTargets:
    """Fitted, where it has to be, to other images than `images` gives by default."""
    target = build_target(spec, patch=patch, seed=0)
    if target.needs_fit:
        target.fit(patchify(images(40, seed=1).float(), patch).flatten(0, 1))
    return target


def hidden_of(n: int, length: int, count: int) -> Tensor:
    """`count` of an image's patches, other ones of each."""
    noise = torch.rand(n, length, generator=torch.Generator().manual_seed(2))
    return noise.argsort(dim=1) < count


def test_every_kind_has_an_implementation() -> None:
    own = {kind for kind in kinds(PatchTarget) if kind.__module__.startswith("sslbench.")}
    assert set(TARGETS) == {kind for kind in own if "sslbench.plugins." not in kind.__module__}


def test_patches_are_in_rows_and_end_with_the_channel() -> None:
    x = images()[..., :4]  # 8×4: not square
    expected = torch.tensor([reference.patches(image, 2) for image in x], dtype=torch.float64)
    assert torch.equal(patchify(x, 2), expected)


@pytest.mark.parametrize("patch", [1, 2, 4, 8])
def test_images_come_back_from_their_patches(patch: int) -> None:
    assert torch.equal(unpatchify(patchify(images(), patch), patch), images())


def test_pixels_are_the_patches() -> None:
    assert torch.equal(built(Pixels())(images()), patchify(images(), PATCH))


def test_standardised_pixels_are_the_papers() -> None:
    expected = [
        [reference.standardized(p) for p in reference.patches(image, PATCH)] for image in images()
    ]
    ours = built(Pixels(normalize=True))(images())
    assert_close(ours, torch.tensor(expected, dtype=torch.float64))


def test_a_flat_patch_becomes_zeros() -> None:
    assert torch.equal(standardize(torch.full((1, 48), 0.5)), torch.zeros(1, 48))


@pytest.mark.parametrize("loss", ["mse", "l1", "cross_entropy"])
def test_the_loss_is_the_plain_one_with_its_gradient(loss: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    predicted = torch.randn(2, 4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = torch.randn(2, 4, 5, generator=generator, dtype=torch.float64)
    if loss == "cross_entropy":
        targets = targets.argmax(dim=2)
    hidden = hidden_of(2, 4, 3)
    ours = reconstruction_loss(predicted, targets, hidden, loss=loss)
    expected = reference.reconstruction_loss(predicted, targets, hidden, loss)
    assert_same(ours, expected, [predicted])


def test_visible_patches_have_no_loss_and_no_gradient() -> None:
    target, hidden = built(Pixels()), hidden_of(3, 4, 1)
    targets = target(images())
    predicted = (targets + 1).requires_grad_()
    loss = target.loss(predicted, targets, hidden, loss="mse")
    assert_close(float(loss.detach()), 1.0)
    (slope,) = torch.autograd.grad(loss, predicted)
    assert bool((slope[~hidden] == 0).all()) and bool((slope[hidden] != 0).all())
    moved = torch.where(hidden[..., None], predicted, 1e9)
    assert_close(target.loss(moved, targets, hidden, loss="mse"), loss)


def test_a_codebook_has_cross_entropy_and_numbers_what_the_spec_says() -> None:
    for spec in (Reconstruction(), Reconstruction(loss="l1"), Reconstruction(target=Codebook())):
        target = built(spec.target.but(size=8) if spec.target.is_class else spec.target)
        targets, hidden = target(images()), hidden_of(3, 4, 2)
        predicted = torch.full((3, 4, target.outputs), 0.3, dtype=torch.float64)
        how: Any = "cross_entropy" if spec.target.is_class else spec.loss
        assert_close(
            target.loss(predicted, targets, hidden, loss=spec.loss),
            reference.reconstruction_loss(predicted, targets, hidden, how),
        )


@pytest.mark.parametrize("name", SPECS)
def test_the_form_of_targets_is_as_promised(name: str) -> None:
    target = built(SPECS[name])
    found = target(images())
    if SPECS[name].is_class:
        assert found.shape == (3, 4) and found.dtype == torch.int64
        assert int(found.min()) >= 0 and int(found.max()) < target.outputs
    else:
        assert found.shape == (3, 4, target.outputs) and found.dtype == torch.float64


@pytest.mark.parametrize("name", SPECS)
def test_half_precision_leaves_targets_and_loss_in_float32(name: str) -> None:
    target, x, hidden = built(SPECS[name]), images().float(), hidden_of(3, 4, 2)
    expected = target(x)
    predicted = torch.randn(3, 4, target.outputs, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        inside = target(x)
        loss = target.loss(predicted.bfloat16(), inside, hidden, loss="mse")
    assert torch.equal(inside, expected) and inside.dtype == expected.dtype
    assert loss.dtype == torch.float32
    assert_close(loss, target.loss(predicted.bfloat16().float(), expected, hidden, loss="mse"),
                 rtol=0, atol=0)  # fmt: skip


@pytest.mark.parametrize("name", SPECS)
def test_targets_have_no_gradient_and_no_parameters(name: str) -> None:
    target = built(SPECS[name])
    assert not target(images().requires_grad_()).requires_grad
    assert not list(target.parameters())


@pytest.mark.parametrize("name", SPECS)
def test_a_step_on_a_gpu_waits_for_no_number(name: str) -> None:
    target = built(SPECS[name])
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        for key, value in target.named_buffers():
            setattr(target, key, mode.from_tensor(value).to(CUDA))
        x = torch.empty(3, 3, 8, 8, device=CUDA)
        hidden = torch.empty(3, 4, dtype=torch.bool, device=CUDA)
        with NoHostReads():
            targets = target(x)
            predicted = torch.empty(3, 4, target.outputs, device=CUDA)
            loss = target.loss(predicted, targets, hidden, loss="mse")
            metrics = target.metrics(targets, hidden)
    assert loss.device == CUDA and all(value.device == CUDA for value in metrics.values())


@pytest.mark.parametrize("name", [name for name in SPECS if name != "hog"])
def test_a_perfect_prediction_is_drawn_as_near_the_image_as_its_kind_can(name: str) -> None:
    target, x = built(SPECS[name]), images()
    found = target(x)
    if SPECS[name].is_class:
        found = torch.nn.functional.one_hot(found, target.outputs).double()
    drawn, patches = target.to_pixels(found, x), patchify(x, PATCH)
    error = (drawn - patches).square().mean()
    if isinstance(SPECS[name], Pixels):
        assert_close(drawn, patches)
    else:
        assert 0.01 < float(error) < float(patches.square().mean())


def test_gradients_cannot_be_drawn() -> None:
    target = built(HOG(cell=4))
    with pytest.raises(UserError, match="cannot be drawn as pixels; choose another target"):
        target.to_pixels(target(images()), images())


@pytest.mark.parametrize("name", ["components", "codebook"])
def test_a_fit_is_saved_and_loaded_with_the_run(name: str) -> None:
    target, copy = built(SPECS[name]), build_target(SPECS[name], patch=PATCH, seed=5)
    assert not bool(copy.fitted)
    copy.load_state_dict(target.state_dict())
    assert bool(copy.fitted)
    assert torch.equal(copy(images()), target(images()))


@pytest.mark.parametrize("name", ["components", "codebook"])
def test_a_fit_of_other_patches_does_not_load(name: str) -> None:
    with pytest.raises(RuntimeError, match="size mismatch"):
        build_target(SPECS[name], patch=2, seed=0).load_state_dict(built(SPECS[name]).state_dict())


def of_this_process() -> dict[str, Any]:
    """Losses, gradients, metrics and fits of this process's images."""
    n = 4 // world_size()
    rows = slice(rank() * n, (rank() + 1) * n)
    x, hidden = images(4)[rows], hidden_of(4, 4, 2)[rows]
    results: dict[str, Any] = {}
    for name, spec in SPECS.items():
        target = built(spec)
        generator = torch.Generator().manual_seed(7)
        whole = torch.randn(4, 4, target.outputs, generator=generator, dtype=torch.float64)
        predicted = whole[rows].clone().requires_grad_()
        targets = target(x)
        loss = target.loss(predicted, targets, hidden, loss="l1")
        (slope,) = torch.autograd.grad(loss, predicted)
        results[name] = {
            "loss": loss.detach(),
            "slope": slope,
            "metrics": target.metrics(targets, hidden),
            "state": target.state_dict(),
        }
    return results


def test_two_processes_are_one(tmp_path: Path) -> None:
    first, second = run_processes(of_this_process, folder=tmp_path)
    for name, one in of_this_process().items():
        a, b = first[name], second[name]
        assert_close((a["loss"] + b["loss"]) / 2, one["loss"])
        assert_close(torch.cat([a["slope"], b["slope"]]) / 2, one["slope"])
        assert_close(a["metrics"], one["metrics"])
        assert_close(b["metrics"], one["metrics"])
        for key, value in one["state"].items():
            assert torch.equal(a["state"][key], b["state"][key])
            assert_close(a["state"][key], value)


@pytest.mark.parametrize("name", SPECS)
def test_images_that_patches_do_not_divide_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="Patches of 4 pixels do not divide images of 10x10"):
        built(SPECS[name])(images(side=10))


def test_what_is_no_square_of_patches_is_refused() -> None:
    for shape in ((1, 3, 12), (1, 4, 13)):
        with pytest.raises(UserError, match="do not make a square image of patches of 2 pixels"):
            unpatchify(torch.zeros(shape), 2)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_shapes_that_do_not_fit_are_refused(loss: Any) -> None:
    predicted, hidden = torch.zeros(2, 4, 5), hidden_of(2, 4, 2)
    targets = torch.zeros(2, 4, 5) if loss == "mse" else torch.zeros(2, 4, dtype=torch.int64)
    with pytest.raises(UserError, match="needs targets of"):
        reconstruction_loss(predicted, targets[:, :3], hidden, loss=loss)
    with pytest.raises(UserError, match=r"a mask of \(2, 4\), got"):
        reconstruction_loss(predicted, targets, hidden[:, :3], loss=loss)


@pytest.mark.parametrize(
    ("spec", "patch", "message"),
    [
        (Pixels(normalize=True), 1, "a patch of one pixel has no spread; set objective.target.no"),
        (Codebook(normalize=True), 1, "a patch of one pixel has no spread"),
        (PrincipalComponents(components=13), 2, "has 12 numbers, so at most 12 components"),
        (HOG(cell=8), 4, "cells of 8 pixels do not divide a patch of 4; set objective.target.cell"),
    ],
)
def test_a_target_that_the_patch_does_not_have_is_refused(
    spec: PatchTarget, patch: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        build_target(spec, patch=patch, seed=0)
