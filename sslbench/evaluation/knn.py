"""Weighted kNN: one exact search serves every number of neighbours and every temperature."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sslbench.data import Dataset
from sslbench.evaluation import large
from sslbench.evaluation.accuracy import (
    Outcome,
    accuracies,
    chunks,
    complement,
    percent,
    predictions,
    ranks,
)
from sslbench.evaluation.features import Features, encode
from sslbench.evaluation.large import Rows
from sslbench.evaluation.protocols import KNN
from sslbench.evaluation.subject import Subject
from sslbench.streams import permutation, stream_key

_CHUNK = 1024  # queries that are searched, or vote, at a time
_COPY = 1 << 25  # bytes of training features from which on no copy is made of them as a whole


@dataclass(frozen=True)
class Neighbors:
    """The nearest training images of N queries, nearest first; equal ones by their position.

    Which of several equally near images takes the last place is faiss's choice, so that among them
    the first k of a longer search need not be those of a shorter one.

    Attributes:
        similarities: N×k float32 cosines.
        classes: N×k int64.
    """

    similarities: Tensor
    classes: Tensor

    def parts(self) -> Iterator[Neighbors]:
        """The same in chunks of queries, in order."""
        for pair in zip(
            chunks(self.similarities, _CHUNK), chunks(self.classes, _CHUNK), strict=True
        ):
            yield Neighbors(*pair)


def nearest(train: Tensor | Rows, labels: Tensor, queries: Tensor | Rows, *, k: int) -> Neighbors:
    """The exact k nearest rows by cosine similarity, through faiss.

    Unit vectors are a second copy of the training rows; one part of them after the other is in
    memory, and what is nearest is so among those that were nearest in each.

    Args:
        train: N×D features; labels: N int64; queries: M×D features. All on the CPU, float32.
        k: cut to N.
    """
    width = min(k, len(train))
    similarities = torch.empty(len(queries), width)
    rows = torch.empty(len(queries), width, dtype=torch.int64)
    size = max(1, width, _part(train))
    for first in range(0, len(train), size):
        part = F.normalize(train[first : first + size], dim=1)
        for start in range(0, len(queries), _CHUNK):
            chosen = slice(start, start + _CHUNK)
            asked = F.normalize(queries[chosen], dim=1)
            found, places = _search(part, asked, min(width, len(part)))
            places += first
            if first > 0:
                both = torch.cat([similarities[chosen], found], dim=1)
                found, order = both.topk(width, dim=1, sorted=False)
                places = torch.cat([rows[chosen], places], dim=1).gather(1, order)
            similarities[chosen], rows[chosen] = found, places
        del part  # before the next one is made
    for start in range(0, len(queries), _CHUNK):
        chosen = slice(start, start + _CHUNK)
        similarities[chosen], order = _in_order(similarities[chosen], rows[chosen])
        rows[chosen] = labels[order]
    return Neighbors(similarities, rows)


def _part(train: Tensor | Rows) -> int:
    """How many training rows are searched at a time. Two parts cost 6 % more time than one, and
    four 28 %, of 50,000 x 512 features: each keeps its own k."""
    whole = 4 * train.shape[0] * train.shape[1]  # bytes
    return math.ceil(len(train) / (1 if whole <= _COPY else max(2, math.ceil(whole / large.LARGE))))


def _search(train: Tensor, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Similarities M×k and rows M×k of the nearest, both by unit vectors.

    faiss reads the features where they lie: an index would be a second copy of them.
    """
    threads = torch.get_num_threads()  # before the import: both libraries share one setting
    import faiss

    try:
        faiss.omp_set_num_threads(threads)
        similarities, indices = map(
            torch.from_numpy,
            faiss.knn(queries.numpy(), train.numpy(), k, metric=faiss.METRIC_INNER_PRODUCT),
        )  # fmt: skip
    finally:
        torch.set_num_threads(threads)
    return similarities, indices


