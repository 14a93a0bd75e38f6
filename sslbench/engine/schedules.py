"""Learning rate and weight decay as functions of the step: there is nothing to save."""

from __future__ import annotations

import math

from sslbench.recipes.specs import AdamW, Cosine, Steps


def learning_rate_factor(
    spec: Cosine | Steps, *, step: int, steps_per_epoch: int, total_epochs: int
) -> float:
    """What the base rate is multiplied by in optimiser step `step` (from 0), at most 1.

    With W = warm-up steps and T = all steps, step k < W takes (k + 1) / W: the line starts at 0
    one step before the first, so that no step is wasted, and step W - 1 has the full rate. From
    `warmup_start` s it is s + (1 - s) (k + 1) / W. The warm-up rises per step also where the
    cosine falls per epoch. A warm-up longer than the run never reaches the full rate.

    `Cosine`: floor + (1 - floor) (1 + cos pi u) / 2, where u = (k - W) / (T - W) is the share of
    the rest that is done, with k at the start of its epoch under `per="epoch"` (SimSiam, MoCo v2).
    `Steps`: factor to the number of milestones reached; share m is reached at step round(m T).
    Source: Loshchilov and Hutter 2017, Eq. 5, without restarts.
    """
    total = total_epochs * steps_per_epoch
    warmup = spec.warmup_epochs * steps_per_epoch
    if step < warmup:
        start = spec.warmup_start if isinstance(spec, Cosine) else 0.0
        return start + (1 - start) * min(1.0, (step + 1) / warmup)
    if isinstance(spec, Steps):
        return spec.factor ** sum(step >= round(m * total) for m in spec.milestones)
    now = step if spec.per == "step" else step // steps_per_epoch * steps_per_epoch
    done = max(0.0, now - warmup) / max(1.0, total - warmup)
    return spec.floor + (1 - spec.floor) * _half_cosine(done)


def weight_decay(spec: AdamW, *, step: int, total_steps: int) -> float:
    """The decay in optimiser step `step` (from 0): half a cosine to `weight_decay_end`, if any.

    end + (decay - end) (1 + cos(pi k / K)) / 2, from the first of K steps.
    Source: Caron et al. 2021 (DINO), "Implementation details" of Sec. 3.2.
    """
    if spec.weight_decay_end is None:
        return spec.weight_decay
    end = spec.weight_decay_end
    return end + (spec.weight_decay - end) * _half_cosine(step / max(1, total_steps))


def _half_cosine(done: float) -> float:
    """1 at 0, 0 at 1 and beyond."""
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
