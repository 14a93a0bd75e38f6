"""Sampling bias: negatives of the anchor's own class, and what correcting for them changes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sslbench.errors import UserError
from sslbench.evaluation.analyses.analysis import (
    Analysis,
    Record,
    Space,
    batches,
    blocks,
    check_batch_sizes,
    head,
    histogram,
    pairs,
    rows_of,
    temperature_of,
)
from sslbench.evaluation.subject import Subject
from sslbench.objectives.denominator import log_debiased_mean

BINS = 40
DISTRIBUTION = 1024  # images whose pairs are listed as distributions


def analyze_sampling_bias(
    subject: Subject,
    *,
    space: Space,
    batch_sizes: Sequence[int] | None = None,
    class_priors: Sequence[float] | None = None,
    temperature: float | None = None,
) -> Analysis:
    """The share of false negatives by batch size, expected and measured, and the biased, debiased
    and unbiased estimates of the negative term and of the loss.

    Args:
        subject: a run on labelled data.
        space: where the loss is taken.
        batch_sizes: images; None takes 32 to 1024, as far as there are test images.
        class_priors: what the debiased estimate assumes (the paper's tau+); None is the share
            that the labels give.
        temperature: None is the run's own.
    Raises:
        UserError: a batch size below 2 or above the number of test images; a prior outside (0, 1);
            no projector; no temperature; one class only.
    Source: Chuang et al. 2020, arXiv:2007.00224, Figs. 1 and 2, Eq. 7 and 8.
    """
    temperature = temperature_of(subject, temperature)
    rows = rows_of(subject)
    sizes = check_batch_sizes(batch_sizes, len(rows))
    labels = subject.test_labels[rows]
    counts = torch.bincount(labels)
    share = false_share(counts)
    priors = _check_priors(class_priors, share)
    first, second = pairs(subject, rows, space=space)
    labels = labels.to(first.device)
    summary = []
    for size in sizes:
        parts = batches(len(rows), size).to(first.device)
        found = _joined([
            estimates(first[i], second[i], labels[i], temperature=temperature, class_priors=priors)
            for i in parts
        ])  # fmt: skip
        common: Record = {
            **head(subject, space),
            "temperature": temperature,
            "batch_size": size,
            "false_percent_expected": 100 * share,
            "false_percent": 100 * float(found.false_share.mean()),
            "any_false_percent_expected": 100 * any_false(counts, size),
            "any_false_percent": 100 * float((found.false_share > 0).double().mean()),
        }
        summary += [
            _row(common | {"class_prior": prior}, found, i) for i, prior in enumerate(priors)
        ]
    return Analysis(
        name="sampling-bias",
        summary=summary,
        points=_distributions(subject, space, first, second, labels),
    )


def false_share(counts: Tensor) -> float:
    """Expected share of an anchor's negatives that are of its class, for images drawn without
    replacement; the batch size does not matter.

    Args:
        counts: C int64, images of each class.
    """
    count = counts.sum().double()
    return float((counts * (counts - 1)).sum() / (count * (count - 1)))


def any_false(counts: Tensor, size: int) -> float:
    """Probability that an anchor's batch holds another image of its class.

    Args:
        counts: C int64, images of each class; size: images of the batch, drawn without
            replacement.
    """
    n = counts[counts > 0].double()
    total, others = n.sum(), torch.tensor(size - 1.0, dtype=torch.float64)
    none = _log_binomial(total - n, others) - _log_binomial(total - 1, others)  # hypergeometric
    none = torch.where(total - n < others, torch.zeros_like(none), none.exp())
    return float(1 - (n / total * none).sum())


@dataclass(frozen=True)
class Estimates:
    """Of 2N anchors, float64; logarithms of the mean of e^{s/t} over negatives, in nats.

    Attributes:
        false_share: 2N, share of the negatives that are of the anchor's class.
        positive: 2N, cosines with the positive over t.
        biased: 2N, over all negatives. unbiased: 2N, over those of other classes; NaN without any.
        debiased: P×2N, of each class prior. clamped: P×2N bool, held at its least value e^{-1/t}.
    """

    false_share: Tensor
    positive: Tensor
    biased: Tensor
    unbiased: Tensor
    debiased: Tensor
    clamped: Tensor


def estimates(
    first: Tensor,
    second: Tensor,
    labels: Tensor,
    *,
    temperature: float,
    class_priors: Sequence[float],
) -> Estimates:
    """The negative term of one batch, estimated in three ways for every anchor.

    Args:
        first, second: N×D, l2-normalised views of N >= 2 images; labels: N int64.
        class_priors: tau+ of the debiased estimate, whose one positive is the other view.
    Source: Chuang et al. 2020, Eq. 7 (M = 1): max((biased - tau+ e^{s+/t}) / (1 - tau+), e^{-1/t}).
    """
    parts = []
    for block in blocks(first, second):
        false = labels[block.images, None] == labels.repeat(2)
        false &= block.negative
        true = block.negative & ~false
        scaled = block.cosines / temperature
        biased, unbiased = _log_mean(scaled, block.negative), _log_mean(scaled, true)
        positive = block.positive / temperature
        found = [log_debiased_mean(biased, positive, class_prior=p, temperature=temperature)
                 for p in class_priors]  # fmt: skip
        parts.append(
            Estimates(
                false_share=false.sum(dim=1).double() / block.negative.sum(dim=1),
                positive=positive,
                biased=biased,
                unbiased=unbiased,
                debiased=torch.stack(found),
                clamped=torch.stack(found) <= -1 / temperature,
            )
        )
    return _joined(parts)


def loss(positive: Tensor, term: Tensor, *, num_negatives: int) -> Tensor:
    """-log(e^{s+/t} / (e^{s+/t} + n G)) of every anchor, n = num_negatives, G = e^term."""
    return F.softplus(term + math.log(num_negatives) - positive)


def _log_mean(scaled: Tensor, chosen: Tensor) -> Tensor:
    """log of the mean of e^x over a row's chosen entries; NaN without any."""
    total = scaled.masked_fill(~chosen, -torch.inf).logsumexp(dim=1)
    count = chosen.sum(dim=1)
    return torch.where(count > 0, total - count.double().log(), torch.nan)


def _log_binomial(n: Tensor, k: Tensor) -> Tensor:
    return torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)


