"""What all analyses share: their result, the two spaces, and embeddings of a run's images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbench.data import Dataset, Split
from sslbench.errors import UserError
from sslbench.evaluation.geometry import positive_pairs, test_rows
from sslbench.evaluation.protocols import PROTOCOLS, Geometry
from sslbench.evaluation.subject import Subject
from sslbench.recipes.specs import CrossCorrelation
from sslbench.streams import permutation, stream_key

Space = Literal["representation", "projection"]
Record = dict[str, Any]

_protocol = PROTOCOLS["geometry.v1"]
assert isinstance(_protocol, Geometry)
GEOMETRY: Geometry = _protocol
BATCH_SIZES = (32, 64, 128, 256, 512, 1024)
PAIRS = 2**22  # cosines at a time


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """Numbers of one or several runs.

    Attributes:
        name: of the command and of the figure.
        summary: a record a line of the printed table; every record has the same keys.
        points: a record a point of the figure's distributions; every record has the same keys.
        notes: sentences that belong under the table.
        pictures: what a figure shows, by the names that points give: images, uint8 3×H×W, and
            maps, float h×w.
    """

    name: str
    summary: list[Record]
    points: list[Record] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    pictures: dict[str, Tensor] = field(default_factory=dict)


def merge(analyses: Sequence[Analysis]) -> Analysis:
    """Several runs' results of one analysis as one, in order."""
    (name,) = {analysis.name for analysis in analyses}
    return Analysis(
        name=name,
        summary=[record for analysis in analyses for record in analysis.summary],
        points=[record for analysis in analyses for record in analysis.points],
        notes=list(dict.fromkeys(note for analysis in analyses for note in analysis.notes)),
        pictures={k: v for analysis in analyses for k, v in analysis.pictures.items()},
    )


def embeddings(subject: Subject, rows: Tensor, *, space: Space) -> Tensor:
    """h or z of test images without augmentation, N×D on the device, from the cached features."""
    features = subject.features.test[rows].to(subject.device)
    return features if space == "representation" else subject.project(features)


def pairs(subject: Subject, rows: Tensor, *, space: Space) -> tuple[Tensor, Tensor]:
    """l2-normalised h or z of two views of each test image, N×D and N×D on the device."""
    views = positive_pairs(GEOMETRY, subject, rows)
    if space == "projection":
        views = (subject.project(views[0]), subject.project(views[1]))
    return F.normalize(views[0], dim=1), F.normalize(views[1], dim=1)


def rows_of(subject: Subject, *, least: int = 1) -> Tensor:
    """Positions of the test images that take part: those of `geometry.v1`.

    Raises:
        UserError: there are fewer than `least`.
    """
    rows = test_rows(GEOMETRY, subject)
    if len(rows) < least:
        images = f"{len(rows)} test image{'' if len(rows) == 1 else 's'}"
        raise UserError(
            f"'{subject.label}' has {images}, and this needs {least} or more; look at the run on "
            "a larger set with --dataset."
        )
    return rows


def up_to(asked: int | None, usual: int, available: int) -> int:
    """The number asked for, or as much of the usual one as there is."""
    return min(usual, available) if asked is None else asked


def chosen_images(
    subject: Subject,
    *,
    count: int | None,
    usual: int,
    seed: int,
    index: Sequence[int] | None,
    available: int | None = None,
) -> Tensor:
    """Positions of the test images to show: those named, or a random few, int64 on the CPU.

    Args:
        count: how many random ones; None is `usual`, or all where there are fewer.
        seed: of the choice; the same for every run, so that runs are seen on the same images.
        index: positions to take instead.
        available: how many of the test images, the first ones, can be shown; None is all.
    Raises:
        UserError: a position that there is not, or more images than there are.
    """
    if available is None:
        available = len(subject.dataset.test)
    if index is not None:
        wrong = [i for i in index if not 0 <= i < available]
        if wrong:
            raise UserError(f"--index {wrong[0]}: the test images are 0 to {available - 1}.")
        return torch.tensor(list(dict.fromkeys(index)))
    count = up_to(count, usual, available)
    if not 1 <= count <= available:
        raise UserError(
            f"{count} images to show: needs 1 to {available}, the test images there are."
        )
    return permutation(stream_key(seed, "analysis images", available), available)[:count]


