"""Masked image modelling: the forward is the papers', and reads the recipe's fields alone."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

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
