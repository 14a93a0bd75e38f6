"""Features on the circle: how positives align, and how images and classes spread."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbench.evaluation.analyses.analysis import (
    GEOMETRY,
    Analysis,
    Record,
    Space,
    embeddings,
    head,
    histogram,
    pairs,
    rows_of,
    unlabelled_note,
)
from sslbench.evaluation.geometry import alignment, uniformity
from sslbench.evaluation.subject import Subject

CONCENTRATION = 50.0  # of the von Mises kernel: a standard deviation of 8 degrees
ANGLES = 360  # points of a density
BINS = 50  # of distances
SHOWN = 2000  # images that are listed as points


def analyze_hypersphere(subject: Subject, *, space: Space | None = None) -> Analysis:
    """Distances of positives, and densities over the circle of all images and of each class.

    Without labels there are no classes, and their resultant is NaN.

    Features of two dimensions are shown as they are, others by their first two principal
    components; both scaled to the circle. Alignment and uniformity are those of all dimensions.

    Args:
        space: None is the representation, or the projection where that has two dimensions.
    Raises:
        UserError: no projector where one is asked for; fewer than two test images.
    Source: Wang and Isola 2020, arXiv:2005.10242, Fig. 3.
    """
    if space is None:
        planar = dict(subject.recipe.leaves()).get("projector.out") == 2
        space = "projection" if planar else "representation"
    rows = rows_of(subject, least=2)
    first, second = pairs(subject, rows, space=space)
    z = F.normalize(embeddings(subject, rows, space=space), dim=1)
    angles, share = on_circle(z)
    labels = subject.test_labels[rows] if subject.labelled else None
    summary: Record = {
        **head(subject, space),
        "images": len(rows),
        "alignment": alignment(first, second, power=GEOMETRY.alignment_power),
        "uniformity": uniformity(z, scale=GEOMETRY.uniformity_scale),
        "plane": "features" if z.shape[1] == 2 else "principal components",
        "plane_percent": 100 * share,
        "class_resultant": math.nan if labels is None else class_resultant(angles, labels),
    }
    distances = (first.double() - second.double()).norm(dim=1)
    points = [
        {**head(subject, space), "kind": kind, "group": group, "x": x, "density": y}
        for kind, group, x, y in _points(subject, distances, angles, labels)
    ]
    notes = unlabelled_note(subject, "densities and no resultant of classes")
    return Analysis(name="hypersphere", summary=[summary], points=points, notes=notes)


def on_circle(z: Tensor) -> tuple[Tensor, float]:
    """Angles of features on the circle.

    Args:
        z: N×D. With D = 2 each row gives its own angle; otherwise the row's first two principal
            components do, each signed so that its largest loading is positive.
    Returns:
        N float64 in [-pi, pi] on the CPU, and the share of variance that the plane holds (1 where
        D = 2 or nothing varies).
    """
    plane, share = z.double().cpu(), 1.0
    if plane.shape[1] != 2:
        centred = plane - plane.mean(dim=0)
        values, vectors = torch.linalg.eigh(centred.T @ centred)
        axes = vectors[:, -2:].flip(1)  # D×2, the larger first
        axes = axes * axes.gather(0, axes.abs().argmax(dim=0, keepdim=True)).sign()
        plane = centred @ axes
        total = float(values.clamp_min(0).sum())
        share = float(values[-2:].clamp_min(0).sum()) / total if total > 0 else 1.0
    return torch.atan2(plane[:, 1], plane[:, 0]), share


def circular_density(angles: Tensor, grid: Tensor, *, concentration: float) -> Tensor:
    """Kernel density on the circle by von Mises kernels; it integrates to 1 over 2 pi.

    Args:
        angles: N float64, radians; grid: G float64, where the density is wanted.
        concentration: of the kernel; its standard deviation is about concentration^-1/2.
    Source: Wang and Isola 2020, Fig. 3, "von Mises-Fisher KDE on angles".
    """
    kernel = (concentration * (torch.cos(grid[:, None] - angles) - 1)).exp()  # G×N
    scale = torch.special.i0e(torch.tensor(concentration, dtype=torch.float64))
    return kernel.mean(dim=1) / (2 * math.pi * scale)


def class_resultant(angles: Tensor, labels: Tensor) -> float:
    """Length of the mean unit vector of a class, averaged over classes: 1 where every class is a
    point of the circle, 0 where each spreads evenly.

    Args:
        angles: N float64, radians; labels: N int64, on the same device.
    """
    unit = torch.stack([angles.cos(), angles.sin()], dim=1)
    lengths = [unit[labels == label].mean(dim=0).norm() for label in labels.unique()]
    return float(torch.stack(lengths).mean())


def _points(
    subject: Subject, distances: Tensor, angles: Tensor, labels: Tensor | None
) -> Iterator[tuple[str, str, float, float]]:
    """(kind, group, x, density): distances of positives, densities of angles, single images."""
    edges = torch.linspace(0, 2, BINS + 1, dtype=torch.float64)
    for x, y in zip(*histogram(distances, edges), strict=True):
        yield "distance", "", float(x), float(y)
    grid = torch.linspace(-math.pi, math.pi, ANGLES + 1, dtype=torch.float64)
    names = [""] * len(angles)
    groups = {"": angles}
    if labels is not None:
        classes = subject.dataset.classes
        names = [classes[label] for label in labels.tolist()]
        groups |= {classes[label]: angles[labels == label] for label in labels.unique().tolist()}
    for group, members in groups.items():
        density = circular_density(members, grid, concentration=CONCENTRATION)
        for x, y in zip(grid, density, strict=True):
            yield "angle", group, float(x), float(y)
    for angle, name in zip(angles[:SHOWN], names[:SHOWN], strict=True):
        yield "image", name, float(angle), 0.0
