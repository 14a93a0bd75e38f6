"""Partial fine-tuning: how much of an encoder must be trained before it is good at a task."""

from __future__ import annotations

import torch

from sslbench.errors import UserError
from sslbench.evaluation import finetune
from sslbench.evaluation.accuracy import Outcome, complement
from sslbench.evaluation.finetune_kinds import PartialFineTune
from sslbench.evaluation.fits import Steps
from sslbench.evaluation.layers import LayerMap, layer_map
from sslbench.evaluation.subject import Subject
from sslbench.evaluation.tuning_fits import Tuning


def check(protocol: PartialFineTune, subject: Subject) -> None:
    """Raise UserError for an encoder that has no blocks, or settings that do not make sense."""
    finetune.check(protocol, subject)
    if layer_map(subject.encoder) is None:
        raise UserError(
            f"{protocol.name} trains the last blocks of a ViT or a ResNet, and "
            f"{type(subject.encoder).__name__} has none that are known; use finetune.v1."
        )


def run(protocol: PartialFineTune, subject: Subject) -> Outcome:
    """`finetune.partial.v1` of a run and a data set. What is killed goes on where it was.

    Raises:
        Interrupted: a signal; the fit was saved.
        UserError: every setting of a part diverged, or memory ran out.
    """
    layers = layer_map(subject.encoder)
    assert layers is not None  # which the check has seen
    parts = parts_of(layers)
    count, heldout = len(subject.dataset.train), subject.heldout
    rest = complement(heldout, count)
    steps = Steps(len(parts) * Tuning(protocol, subject).planned(count, len(rest)))
    values: dict[str, float] = {}
    chosen: dict[str, float] = {}
    found: dict[str, float] = {}
    for part, blocks in parts.items():
        tuning = Tuning(protocol, subject, blocks, steps)
        choice = tuning.choose(rest, heldout)
        judged = tuning.judged(
            torch.arange(count), choice.setting, subject.dataset.test.images, subject.test_labels,
            epochs=protocol.epochs,
        )  # fmt: skip
        if not judged:
            raise UserError(
                f"{protocol.name}: the fit of {part} has diverged at the rate chosen for it, "
                f"{choice.setting[0]:g}; the encoder's own training may have: see its verdict."
            )
        values[part] = judged["top1"]
        chosen[part] = choice.setting[0]
        if choice.heldout is not None:
            found[part] = choice.heldout
    return Outcome(values=values, chosen=chosen, heldout=found)


def parts_of(layers: LayerMap) -> dict[str, float]:
    """The name of each value, and how many of the last blocks are trained for it: the head alone,
    half a block of a transformer, one, half of all, all with what lies before them."""
    half = {"half_block": 0.5} if layers.transformer else {}
    middle = max(1, layers.num_blocks // 2)
    return {"blocks0": 0.0, **half, "blocks1": 1.0, "blocks_half": middle,
            "blocks_all": layers.num_blocks + 1}  # fmt: skip
