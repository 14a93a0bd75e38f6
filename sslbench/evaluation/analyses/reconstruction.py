"""What a masked model makes of hidden patches: pictures, and how far they are off."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbench.errors import UserError
from sslbench.evaluation.accuracy import chunks
from sslbench.evaluation.analyses.analysis import Analysis, Record, head, rows_of
from sslbench.evaluation.analyses.attention import shown_images
from sslbench.evaluation.subject import Subject
from sslbench.methods import MaskedModelling
from sslbench.objectives.reconstruction import patchify, unpatchify
from sslbench.recipes.specs import Mask, PatchTarget
from sslbench.streams import stream_key
from sslbench.views import normalize
from sslbench.views.masks import hidden_patches

MAX_IMAGES = 1000  # that the errors are taken over
GREY = 0.5  # of a hidden patch, in [0, 1]
_BATCH = 64  # images at a time


def analyze_reconstruction(
    subject: Subject,
    *,
    count: int | None = None,
    seed: int = 0,
    index: Sequence[int] | None = None,
    files: Sequence[Path] = (),
    ratios: Sequence[float] | None = None,
) -> Analysis:
    """A few images, what is seen of them, and the prediction in place of what is hidden, for each
    share of hidden patches; and the mean error over test images (at most 1,000), always under the
    same masks.

    `loss` is the recipe's own, on its own target; `hidden_mse` the squared error of the picture's
    hidden pixels, of normalised images, and `mean_colour_mse` that of the mean colour of what is
    visible, which asks no network.

    Args:
        subject: a run of a masked recipe.
        count, seed, index: which test images are shown, 4 unless said; the seed draws masks too.
        files: image files to show instead, brought to the run's resolution.
        ratios: shares of hidden patches; None is the run's own.
    Raises:
        UserError: another kind of run, or one whose target is no picture; an unreadable file, test
            images that there are not, or a ratio out of range.
    Source: He et al. 2021 (MAE), arXiv:2111.06377, Figs. 2 to 4; they leave the predictions of
    visible patches in the picture, here the visible patches themselves stand there.
    """
    model = subject.masked
    masks = _masks(model, ratios)
    names, images = shown_images(subject, count, seed, index, files)
    common = head(subject, "representation")
    del common["space"]
    pictures: dict[str, Tensor] = dict(zip(names, images, strict=True))
    points: list[Record] = []
    summary: list[Record] = []
    for mask in masks:
        shown = _pictures(subject, model, images, mask, seed)
        for name, seen, filled, error in zip(names, *shown, strict=True):
            picture = f"{common['run']} {name} {mask.ratio:g}"
            pictures |= {f"{picture} seen": seen, f"{picture} filled": filled}
            points.append(
                {
                    **common,
                    "image": name,
                    "ratio": mask.ratio,
                    "picture": picture,
                    "hidden_mse": error,
                }
            )
        summary.append({**common, "ratio": mask.ratio, **_errors(subject, model, mask, seed)})
    return Analysis(
        name="reconstruction",
        summary=summary,
        points=points,
        notes=_notes(model.objective.target),
        pictures=pictures,
    )


def _notes(target: PatchTarget) -> list[str]:
    if getattr(target, "normalize", False):
        return ["The mean and spread of each hidden patch, which are not predicted, are the true "
                "ones."]  # fmt: skip
    return []


def _masks(model: MaskedModelling, ratios: Sequence[float] | None) -> list[Mask]:
    """The run's mask at each share. Raises UserError: one that its kind cannot hide."""
    own = model.mask
    try:
        masks = [own.but(ratio=ratio) for ratio in dict.fromkeys(ratios or (own.ratio,))]
        for mask in masks:
            mask.require_fit(model.size, patch=model.patch)
    except UserError as error:
        raise UserError(f"--ratio: {error}") from None
    return masks


def _hidden(model: MaskedModelling, images: Tensor, mask: Mask, seed: int, first: int) -> Tensor:
    """N×L bool: the masks of images whose places begin at `first`."""
    patch = model.patch
    places = torch.arange(first, first + len(images), device=images.device)
    key = stream_key(seed, "reconstruction masks")
    return hidden_patches(
        mask, side=images.shape[-1] // patch, patch=patch, key=key, samples=places
    )


