"""The losses once more, in plain loops from the papers' formulas, to check the fast ones against.

Every function takes float64 tensors that may carry gradients, one row per image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """a.b / (|a| |b|) of two vectors."""
    return (a * b).sum() / ((a * a).sum().sqrt() * (b * b).sum().sqrt())


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Chen et al. 2020, Eq. 1 and Algorithm 1: the mean over all 2N anchors."""
    z = [*first, *second]
    n = len(first)
    total = torch.zeros((), dtype=torch.float64)
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        numerator = torch.exp(cosine(z[i], z[j]) / temperature)
        denominator = torch.zeros((), dtype=torch.float64)
        for k in range(2 * n):
            if k != i:
                denominator = denominator + torch.exp(cosine(z[i], z[k]) / temperature)
        total = total - torch.log(numerator / denominator)
    return total / (2 * n)


def multicrop_nt_xent(views: list[Tensor], temperature: float) -> Tensor:
    """Caron et al. 2020, appendix, SimCLR with multi-crop: each crop against each other crop of
    its image, with all crops of other images as negatives; a mean over pairs."""
    terms = []
    for m, anchors in enumerate(views):
        for i, anchor in enumerate(anchors):
            negatives = [
                torch.exp(cosine(anchor, other[j]) / temperature)
                for other in views
                for j in range(len(other))
                if j != i
            ]
            for p, positives in enumerate(views):
                if p != m:
                    positive = torch.exp(cosine(anchor, positives[i]) / temperature)
                    terms.append(-torch.log(positive / (positive + sum(negatives))))
    return torch.stack(terms).mean()


