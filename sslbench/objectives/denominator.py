"""What stands below the positive: the sum over negatives, weighted, debiased, with or without it.

All in logarithms. A plain sum is `logsumexp` of the logits and needs nothing of this.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sslbench.objectives.candidates import Candidates
from sslbench.recipes.specs import InfoNCE


def log_denominator(spec: InfoNCE, candidates: Candidates) -> Tensor:
    """log of the denominator of each pair's softmax, B.

    Args:
        candidates: A×C logits, similarities over the temperature.
    """
    candidates = candidates.one_each()
    logits, positive, n = candidates.negatives(), candidates.positive(), candidates.num_negatives
    log_sum = log_weighted_sum(logits, n, hardness=spec.hardness)
    if spec.class_prior > 0:
        # The correction is of means, what stands in the softmax a sum: over n and back.
        log_mean = log_debiased_mean(
            log_sum - math.log(n),
            positive,
            class_prior=spec.class_prior,
            temperature=spec.temperature,
        )
        log_sum = log_mean + math.log(n)
    return torch.logaddexp(positive, log_sum) if spec.positive_in_denominator else log_sum


def log_weighted_sum(logits: Tensor, num_negatives: int, *, hardness: float) -> Tensor:
    """log sum_j w_j e^(l_j), with w_j proportional to e^(hardness l_j) and of mean 1: A.

    The gradient flows through the weights, as in the authors' code.

    Args:
        logits: A×C, of which `num_negatives` count.
        hardness: the paper's beta, >= 0; 0 is the plain sum.
    Source: Robinson et al. 2020, arXiv:2010.04592, Sec. 3; as in the authors' code the weight's
        exponent, too, holds the similarity over the temperature.
    """
    if hardness == 0:
        return torch.logsumexp(logits, dim=1)
    # w_j = n e^(hardness l_j) / sum_k e^(hardness l_k): the n makes their mean 1.
    weighted = torch.logsumexp((1 + hardness) * logits, dim=1)
    return weighted - torch.logsumexp(hardness * logits, dim=1) + math.log(num_negatives)


def log_debiased_mean(
    log_mean: Tensor, positive: Tensor, *, class_prior: float, temperature: float
) -> Tensor:
    """log of the mean over true negatives, estimated from all others and the positive: A.

    (mean - prior e^(l+)) / (1 - prior), and at least e^(-1 / temperature), its least possible
    value for unit vectors; below that the gradient is zero.

    Args:
        log_mean: A, log of the mean of e^l over the negatives.
        positive: A logits of the positives.
        class_prior: the probability that a negative is of the anchor's class, in (0, 1).
    Source: Chuang et al. 2020, arXiv:2007.00224, Eq. 7 and 8 with one positive.
    """
    log_false = math.log(class_prior) + positive - log_mean  # log of the share to subtract
    # Masked twice: the branch that `where` drops has a gradient too, which is infinite at
    # log1p(-1), and 0 times infinity is NaN.
    false = torch.exp(log_false.clamp(max=0))
    some_left = log_false < 0
    kept = torch.log1p(-torch.where(some_left, false, 0)) - math.log1p(-class_prior)
    floor = -1 / temperature
    return torch.where(some_left, log_mean + kept, floor).clamp(min=floor)