def _in_order(similarities: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """The M×k pairs, nearest first and equal ones by position. faiss leaves the order of equal
    similarities open; the vote of fewer neighbours reads it."""
    order = rows.argsort(dim=1, stable=True)
    similarities, rows = similarities.gather(1, order), rows.gather(1, order)
    order = similarities.argsort(dim=1, descending=True, stable=True)
    return similarities.gather(1, order), rows.gather(1, order)


def votes(
    neighbors: Neighbors, *, ks: Sequence[int], temperature: float, num_classes: int
) -> Tensor:
    """Sums of exp((s - 1) / temperature) by class over the first k neighbours, for each k.

    The constant factor leaves every order as it is and keeps small temperatures in range.

    Args:
        ks: increasing numbers of neighbours.
    Returns:
        len(ks)×N×C float64.
    """
    weights = ((neighbors.similarities.double() - 1) / temperature).exp()  # N×k
    total = weights.new_zeros(len(weights), num_classes)  # N×C
    sums, start = [], 0
    for k in ks:
        # Each k goes on from the one before, in a sum of its own: not in place.
        total = total.scatter_add(1, neighbors.classes[:, start:k], weights[:, start:k])
        sums.append(total)
        start = k
    return torch.stack(sums)


def sweep(
    neighbors: Neighbors,
    labels: Tensor,
    *,
    ks: Sequence[int],
    temperatures: Sequence[float],
    num_classes: int,
) -> Tensor:
    """Top-1 in percent of every setting from one search: len(ks)×len(temperatures) float64."""
    correct = torch.zeros(len(ks), len(temperatures), dtype=torch.int64)
    for part, part_labels in zip(neighbors.parts(), chunks(labels, _CHUNK), strict=True):
        for column, temperature in enumerate(temperatures):
            sums = votes(part, ks=ks, temperature=temperature, num_classes=num_classes)
            correct[:, column] += (ranks(sums, part_labels) == 0).sum(-1)  # len(ks), over n
    return 100.0 * correct.double() / max(1, len(labels))


def run(protocol: KNN, subject: Subject) -> Outcome:
    """`knn` on a run and its data."""
    return knn(
        subject.features, subject.train_labels, subject.test_labels,
        heldout=subject.heldout, num_classes=subject.num_classes, protocol=protocol,
    )  # fmt: skip


def knn(
    features: Features, train_labels: Tensor, test_labels: Tensor, *,
    heldout: Tensor, num_classes: int, protocol: KNN,
) -> Outcome:  # fmt: skip
    """Choose k and temperature on the held-out part, then classify the test images once.

    Args:
        features: train N×D, test M×D, on the CPU.
        train_labels, test_labels: N and M int64.
        heldout: positions in train that the choice is made on; its index leaves them out.
    """
    k, temperature, chosen_top1 = choose(
        features.train, train_labels, heldout=heldout, num_classes=num_classes, protocol=protocol
    )
    found = nearest(features.train, train_labels, features.test, k=k)
    parts = [
        votes(part, ks=[k], temperature=temperature, num_classes=num_classes)[0]
        for part in found.parts()
    ]
    scores = torch.cat(parts)
    return Outcome(
        values=accuracies(scores, test_labels),
        chosen={"k": k, "temperature": temperature},
        heldout={"top1": chosen_top1},
        predicted=predictions(scores),
    )


def choose(
    train: Tensor, labels: Tensor, *, heldout: Tensor, num_classes: int, protocol: KNN
) -> tuple[int, float, float]:
    """The best k and temperature on the held-out part, and its top-1 in percent."""
    rest = complement(heldout, len(train))
    ks = sorted({min(k, len(rest)) for k in protocol.neighbors})
    found = nearest(Rows(train, rest), labels[rest], Rows(train, heldout), k=ks[-1])
    table = sweep(
        found, labels[heldout], ks=ks, temperatures=protocol.temperatures, num_classes=num_classes
    )
    # Of equal settings the first: the fewest neighbours, then the first temperature.
    row, column = divmod(table.flatten().tolist().index(float(table.max())), table.shape[1])
    return ks[row], protocol.temperatures[column], float(table[row, column])


def make_knn_monitor(
    dataset: Dataset, *, max_train: int = 2000, max_heldout: int = 500,
    k: int = 20, temperature: float = 0.07,  # DINO's
) -> Callable[[nn.Module], float]:  # fmt: skip
    """A cheap kNN for curves during training: fixed settings, held-out images, never the test set.

    Args:
        dataset: with labels.
        max_train, max_heldout: at most so many images, a fixed random choice.
    Returns:
        Encoder to top-1 in percent on the encoder's device; its modes and the random state stay
        as they were.
    Raises:
        UserError: the data has no labels.
    """
    labels = dataset.require_labels().train.labels
    assert labels is not None
    rest = _some(complement(dataset.heldout, len(dataset.train)), max_train)
    queries = _some(dataset.heldout.cpu(), max_heldout)
    images = dataset.train.images[torch.cat([rest, queries]).to(dataset.train.images.device)]
    index_labels, query_labels = labels.cpu()[rest], labels.cpu()[queries]

    def monitor(encoder: nn.Module) -> float:
        features = encode(encoder, images, mean=dataset.mean, std=dataset.std)
        train, query = features[: len(rest)], features[len(rest) :]
        found = nearest(train, index_labels, query, k=k)
        scores = votes(found, ks=[k], temperature=temperature, num_classes=len(dataset.classes))
        return percent(ranks(scores[0], query_labels) == 0)

    return monitor


def _some(indices: Tensor, count: int) -> Tensor:
    order = permutation(stream_key(0, "knn monitor", len(indices)), len(indices))
    return indices[order[:count].sort().values]