def _joined(parts: Sequence[Estimates]) -> Estimates:
    names = vars(parts[0])
    return Estimates(**{k: torch.cat([getattr(p, k) for p in parts], dim=-1) for k in names})


def _row(common: Record, found: Estimates, index: int) -> Record:
    size, prior = common["batch_size"], common["class_prior"]
    terms = {"biased": found.biased, "debiased": found.debiased[index], "unbiased": found.unbiased}
    losses = {
        k: loss(found.positive, term, num_negatives=2 * size - 2) for k, term in terms.items()
    }
    return {
        **common,
        "any_false_percent_at_prior": 100 * (1 - (1 - prior) ** (size - 1)),
        **{f"log_term_{k}": float(term.nanmean()) for k, term in terms.items()},
        **{f"loss_{k}": float(value.nanmean()) for k, value in losses.items()},
        "clamped_percent": 100 * float(found.clamped[index].double().mean()),
    }


def _check_priors(priors: Sequence[float] | None, share: float) -> list[float]:
    for prior in priors or ():
        if not 0 < prior < 1:
            raise UserError(f"--class-prior {prior:g}: needs a number between 0 and 1.")
    if not 0 < share < 1:
        raise UserError(
            "The test images are of one class, or of a class each: there is no sampling bias to "
            "look at; choose another data set."
        )
    return sorted(set(priors)) if priors else [share]


def _distributions(
    subject: Subject, space: Space, first: Tensor, second: Tensor, labels: Tensor
) -> list[Record]:
    """Densities of the cosines of positives, true and false negatives over all pairs of some
    images, and of the positives of all."""
    rows = batches(len(first), min(len(first), DISTRIBUTION))[0].to(first.device)
    groups: dict[str, list[Tensor]] = {
        "positive": [(first * second).sum(dim=1)],
        "true negative": [],
        "false negative": [],
    }
    for block in blocks(first[rows], second[rows]):
        same = labels[rows][block.images, None] == labels[rows].repeat(2)
        groups["true negative"].append(block.cosines[block.negative & ~same])
        groups["false negative"].append(block.cosines[block.negative & same])
    edges = torch.linspace(-1, 1, BINS + 1, dtype=torch.float64)
    return [
        {**head(subject, space), "group": name, "cosine": float(x), "density": float(y)}
        for name, values in groups.items()
        for x, y in zip(*histogram(torch.cat(values), edges), strict=True)
    ]
