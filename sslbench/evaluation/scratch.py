"""Training from scratch: the run of an untrained encoder beside a run, under the same protocol.

It is a run like any other in the same folder of runs, the `untrained` one of the same encoder, data
and seed, so that all runs that share these share its fits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch

from sslbench.engine.folder import RunFolder
from sslbench.engine.place import run_folder
from sslbench.engine.pretrain import Options, pretrain
from sslbench.evaluation.evaluate import evaluate
from sslbench.evaluation.finetune_kinds import Tuned
from sslbench.evaluation.protocol import Protocol
from sslbench.evaluation.scores import Score
from sslbench.evaluation.subject import Subject
from sslbench.recipes.families import FixedRecipe
from sslbench.recipes.recipe import Experiment
from sslbench.recipes.resolve import Resolved, resolve
from sslbench.recipes.specs import ViT

_EXTERNAL = "external"  # the scale of an encoder file


def scratch(protocol: Tuned, subject: Subject) -> dict[str, float] | None:
    """Top-1 in percent from the random start: `scratch` of as many epochs as the protocol has, and
    where the length of pre-training is known `scratch_total` of these and those together.

    Returns:
        None where the run is itself an untrained encoder.
    Raises:
        Interrupted, UserError: as `evaluate`.
    """
    folder = _companion(subject)
    if folder is None:
        return None
    experiment = subject.folder.experiment()
    found = _score(folder, protocol, subject)
    values = {"scratch": float(found.values["top1"])}
    if extra := pretraining_epochs(experiment, subject):
        longer = dataclasses.replace(
            protocol,
            name=f"{protocol.name}.total-{protocol.epochs + extra}",
            epochs=protocol.epochs + extra,
            learning_rates=(found.chosen["learning_rate"],),
            layer_decays=(found.chosen["layer_decay"],),
        )
        values["scratch_total"] = float(_score(folder, longer, subject).values["top1"])
    return values


def scratch_scores(
    protocol: Protocol, longer: Callable[[Score], Protocol], subject: Subject
) -> tuple[Score, Score] | None:
    """Of the same network from its random start: its score, and that of a longer training.

    Args:
        longer: the protocol of the second, made of the first: with its settings.
    Returns:
        None where the run is itself an untrained encoder.
    Raises:
        Interrupted, UserError: as `evaluate`.
    """
    folder = _companion(subject)
    if folder is None:
        return None
    found = _score(folder, protocol, subject)
    return found, _score(folder, longer(found), subject)


def over_scratch(
    values: Mapping[str, float], key: str, found: tuple[Score, Score] | None
) -> dict[str, float]:
    """`scratch` and `scratch_long`, one value of both scores, and `gain` and `gain_long` over them.

    Args:
        values: the run's own.
        found: by `scratch_scores`; None of an untrained encoder, which is its own scratch and has
            no longer one.
    """
    if found is None:
        return {"scratch": values[key], "gain": 0.0}
    equal, longer = (float(score.values[key]) for score in found)
    return {"scratch": equal, "scratch_long": longer,
            "gain": values[key] - equal, "gain_long": values[key] - longer}  # fmt: skip


def untrained_of(experiment: Experiment, *, count: int) -> Resolved:
    """The run of the same encoder at the random start of the same seed, on the same data.

    Drop path has no part in the start, and fine-tuning has its own.

    Args:
        count: training images of the experiment, or fewer: a run's batch must not have more, also
            where nothing is trained.
    """
    encoder = experiment.recipe.encoder
    if isinstance(encoder, ViT):
        encoder = encoder.but(drop_path=0.0)
    scale = "paper" if experiment.scale == _EXTERNAL else experiment.scale

    def made(**more: Any) -> Resolved:
        layers = [("--set", {"encoder": encoder, **more})]
        return resolve("untrained", scale=scale, layers=layers, data=experiment.data,
                       seed=experiment.seed)  # fmt: skip

    found = made()
    fits = found.experiment.recipe.batch_size <= count
    return found if fits else made(batch_size=count)


def pretraining_epochs(experiment: Experiment, subject: Subject) -> int:
    """Passes over the labelled training images that saw as many images as pre-training did, the
    run's that it started from included; 0 where that is not known or of another data set."""
    summary = subject.folder.summary()
    if experiment.scale == _EXTERNAL or subject.dataset.fingerprint != summary.get("fingerprint"):
        return 0
    train, unlabelled = len(subject.dataset.train), subject.dataset.num_pretraining
    passes = 0.0
    current: Experiment | None = experiment
    while current is not None:
        images = train if current.recipe.needs_labels else unlabelled
        passes += current.recipe.epochs * images / train
        current = current.start
    return round(passes)


def _companion(subject: Subject) -> RunFolder | None:
    """The finished run of the untrained encoder; None where the subject is one."""
    experiment = subject.folder.experiment()
    if isinstance(experiment.recipe, FixedRecipe) and experiment.scale != _EXTERNAL:
        return None
    images = subject.folder.summary().get("images", {})
    return _untrained(untrained_of(experiment, count=images.get("train", 2)), subject)


def _untrained(found: Resolved, subject: Subject) -> RunFolder:
    """Its finished run, which takes a moment where it is not there."""
    runs = subject.folder.path.parent
    folder = run_folder(found.experiment, runs=runs, root=subject.root)
    if folder.status() == "finished":
        return folder
    own = subject.folder.summary().get("fingerprint") == subject.dataset.fingerprint
    return pretrain(
        found.experiment, provenance=found.provenance, runs=runs, root=subject.root,
        options=Options(device=str(subject.device), threads=torch.get_num_threads()),
        dataset=subject.dataset if own else None,
    )  # fmt: skip


def _score(folder: RunFolder, protocol: Protocol, subject: Subject) -> Score:
    (score,) = evaluate(
        folder, [protocol], data=subject.data, root=subject.root,
        device=str(subject.device), dataset=subject.dataset, progress=subject.progress,
    ).values()  # fmt: skip
    return score
