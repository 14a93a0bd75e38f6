"""The nearest training images of some test images."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sslbench.errors import UserError
from sslbench.evaluation.analyses.analysis import Analysis, Record, chosen_images, head, rows_of
from sslbench.evaluation.knn import nearest
from sslbench.evaluation.subject import Subject


def analyze_neighbours(
    subject: Subject,
    *,
    k: int = 8,
    queries: int = 8,
    seed: int = 0,
    index: Sequence[int] | None = None,
) -> Analysis:
    """The k training images nearest to some test images by the cosine of their features.

    The shares of neighbours of the query's class are over all test images (at most 10,000), not
    over the few that are shown.

    Args:
        subject: a run on labelled data.
        k: neighbours of each query.
        queries, seed, index: which test images are shown; see `chosen_images`.
    Raises:
        UserError: more neighbours than training images, or test images that there are not.
    """
    dataset, features = subject.dataset, subject.features
    if not 1 <= k <= len(features.train):
        raise UserError(f"--neighbours {k}: needs 1 to {len(features.train)}, the training images.")
    shown = chosen_images(subject, count=queries, seed=seed, index=index)
    every = torch.arange(len(features.train))  # as labels: each image is its own class
    rows = rows_of(subject)
    found = nearest(features.train, every, features.test[rows], k=k).classes
    same = subject.train_labels[found] == subject.test_labels[rows, None]
    summary: Record = {
        **head(subject, "representation"),
        "queries": len(rows),
        "neighbours": k,
        "same_class_percent": 100 * float(same.double().mean()),
        "nearest_same_class_percent": 100 * float(same[:, 0].double().mean()),
    }
    own = nearest(features.train, every, features.test[shown], k=k)
    points: list[Record] = []
    pictures = {}
    for place, query in enumerate(shown.tolist()):
        label = int(subject.test_labels[query])
        name = f"{subject.label} test {query}"
        pictures[name] = dataset.test.images[query].cpu()
        common = {**head(subject, "representation"), "query": name, "class": dataset.classes[label]}
        neighbours = zip(own.classes[place].tolist(), own.similarities[place].tolist(), strict=True)
        for rank, (image, cosine) in enumerate(neighbours, start=1):
            theirs = int(subject.train_labels[image])
            picture = f"{subject.label} train {image}"
            pictures[picture] = dataset.train.images[image].cpu()
            points.append(
                {
                    **common,
                    "rank": rank,
                    "picture": picture,
                    "neighbour_class": dataset.classes[theirs],
                    "same_class": theirs == label,
                    "cosine": cosine,
                }
            )
    return Analysis(name="neighbours", summary=[summary], points=points, pictures=pictures)
