"""Attention of a ViT's class token or patches, as maps, and against the objects' masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from sslbench.data.photographs import decode
from sslbench.engine.building import initialisation
from sslbench.errors import UserError
from sslbench.evaluation.accuracy import chunks
from sslbench.evaluation.analyses.analysis import Analysis, Record, chosen_images, head, rows_of
from sslbench.evaluation.subject import Subject
from sslbench.models import build_encoder
from sslbench.models.attention import asks_by_class_token, last_attention
from sslbench.views import normalize

KEEP = 0.6  # of the mass: Caron et al. 2021, Fig. 4
MAX_IMAGES = 1000  # that the Jaccard index is taken over
USUAL = 4  # images that are shown
_BATCH = 64  # images at a time


def analyze_attention(
    subject: Subject,
    *,
    count: int | None = None,
    seed: int = 0,
    index: Sequence[int] | None = None,
    files: Sequence[Path] = (),
    keep: float = KEEP,
) -> Analysis:
    """Attention in the last block, a map a head, on a few images: of the class token where that is
    the representation, otherwise of the patches on average; and, where the data have masks, the
    Jaccard index of the maps with the objects.

    A map is thresholded to the fewest patches that hold `keep` of its mass. The index is a mean
    over test images (at most 1,000), of the head that is best on all of them, and of the best head
    of each image; both are given for the encoder's random initialisation too.

    Args:
        subject: a run with a ViT.
        count, seed, index: which test images are shown, 4 unless said; see `chosen_images`.
        files: image files to show instead, brought to the run's resolution.
        keep: share of the mass, in (0, 1).
    Raises:
        UserError: another encoder, an unreadable file, test images that there are not, or a share
            out of range.
    Source: Caron et al. 2021, arXiv:2104.14294, Figs. 1 and 4.
    """
    if not 0 < keep < 1:
        raise UserError(f"--keep {keep:g}: needs a share between 0 and 1.")
    names, images = shown_images(subject, count, seed, index, files)
    maps = attention_maps(subject, subject.encoder, images)
    pictures: dict[str, Tensor] = {}
    best, summary = _against_masks(subject, keep)
    common = head(subject, "representation")
    points: list[Record] = []
    for name, image, heads in zip(names, images, maps, strict=True):
        pictures[name] = image
        for number, (found, kept) in enumerate(zip(heads, keep_mass(heads, keep), strict=True)):
            picture = f"{common['run']} {name} head {number}"
            pictures |= {picture: found, f"{picture} kept": kept.float()}
            points.append(
                {
                    **common,
                    "image": name,
                    "head": number,
                    "best": number == best,
                    "picture": picture,
                    "on_patches": float(found.sum()),
                    "kept_patches_percent": 100 * float(kept.double().mean()),
                }
            )
    asks = "class token" if asks_by_class_token(subject.encoder) else "patches' mean"
    line = {
        **common,
        "query": asks,
        "heads": maps.shape[1],
        "patches": maps[0, 0].numel(),
        **summary,
    }
    notes = [] if best is not None else [f"{subject.label} has no masks: no Jaccard index."]
    return Analysis(name="attention", summary=[line], points=points, notes=notes, pictures=pictures)


def attention_maps(subject: Subject, encoder: nn.Module, images: Tensor) -> Tensor:
    """Maps of uint8 images N×3×H×W by an encoder of the subject's kind: N×A×h×w on the CPU."""
    encoder.eval()
    parts = []
    for batch in chunks(images, _BATCH):
        batch = normalize(batch.to(subject.device), subject.mean, subject.std)
        parts.append(last_attention(encoder, batch).cpu())
    return torch.cat(parts)


def keep_mass(maps: Tensor, share: float) -> Tensor:
    """The fewest patches that hold at least `share` of a map's mass: bool, of the maps' shape.

    Args:
        maps: ...×h×w, not negative; each is scaled to a sum of 1 here.
        share: in (0, 1).
    """
    flat = maps.double().flatten(-2)
    values, order = flat.sort(dim=-1, descending=True, stable=True)
    before = (values / values.sum(dim=-1, keepdim=True)).cumsum(dim=-1).roll(1, dims=-1)
    before[..., 0] = 0  # what the larger ones hold
    kept = torch.zeros_like(flat, dtype=torch.bool).scatter(-1, order, before < share)
    return kept.reshape(maps.shape)


def jaccard(kept: Tensor, masks: Tensor) -> Tensor:
    """Intersection over union with the object: N×A float64; NaN where there is no object.

    Args:
        kept: N×A×h×w bool, patches.
        masks: N×H×W bool, pixels; h and w divide H and W.
    """
    height, width = (m // k for m, k in zip(masks.shape[1:], kept.shape[2:], strict=True))
    pixels = kept.repeat_interleave(height, dim=2).repeat_interleave(width, dim=3)
    own = masks[:, None]
    union = (pixels | own).sum(dim=(2, 3)).double()
    found = (pixels & own).sum(dim=(2, 3)) / union
    return torch.where(masks.any(dim=(1, 2))[:, None], found, torch.nan)


def shown_images(
    subject: Subject,
    count: int | None,
    seed: int,
    index: Sequence[int] | None,
    files: Sequence[Path],
) -> tuple[list[str], Tensor]:
    """Names, and uint8 pixels n×3×H×W on the CPU, of the images to show: files, or test images as
    `chosen_images` takes them. Raises UserError."""
    if files:
        return [path.name for path in files], decode(files, subject.dataset.resolution).images
    rows = chosen_images(subject, count=count, usual=USUAL, seed=seed, index=index)
    images = subject.dataset.test.images
    names = [f"{subject.label} test {i}" for i in rows.tolist()]
    return names, images[rows.to(images.device)].cpu()


def _against_masks(subject: Subject, keep: float) -> tuple[int | None, Record]:
    """The best head and the numbers of the summary; without masks None and NaN."""
    split = subject.dataset.test
    names = ("jaccard", "jaccard_of_each", "untrained_jaccard", "untrained_jaccard_of_each")
    if "masks" not in split.annotations:
        return None, {
            "keep_percent": 100 * keep,
            "best_head": "–",
            **dict.fromkeys(names, torch.nan),
        }
    rows = rows_of(subject)[:MAX_IMAGES]
    shown = split[rows.to(split.images.device)].to("cpu")
    images, masks = shown.images, shown.foreground()
    assert masks is not None
    values: list[float] = []
    best = None
    for encoder in (subject.encoder, _untrained(subject)):
        found = jaccard(keep_mass(attention_maps(subject, encoder, images), keep), masks)
        by_head = 100 * found.nanmean(dim=0)
        of_each = found[~found.isnan().any(dim=1)].amax(dim=1)
        values += [float(by_head.max()), 100 * float(of_each.mean())]
        best = int(by_head.argmax()) if best is None else best
    numbers = dict(zip(names, values, strict=True))
    return best, {"keep_percent": 100 * keep, "best_head": str(best), **numbers}


def _untrained(subject: Subject) -> nn.Module:
    """The random initialisation that the run started from."""
    seed = subject.folder.experiment().seed
    with initialisation(seed):
        encoder = build_encoder(subject.recipe.encoder, resolution=subject.dataset.resolution)
    return encoder.to(subject.device)