@torch.no_grad()
def _filled(model: MaskedModelling, images: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """The prediction N×L×outputs, and the patches N×L×3p² with it in place of the hidden ones, of
    normalised images N×3×H×W."""
    predicted = model.reconstruct(images, hidden).float()
    patches = patchify(images, model.patch)
    drawn = model.target.to_pixels(predicted, images)
    return predicted, torch.where(hidden[..., None], drawn, patches)


def _pictures(
    subject: Subject, model: MaskedModelling, images: Tensor, mask: Mask, seed: int
) -> tuple[list[Tensor], list[Tensor], list[float]]:
    """What is seen, what is filled in, both uint8 3×H×W, and the error of each uint8 image."""
    patch, mean, std = model.patch, subject.mean, subject.std
    x = _sized(normalize(images.to(subject.device), mean, std), model.size)
    hidden = _hidden(model, x, mask, seed, 0)
    _, filled = _filled(model, x, hidden)
    pixels = patchify(_denormalized(x, mean, std), patch)
    seen = torch.where(hidden[..., None], torch.full_like(pixels, GREY), pixels)
    painted = _denormalized(unpatchify(filled, patch), mean, std)
    errors = _mse(filled, patchify(x, patch), hidden)
    return _bytes(unpatchify(seen, patch)), _bytes(painted), errors.tolist()


def _errors(subject: Subject, model: MaskedModelling, mask: Mask, seed: int) -> Record:
    """Loss and squared errors over test images, and how many there were."""
    rows, patch = rows_of(subject)[:MAX_IMAGES], model.patch
    images = subject.dataset.test.images
    loss = error = colour = 0.0
    for number, batch in enumerate(chunks(rows, _BATCH)):
        pixels = images[batch.to(images.device)].to(subject.device)
        x = _sized(normalize(pixels, subject.mean, subject.std), model.size)
        hidden = _hidden(model, x, mask, seed, number * _BATCH)
        predicted, filled = _filled(model, x, hidden)
        loss += len(batch) * float(
            model.target.loss(predicted, model.target(x), hidden, loss=model.objective.loss)
        )
        patches = patchify(x, patch)
        error += float(_mse(filled, patches, hidden).sum())
        colour += float(_mse(_mean_colour(patches, hidden), patches, hidden).sum())
    share = 1 / len(rows)
    found = {"loss": loss, "hidden_mse": error, "mean_colour_mse": colour}
    return {"images": len(rows), **{name: share * value for name, value in found.items()}}


def _sized(images: Tensor, size: int) -> Tensor:
    """N×3×H×W images at the size that was trained on, which views may have of their own."""
    if images.shape[-1] == size:
        return images
    return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)


def _mse(patches: Tensor, truth: Tensor, hidden: Tensor) -> Tensor:
    """N squared errors, means over the hidden pixels of N×L×3p² patches."""
    error = (patches - truth).double().square().mean(dim=2)
    return torch.where(hidden, error, 0.0).sum(dim=1) / hidden.sum(dim=1)


def _mean_colour(patches: Tensor, hidden: Tensor) -> Tensor:
    """The mean colour of what is visible, in all of the N×L×3p² patches."""
    colours = patches.unflatten(2, (-1, 3)).mean(dim=2)  # N×L×3
    visible = (~hidden)[..., None]
    mean = (colours * visible).sum(dim=1) / visible.sum(dim=1)  # N×3
    return mean[:, None, :].repeat(1, patches.shape[1], patches.shape[2] // 3)


def _denormalized(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """N×3×H×W in [0, 1] of normalised images."""
    scale, shift = (images.new_tensor(v).view(1, -1, 1, 1) for v in (std, mean))
    return images * scale + shift


def _bytes(images: Tensor) -> list[Tensor]:
    return list((255 * images.clamp(0, 1)).round().byte().cpu())
