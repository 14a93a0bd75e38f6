"""How a run uses its prototypes, and what is near them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbench.errors import UserError
from sslbench.evaluation.accuracy import chunks
from sslbench.evaluation.analyses.analysis import (
    Analysis,
    Record,
    class_name,
    head,
    temperature_of,
    up_to,
)
from sslbench.evaluation.subject import Subject

USUAL = 8  # prototypes that are shown, and images of each
_ROWS = 1024  # images scored at a time


def analyze_prototypes(
    subject: Subject,
    *,
    shown: int | None = None,
    k: int | None = None,
    temperature: float | None = None,
) -> Analysis:
    """How many training images each prototype is nearest to, how sharp the images' assignments are
    and how even the prototypes' shares, and the images nearest to the most used prototypes.

    An image's assignment is softmax(scores / temperature) of its projection, without balancing or
    centring: what the prediction of training is made of. Its entropy is 0 where one prototype has
    all; the entropy of the mean assignment is log K where all prototypes are used alike, and 0
    after a collapse onto one. Both in nats, a line a head.

    Args:
        subject: a run that kept its prototypes.
        shown: prototypes whose images are shown, the most used of all heads; None is 8, or all.
        k: images of each; None is 8, or all.
        temperature: None is the objective's.
    Raises:
        UserError: a run without prototypes, or more to show than there is.
    Source: the two forms of collapse in Caron et al. 2021, arXiv:2104.14294, Sec. 5.3: an output
        that is uniform whatever the image, or one in which one dimension dominates.
    """
    heads, count, _ = subject.prototypes.weight.shape
    temperature = temperature_of(subject, temperature)
    images = subject.dataset.train.images
    shown, k = up_to(shown, USUAL, heads * count), up_to(k, USUAL, len(images))
    if not (1 <= shown <= heads * count and 1 <= k <= len(images)):
        raise UserError(
            f"--prototypes {shown} and --images {k}: there are {heads * count} prototypes and "
            f"{len(images)} training images."
        )
    usage = Usage(heads, count)
    for scores in _scores(subject):
        usage.add(scores, temperature=temperature)
    most = usage.nearest.flatten().topk(shown).indices
    cosines = torch.cat([scores.flatten(1)[:, most] for scores in _scores(subject)])
    common = head(subject, "projection")
    summary = [{**common, "head": i, "images": len(images), **usage.of(i)} for i in range(heads)]
    points: list[Record] = []
    for place, share, mean in zip(
        range(heads * count), usage.shares.flatten(), usage.mean.flatten(), strict=True
    ):
        points.append(
            {
                **common,
                "kind": "usage",
                "head": place // count,
                "prototype": place % count,
                "rank": 0,
                "value": float(share),
                "mean_assignment": float(mean),
                "picture": "",
                "class": "",
            }
        )
    pictures: dict[str, Tensor] = {}
    for column, place in enumerate(most.tolist()):
        values, rows = cosines[:, column].topk(k)
        for rank, (value, row) in enumerate(zip(values.tolist(), rows.tolist(), strict=True), 1):
            name = f"{subject.label} train {row}"
            pictures[name] = images[row].cpu()
            points.append(
                {
                    **common,
                    "kind": "image",
                    "head": place // count,
                    "prototype": place % count,
                    "rank": rank,
                    "value": value,
                    "mean_assignment": math.nan,
                    "picture": name,
                    "class": class_name(subject.dataset, subject.dataset.train, row),
                }
            )
    return Analysis(name="prototypes", summary=summary, points=points, pictures=pictures)


class Usage:
    """Counts and entropies of assignments to H×K prototypes, chunk by chunk, in float64."""

    def __init__(self, heads: int, count: int) -> None:
        self.nearest = torch.zeros(heads, count, dtype=torch.int64)
        self._sum = torch.zeros(heads, count, dtype=torch.float64)
        self._entropy = torch.zeros(heads, dtype=torch.float64)
        self._images = 0

    def add(self, scores: Tensor, *, temperature: float) -> None:
        """Take in cosine scores n×H×K."""
        assigned = (scores.double() / temperature).softmax(dim=2)
        one_hot = F.one_hot(scores.argmax(dim=2), scores.shape[2])
        self.nearest += one_hot.sum(dim=0).cpu()
        self._sum += assigned.sum(dim=0).cpu()
        self._entropy += torch.special.entr(assigned).sum(dim=(0, 2)).cpu()
        self._images += len(scores)

    @property
    def shares(self) -> Tensor:
        """Of the images that each prototype is nearest to, H×K."""
        return self.nearest.double() / self._images

    @property
    def mean(self) -> Tensor:
        """The mean assignment, H×K."""
        return self._sum / self._images

    def of(self, number: int) -> Record:
        """The summary of a head."""
        shares, count = self.shares[number], self.nearest.shape[1]
        return {
            "prototypes": count,
            "used": int((shares > 0).sum()),
            "largest_share_percent": 100 * float(shares.max()),
            "image_entropy": float(self._entropy[number]) / self._images,
            "mean_entropy": float(torch.special.entr(self.mean[number]).sum()),
            "log_prototypes": math.log(count),
        }


@torch.no_grad()
def _scores(subject: Subject) -> Iterator[Tensor]:
    """Cosine scores of the training images in order, n×H×K on the device."""
    for features in chunks(subject.features.train, _ROWS):
        yield subject.prototypes(subject.project(features))
