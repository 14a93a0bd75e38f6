"""Masked image modelling: the forward is the papers', and reads the recipe's fields alone."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from sslbench.errors import UserError
from sslbench.methods import MaskedModelling
from tests.reference.masked_network import cut, hidden_loss, pixels, predictions
from tests.tiny import batch_of, tiny

IN_ENCODER = {"mask__in_encoder": True}
LINEAR = {**IN_ENCODER, "decoder": None}
DEEP = {"decoder__depth": 2, "decoder__width": 8, "decoder__heads": 4}


def method(recipe: str = "mae", **changes) -> MaskedModelling:
    torch.manual_seed(0)
    recipe = tiny(recipe, **changes).recipe
    return MaskedModelling(recipe, resolution=16, num_images=96).double().train()


def pictures(count: int = 3):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, 16, 16, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        ("mae", {}),
        ("mae", DEEP),
        ("mae", {"mask__ratio": 0.3}),
        ("mae", {"mask__sampling": "block", "mask__ratio": 0.5}),
        ("mae", {"mask__sampling": "grid"}),
        ("mae", {"objective__loss": "l1"}),
        ("mae", IN_ENCODER),
        ("mae", {**IN_ENCODER, **DEEP}),
        ("mae", LINEAR),
        ("simmim", {}),
    ],
)
def test_loss_and_gradient_are_those_of_the_papers_written_plainly(recipe, changes):
    model, images = method(recipe, **changes), pictures()
    output = model(batch_of([images], key=7))
    output.loss.backward()
    deep = hasattr(model.decoder, "blocks")
    names = [n for n, p in model.named_parameters() if p.requires_grad]
    found = {n: model.get_parameter(n).grad.clone() for n in names}
    model.zero_grad()
    state = dict(model.named_parameters())
    hidden = model._hidden(3, 7, images.device).tolist()
    loss = model.objective.loss
    losses, means = [], []
    for image, mask in zip(images, hidden, strict=True):
        predicted, tokens = predictions(
            state, image, mask, patch=4, heads=2, in_encoder=model.mask.in_encoder,
            decoder_heads=changes.get("decoder__heads", 2) if deep else None,
        )  # fmt: skip
        losses.append(hidden_loss(predicted, [pixels(p) for p in cut(image, 4)], mask, loss=loss))
        means.append(tokens[1:].mean(dim=0))
    plain = torch.stack(losses).mean()
    plain.backward()
    assert_close(output.loss, plain)
    assert_close(output.embeddings, torch.stack(means).detach())
    for name in names:
        assert_close(found[name], model.get_parameter(name).grad, msg=lambda m, n=name: f"{n}: {m}")
    assert not output.embeddings.requires_grad


RECIPES = ["mae", "beit", "simmim", "maskfeat"]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_prediction_sees_no_hidden_pixel(recipe):
    model, images = method(recipe).eval(), pictures()
    hidden = model._hidden(3, 7, images.device)
    there = hidden.view(3, 1, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    predicted = model.reconstruct(images, hidden)
    assert predicted.shape == (3, 16, model.target.outputs) and not predicted.requires_grad
    changed = torch.where(there, torch.randn_like(images), images)
    assert torch.equal(model.reconstruct(changed, hidden), predicted)
    changed = torch.where(there, images, images + 1)
    assert not torch.allclose(model.reconstruct(changed, hidden), predicted)


def test_a_reconstruction_is_what_the_loss_is_of_at_any_ratio():
    model, images = method().eval(), pictures()
    hidden = model._hidden(3, 7, images.device)
    predicted = model.reconstruct(images, hidden)
    loss = model.target.loss(predicted, model.target(images), hidden, loss="mse")
    assert_close(model(batch_of([images], key=7)).loss.detach(), loss)
    few = torch.zeros_like(hidden)
    few[:, 3] = True
    assert model.reconstruct(images, few).shape == (3, 16, 48)
    few[0, 4] = True
    with pytest.raises(UserError, match="equally many hidden patches"):
        model.reconstruct(images, few)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_step_says_what_share_is_hidden(recipe):
    model = method(recipe)
    output = model(batch_of([pictures()]))
    share = 100 * (1 - model.num_visible / 16)
    assert float(output.metrics["hidden_share"]) == pytest.approx(share)
    assert not any(value.requires_grad for value in output.metrics.values())
    assert output.embeddings.shape == (3, 16)


def test_the_step_and_the_place_of_an_image_decide_its_mask():
    model, images = method(), pictures()
    first, again, other = (model(batch_of([images], key=key)).loss for key in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_the_mask_token_is_trained_where_it_stands_and_the_class_token_by_what_reads_it():
    for changes in ({}, IN_ENCODER, LINEAR):
        model = method(**changes)
        model(batch_of([pictures()])).loss.backward()
        for parameter in (model.decoder.mask_token, model.encoder.cls_token):
            assert parameter.grad.abs().sum() > 0
        assert model.encoder.pos_embed.grad is None  # fixed
