"""The nearest training images of some test images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from sslbench.errors import UserError
from sslbench.evaluation.analyses.analysis import (
    Analysis,
    Record,
    chosen_images,
    class_name,
    head,
    rows_of,
    unlabelled_note,
    up_to,
)
from sslbench.evaluation.knn import nearest
from sslbench.evaluation.subject import Subject

USUAL = 8  # queries, and neighbours of each


def analyze_neighbours(
    subject: Subject,
    *,
    k: int | None = None,
    queries: int | None = None,
    seed: int = 0,
    index: Sequence[int] | None = None,
) -> Analysis:
    """The k training images nearest to some test images by the cosine of their features.

    The shares of neighbours of the query's class are over all test images (at most 10,000), not
    over the few that are shown; without labels they are NaN, and the images are what there is.

    Args:
        k: neighbours of each query; None is 8, or all training images where there are fewer.
        queries, seed, index: which test images are shown, 8 unless said; see `chosen_images`.
    Raises:
        UserError: more neighbours than training images, or test images that there are not.
    """
    dataset, features = subject.dataset, subject.features
    k = up_to(k, USUAL, len(features.train))
    if not 1 <= k <= len(features.train):
        raise UserError(f"--neighbours {k}: needs 1 to {len(features.train)}, the training images.")
    shown = chosen_images(subject, count=queries, usual=USUAL, seed=seed, index=index)
    every = torch.arange(len(features.train))  # as labels: each image is its own class
    rows = rows_of(subject)
    same = torch.full((len(rows), k), math.nan, dtype=torch.float64)
    if subject.labelled:
        found = nearest(features.train, every, features.test[rows], k=k).classes
        same = (subject.train_labels[found] == subject.test_labels[rows, None]).double()
    summary: Record = {
        **head(subject, "representation"),
        "queries": len(rows),
        "neighbours": k,
        "same_class_percent": 100 * float(same.mean()),
        "nearest_same_class_percent": 100 * float(same[:, 0].mean()),
    }
    own = nearest(features.train, every, features.test[shown], k=k)
    points: list[Record] = []
    pictures = {}
    for place, query in enumerate(shown.tolist()):
        name = f"{subject.label} test {query}"
        pictures[name] = dataset.test.images[query].cpu()
        own_class = class_name(dataset, dataset.test, query)
        common = {**head(subject, "representation"), "query": name, "class": own_class}
        neighbours = zip(own.classes[place].tolist(), own.similarities[place].tolist(), strict=True)
        for rank, (image, cosine) in enumerate(neighbours, start=1):
            theirs = class_name(dataset, dataset.train, image)
            picture = f"{subject.label} train {image}"
            pictures[picture] = dataset.train.images[image].cpu()
            points.append(
                {
                    **common,
                    "rank": rank,
                    "picture": picture,
                    "neighbour_class": theirs,
                    "same_class": theirs == own_class if subject.labelled else None,
                    "cosine": cosine,
                }
            )
    return Analysis(
        name="neighbours",
        summary=[summary],
        points=points,
        notes=unlabelled_note(subject, "shares of neighbours of the query's class"),
        pictures=pictures,
    )