def moco(query: Tensor, key: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """He et al. 2019, Eq. 1: one positive and the queue."""
    total = torch.zeros((), dtype=torch.float64)
    for q, k in zip(query, key, strict=True):
        positive = torch.exp(cosine(q, k) / temperature)
        denominator = positive
        for old in queue:
            denominator = denominator + torch.exp(cosine(q, old) / temperature)
        total = total - torch.log(positive / denominator)
    return total / len(query)


def batch_keys(query: Tensor, key: Tensor, temperature: float) -> Tensor:
    """Chen et al. 2021, Algorithm 1, `ctr`, without the factor 2 * temperature."""
    total = torch.zeros((), dtype=torch.float64)
    for i, q in enumerate(query):
        terms = [torch.exp(cosine(q, k) / temperature) for k in key]
        total = total - torch.log(terms[i] / sum(terms))
    return total / len(query)


def byol_with_negatives(
    online: Tensor, target_same: Tensor, target_other: Tensor, alpha: float, beta: float
) -> Tensor:
    """Grill et al. 2020, App. F.5, Eq. 8: what is *maximised*, from view v to view v'.

    online is phi(v), target_same psi(v), target_other psi(v').
    """
    b = len(online)
    total = torch.zeros((), dtype=torch.float64)
    for i in range(b):
        total = total + 2 / b * cosine(online[i], target_other[i])
        inside = torch.zeros((), dtype=torch.float64)
        for j in range(b):
            if j != i:
                inside = inside + torch.exp(cosine(online[i], target_same[j]) / alpha)
            inside = inside + torch.exp(cosine(online[i], target_other[j]) / alpha)
        total = total - beta * 2 * alpha / b * torch.log(inside)
    return total


def dcl(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Yeh et al. 2021, Eq. of L_DC: no positive in the denominator; the mean over both views."""
    return dclw(first, second, temperature, [1.0] * len(first))


def dclw(first: Tensor, second: Tensor, temperature: float, weights: list[float]) -> Tensor:
    """Yeh et al. 2021, Eq. of L_DCW, with the weight of each pair given."""
    views = (first, second)
    n = len(first)
    total = torch.zeros((), dtype=torch.float64)
    for k in range(2):
        for i in range(n):
            anchor = views[k][i]
            below = torch.zeros((), dtype=torch.float64)
            for view in views:
                for j in range(n):
                    if j != i:
                        below = below + torch.exp(cosine(anchor, view[j]) / temperature)
            attraction = weights[i] * cosine(first[i], second[i]) / temperature
            total = total - attraction + torch.log(below)
    return total / (2 * n)


def von_mises_fisher_weights(first: Tensor, second: Tensor, sigma: float) -> list[float]:
    """Yeh et al. 2021: 2 - exp(s_i / sigma) over its mean in the batch."""
    exponentials = [
        math.exp(cosine(a, b).detach() / sigma) for a, b in zip(first, second, strict=True)
    ]
    mean = sum(exponentials) / len(exponentials)
    return [2 - e / mean for e in exponentials]


def hard_debiased(
    first: Tensor, second: Tensor, temperature: float, prior: float, beta: float
) -> Tensor:
    """Robinson et al. 2020 (with beta 0 Chuang et al. 2020, Eq. 7 and 8), one positive."""
    z = [*first, *second]
    n = len(first)
    total = torch.zeros((), dtype=torch.float64)
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        positive = torch.exp(cosine(z[i], z[j]) / temperature)
        negatives = [
            torch.exp(cosine(z[i], z[k]) / temperature) for k in range(2 * n) if k not in (i, j)
        ]
        importance = [e**beta for e in negatives]
        mean_importance = sum(importance) / len(importance)
        weighted = [w / mean_importance * e for w, e in zip(importance, negatives, strict=True)]
        estimate = (sum(weighted) / len(weighted) - prior * positive) / (1 - prior)
        if prior > 0 and estimate < math.exp(-1 / temperature):
            estimate = torch.tensor(math.exp(-1 / temperature), dtype=torch.float64)
        total = total - torch.log(positive / (positive + len(negatives) * estimate))
    return total / (2 * n)


def ring(query: Tensor, key: Tensor, queue: Tensor, temperature: float, kept: range) -> Tensor:
    """Wu et al. 2020: MoCo's loss over the negatives whose rank by similarity is in `kept`."""
    total = torch.zeros((), dtype=torch.float64)
    for q, k in zip(query, key, strict=True):
        similarities = sorted((cosine(q, old) for old in queue), key=Tensor.item, reverse=True)
        positive = torch.exp(cosine(q, k) / temperature)
        below = positive + sum(torch.exp(similarities[r] / temperature) for r in kept)
        total = total - torch.log(positive / below)
    return total / len(query)


def transformed_moco(
    query: Tensor, key: Tensor, queue: Tensor, temperature: float,
    mu_positive: Tensor, mu_negative: Tensor, order: list[int],
) -> Tensor:  # fmt: skip
    """Zhu et al. 2021 with the numbers drawn given; dot products of vectors of any length."""
    mixed = []
    for row, other in enumerate(order):
        m = mu_negative[row]
        mixed.append(m * queue[row] + (1 - m) * queue[other])
    total = torch.zeros((), dtype=torch.float64)
    for i in range(len(query)):
        q, k, m = query[i] / query[i].norm(), key[i] / key[i].norm(), mu_positive[i]
        far_q, far_k = m * q + (1 - m) * k, m * k + (1 - m) * q
        positive = torch.exp((far_q * far_k).sum() / temperature)
        below = positive
        for entry in mixed:
            below = below + torch.exp((far_q * entry).sum() / temperature)
        total = total - torch.log(positive / below)
    return total / len(query)


def bank_softmax(anchors: Tensor, bank: Tensor, own: list[int], temperature: float) -> Tensor:
    """Wu et al. 2018, Eq. 2: every row of the memory bank is a class."""
    total = torch.zeros((), dtype=torch.float64)
    for anchor, row in zip(anchors, own, strict=True):
        terms = [torch.exp(cosine(anchor, entry) / temperature) for entry in bank]
        total = total - torch.log(terms[row] / sum(terms))
    return total / len(anchors)


def simple(
    anchors: Tensor, bank: Tensor, own: list[int], weight: float, nearest: int | None = None
) -> Tensor:
    """Wang and Liu 2020, the simple loss; with `nearest` over the own row and so many others."""
    total = torch.zeros((), dtype=torch.float64)
    for anchor, row in zip(anchors, own, strict=True):
        others = [cosine(anchor, entry) for j, entry in enumerate(bank) if j != row]
        others = sorted(others, key=Tensor.item, reverse=True)[:nearest]
        positive = cosine(anchor, bank[row])
        total = total - positive + weight * (positive + sum(others)) / (1 + len(others))
    return total / len(anchors)


def noise_contrastive(
    anchors: Tensor,
    bank: Tensor,
    own: list[int],
    drawn: list[list[int]],
    temperature: float,
    z: float,
) -> Tensor:
    """Wu et al. 2018, Eq. 6 and 7, with the drawn rows and the constant Z given."""
    total = torch.zeros((), dtype=torch.float64)
    m, n = len(drawn[0]), len(bank)

    def is_data(anchor: Tensor, row: int) -> Tensor:
        p = torch.exp(cosine(anchor, bank[row]) / temperature) / z
        return p / (p + m * (1 / n))

    for anchor, row, noise in zip(anchors, own, drawn, strict=True):
        total = total - torch.log(is_data(anchor, row))
        for j in noise:
            total = total - torch.log(1 - is_data(anchor, j))
    return total / len(anchors)


def partition(anchors: Tensor, bank: Tensor, drawn: list[list[int]], temperature: float) -> Tensor:
    """Wu et al. 2018, Eq. 8, over all anchors of a batch."""
    terms = [torch.exp(cosine(anchor, bank[j]) / temperature)
             for anchor, noise in zip(anchors, drawn, strict=True) for j in noise]  # fmt: skip
    return len(bank) / len(terms) * sum(terms)


def bank_update(row: Tensor, embedding: Tensor, momentum: float) -> Tensor:
    """The new row of one image: the unit vector along the moving average."""
    mixed = momentum * row + (1 - momentum) * embedding / embedding.norm()
    return mixed / mixed.norm()


def squared_distance(a: Tensor, b: Tensor) -> Tensor:
    """Of the unit vectors along a and b."""
    return ((a / a.norm() - b / b.norm()) ** 2).sum()


def alignment(x: Tensor, y: Tensor, power: float) -> Tensor:
    """Wang and Isola 2020, Sec. 4.1: E |f(x) - f(y)|^power over positive pairs."""
    return sum(squared_distance(a, b).sqrt() ** power for a, b in zip(x, y, strict=True)) / len(x)


def uniformity(x: Tensor, scale: float, queue: Tensor | None = None) -> Tensor:
    """Wang and Isola 2020, Sec. 4.1: log E exp(-t d^2) over pairs of images, each once; with a
    queue also over pairs of an image and an entry."""
    terms = [torch.exp(-scale * squared_distance(x[i], x[j]))
             for i in range(len(x)) for j in range(i)]  # fmt: skip
    if queue is not None:
        terms += [torch.exp(-scale * squared_distance(a, b)) for a in x for b in queue]
    return torch.log(sum(terms) / len(terms))


def relational(
    student: Tensor, teacher: Tensor, queue: Tensor, temperature: float, teacher_temperature: float
) -> Tensor:
    """Zheng et al. 2021, Eq. 4 to 6: one direction; the teacher is given without gradient."""
    total = torch.zeros((), dtype=torch.float64)
    for z, z_teacher in zip(student, teacher, strict=True):
        ours = [torch.exp(cosine(z, old) / temperature) for old in queue]
        theirs = [torch.exp(cosine(z_teacher, old) / teacher_temperature) for old in queue]
        for e, e_teacher in zip(ours, theirs, strict=True):
            total = total - e_teacher / sum(theirs) * torch.log(e / sum(ours))
    return total / len(student)


def probabilities(scores: Tensor, temperature: float) -> list[Tensor]:
    """The softmax of one image's K scores, entry by entry."""
    powers = [torch.exp(score / temperature) for score in scores]
    return [power / sum(powers) for power in powers]


def dino(
    student: list[Tensor],
    teacher: list[Tensor],
    centre: Tensor,
    temperature: float,
    teacher_temperature: float,
) -> Tensor:
    """Caron et al. 2021, Algorithm 1 and Eq. 3, of V views N×K and the teacher's global ones."""
    terms = []
    for j, theirs in enumerate(teacher):
        for i, ours in enumerate(student):
            if i == j:
                continue
            for x, y in zip(ours, theirs, strict=True):
                p = probabilities(x, temperature)
                q = probabilities(y - centre, teacher_temperature)
                terms.append(-sum(b * torch.log(a) for a, b in zip(p, q, strict=True)))
    return torch.stack(terms).mean()


def dino_mse(student: list[Tensor], teacher: list[Tensor], centre: Tensor) -> Tensor:
    """Caron et al. 2021, App. B and Table 14, row 2: the outputs as unit vectors, the teacher's
    after centring, without softmax."""
    terms = [
        squared_distance(x, y - centre)
        for j, theirs in enumerate(teacher)
        for i, ours in enumerate(student)
        if i != j
        for x, y in zip(ours, theirs, strict=True)
    ]
    return torch.stack(terms).mean()


def centre_update(centre: Tensor, teacher: list[Tensor], momentum: float) -> Tensor:
    """Caron et al. 2021, Eq. 4: over the rows of both global views."""
    rows = [row for view in teacher for row in view]
    return momentum * centre + (1 - momentum) * sum(rows) / len(rows)


def byol(p1: Tensor, p2: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
    """Grill et al. 2020, Eq. 2, both directions: squared distances of unit vectors."""
    total = torch.zeros((), dtype=torch.float64)
    for p, z in ((p1, z2), (p2, z1)):
        for a, b in zip(p, z, strict=True):
            total = total + ((a / a.norm() - b / b.norm()) ** 2).sum()
    return total / len(p1)


def simsiam(p1: Tensor, p2: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
    """Chen and He 2020, Algorithm 1: D(p1, z2) / 2 + D(p2, z1) / 2."""

    def distance(p: Tensor, z: Tensor) -> Tensor:
        return -sum(cosine(a, b) for a, b in zip(p, z, strict=True)) / len(p)

    return distance(p1, z2) / 2 + distance(p2, z1) / 2


def standardized(x: Tensor, eps: float = 1e-5) -> Tensor:
    """Each column less its mean, over its biased standard deviation."""
    columns = []
    for column in x.T:
        centred = column - sum(column) / len(column)
        columns.append(centred / (sum(centred**2) / len(column) + eps).sqrt())
    return torch.stack(columns, dim=1)


def centred(x: Tensor) -> Tensor:
    """Each column less its mean."""
    return torch.stack([column - sum(column) / len(column) for column in x.T], dim=1)


def scaled_rows(x: Tensor) -> Tensor:
    """Each row at length sqrt(D)."""
    return torch.stack([row / (row**2).sum().sqrt() * len(row) ** 0.5 for row in x])


def cross_matrix(a: Tensor, b: Tensor) -> list[list[Tensor]]:
    """Zbontar et al. 2021, Eq. 2, of columns that are normalised already."""
    d = a.shape[1]
    return [[sum(a[:, i] * b[:, j]) / len(a) for j in range(d)] for i in range(d)]


def barlow_twins(matrix: list[list[Tensor]], on: float, off: float) -> Tensor:
    """Zbontar et al. 2021, Eq. 1, with a weight on either term."""
    total = torch.zeros((), dtype=torch.float64)
    for i, row in enumerate(matrix):
        for j, entry in enumerate(row):
            total = total + (on * (1 - entry) ** 2 if i == j else off * entry**2)
    return total


def barlow_cross_entropy(matrix: list[list[Tensor]], off: float, temperature: float) -> Tensor:
    """Zbontar et al. 2021, Table 5, "Cross-entropy with temp."."""
    d = len(matrix)
    on_sum = sum(torch.exp(matrix[i][i] / temperature) for i in range(d))
    off_sum = sum(
        torch.exp(matrix[i][j].clamp(min=0) / temperature)
        for i in range(d)
        for j in range(d)
        if i != j
    )
    return -torch.log(on_sum) + off * torch.log(off_sum)


def cross_entropy(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Szegedy et al. 2016, Sec. 7: the label gets 1 - s + s / C, every other class s / C."""
    total = torch.zeros((), dtype=torch.float64)
    classes = logits.shape[1]
    for row, label in zip(logits, labels, strict=True):
        log_probabilities = row - torch.log(torch.exp(row).sum())
        for c in range(classes):
            share = smoothing / classes + (1 - smoothing if c == label else 0)
            total = total - share * log_probabilities[c]
    return total / len(logits)