def head(subject: Subject, space: Space) -> Record:
    """What every record starts with: which run, on what, in which space."""
    return {"run": subject.folder.path.name, "dataset": subject.label, "space": space}


def class_name(dataset: Dataset, split: Split, row: int) -> str:
    """The class of an image; "" without labels."""
    return "" if split.labels is None else dataset.classes[int(split.labels[row])]


def unlabelled_note(subject: Subject, what: str) -> list[str]:
    """Which numbers are left out because the data have no labels, as a note; [] where they have."""
    if subject.labelled:
        return []
    return [f"'{subject.label}' has no labels: no {what}."]


def temperature_of(subject: Subject, temperature: float | None) -> float:
    """The temperature asked for, or else the run's own.

    Raises:
        UserError: it is not positive, or the run was trained without one.
    """
    if temperature is not None:
        if not (math.isfinite(temperature) and temperature > 0):
            raise UserError(f"--temperature {temperature:g}: needs a number above 0.")
        return temperature
    recipe = subject.recipe
    objective = recipe.vector_objective
    own = getattr(objective, "temperature", None)
    if own is None or recipe.epochs == 0 or isinstance(objective, CrossCorrelation):
        raise UserError(
            f"{subject.folder.path.name} was not trained by a contrastive loss and has no "
            "temperature; give one, e.g. --temperature 0.1."
        )
    return float(own)


def check_batch_sizes(sizes: Sequence[int] | None, available: int) -> list[int]:
    """The batch sizes to look at, ascending, each once.

    Args:
        sizes: those asked for; None takes those of BATCH_SIZES that there are images for.
        available: how many images there are.
    Raises:
        UserError: one is below 2 or above `available`, or none is left.
    """
    if sizes is None:
        sizes = [size for size in BATCH_SIZES if size <= available]
        if not sizes:
            raise UserError(
                f"There are only {available} test images; give --batch-sizes of at most that."
            )
    for size in sizes:
        if not 2 <= size <= available:
            raise UserError(
                f"--batch-sizes {size}: needs 2 to {available}, the number of test images."
            )
    return sorted(set(sizes))


def batches(count: int, size: int) -> Tensor:
    """Images of one epoch in random batches: B×size int64 positions below `count`, each at most
    once; the rest that fills no batch is left out."""
    order = permutation(stream_key(GEOMETRY.seed, "analysis batches"), count)
    return order[: count // size * size].view(-1, size)


@dataclass(frozen=True)
class Block:
    """Some anchors of one batch against both views of all its N images, as NT-Xent takes them.

    Attributes:
        images: n int64, the anchors' images.
        positive: n, cosines with the other view.
        cosines: n×2N, with the first views, then with the second.
        negative: n×2N bool: the other images' views, 2N-2 a row.
    """

    images: Tensor
    positive: Tensor
    cosines: Tensor
    negative: Tensor


def blocks(first: Tensor, second: Tensor) -> Iterator[Block]:
    """The 2N anchors of a batch, first views then second, in blocks that fit the memory; float64.

    Args:
        first, second: N×D, l2-normalised views of N >= 2 images.
    """
    count, device = len(first), first.device
    views, others = torch.cat([first, second]).double(), torch.cat([second, first]).double()
    image = torch.arange(count, device=device).repeat(2)
    for anchors in torch.arange(2 * count, device=device).split(max(1, PAIRS // (2 * count))):
        yield Block(
            images=image[anchors],
            positive=(views[anchors] * others[anchors]).sum(dim=1),
            cosines=views[anchors] @ views.T,
            negative=image[anchors, None] != image,
        )


def histogram(values: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
    """Density of values over bins: B centres, and B densities whose sum times the width is 1.

    Args:
        values: any shape; those outside the edges count in the outer bins.
        edges: B+1 float64, ascending, equally spaced.
    """
    inner = edges[1:-1].contiguous()
    places = torch.bucketize(values.flatten().double().cpu(), inner)
    counts = torch.bincount(places, minlength=len(edges) - 1).double()
    width = edges[1] - edges[0]
    return (edges[:-1] + edges[1:]) / 2, counts / (counts.sum() * width)
