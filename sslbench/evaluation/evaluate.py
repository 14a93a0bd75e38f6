"""`evaluate`: score a finished run, keep scores and predictions beside it, repeat nothing."""

from __future__ import annotations

import io
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sslbench.data import Dataset, fingerprint, load
from sslbench.data.registry import function, resolution_of
from sslbench.engine.folder import RunFolder, Summary
from sslbench.engine.progress import Progress
from sslbench.errors import UserError
from sslbench.evaluation.accuracy import Outcome
from sslbench.evaluation.features import file_hash
from sslbench.evaluation.protocols import Protocol, find_protocols, require
from sslbench.evaluation.scores import Score, current_score, set_label
from sslbench.evaluation.subject import Subject
from sslbench.files import user_io, write_atomically
from sslbench.recipes.recipe import Experiment
from sslbench.recipes.specs import Data, ViT


def evaluate(
    folder: RunFolder,
    protocols: Sequence[str | Protocol],
    *,
    data: Data | None = None,
    resolution: int | None = None,
    root: Path,
    device: str = "cpu",
    force: bool = False,
    dataset: Dataset | None = None,
    progress: Progress | None = None,
) -> dict[str, Score]:
    """Score a run under some protocols; what is already scored alike is read, not repeated.

    Args:
        folder: a finished run.
        protocols: names as in `PROTOCOLS`, or short ones for the current versions; or a protocol
            itself, such as one of another length.
        data: another data set than the run's own, brought to the run's resolution.
        resolution: another side for the images, in pixels, so that small objects are seen; a
            ViT's positions are resampled as timm does it.
        root: where data sets lie.
        device: of the encoder and the linear probes; kNN is on the CPU.
        force: score again whatever is there.
        dataset: the loaded data, where the caller has it already.
        progress: called while a protocol trains.
    Returns:
        Full protocol name to score. Scores and per-image predictions lie in the run folder.
    Raises:
        UserError: an unfinished run, unknown protocol, unlabelled or missing data.
        Interrupted: a signal while a protocol trains; the same call goes on from there.
    """
    wanted = [
        p
        for name in protocols
        for p in ([name] if isinstance(name, Protocol) else find_protocols([name]))
    ]
    wanted = list({p.name: p for p in wanted}.values())
    target = _target(folder, data, root, resolution)
    encoder = file_hash(folder.encoder_path)
    known = {} if force else target.scores(wanted, encoder)
    if len(known) < len(wanted):
        with folder.lock(wait=True):  # another process may be scoring the same run
            known = {} if force else target.scores(wanted, encoder)
            missing = [p for p in wanted if p.name not in known]
            if missing:
                loaded = _scorable(target.loaded(root, dataset), missing)
                subject = target.subject(torch.device(device), loaded, root, progress)
                _check(missing, subject)
                known |= {p.name: _score(p, subject, encoder) for p in missing}
    return {p.name: known[p.name] for p in wanted}


def open_subject(
    folder: RunFolder,
    *,
    data: Data | None = None,
    root: Path,
    device: str = "cpu",
    dataset: Dataset | None = None,
    labelled: bool = True,
) -> Subject:
    """A finished run on loaded data, for what is not a protocol.

    Args:
        labelled: refuse data without labels; without it, a subject's labels may not be read.
        folder, data, root, device, dataset: as `evaluate` takes them.
    Raises:
        UserError: an unfinished run; unlabelled or missing data.
    """
    target = _target(folder, data, root)
    subject = target.subject(torch.device(device), target.loaded(root, dataset), root)
    if labelled:
        subject.dataset.require_labels()
    return subject


@dataclass(frozen=True)
class _Target:
    """A run and the data that it is to be scored on, not loaded yet."""

    folder: RunFolder
    experiment: Experiment
    data: Data
    fingerprint: str

    def scores(self, protocols: Sequence[Protocol], encoder: str) -> dict[str, Score]:
        """Those that are there already, by protocol: of these settings, data and encoder."""
        name, fingerprint = self.data.set_name, self.fingerprint
        found = {
            p.name: current_score(
                self.folder, p, dataset=name, fingerprint=fingerprint, encoder=encoder
            )
            for p in protocols
        }
        return {name: score for name, score in found.items() if score is not None}

    def loaded(self, root: Path, dataset: Dataset | None) -> Dataset:
        """The data: what the caller has, if it is that, or loaded now."""
        if dataset is None or dataset.fingerprint != self.fingerprint:
            dataset = load(self.data, root=root)
        return dataset

    def subject(
        self, device: torch.device, dataset: Dataset, root: Path, progress: Progress | None = None
    ) -> Subject:
        """The run's encoder on its data."""
        summary = self.folder.summary()
        return Subject(
            self.folder,
            self.experiment.recipe,
            dataset,
            set_label(self.folder, self.data.set_name, self.fingerprint),
            device,
            summary.get("mean") or dataset.mean,
            summary.get("std") or dataset.std,
            self.data,
            root,
            progress,
        )


def _scorable(dataset: Dataset, protocols: Sequence[Protocol]) -> Dataset:
    """The data set itself. Raises UserError when it lacks what a protocol needs, or images."""
    for protocol in protocols:
        require(protocol, dataset.annotations, dataset=dataset.name)
    if len(dataset.heldout) == 0 or len(dataset.heldout) == len(dataset.train):
        raise UserError(
            f"Data set '{dataset.name}' has {len(dataset.train)} training images, too few to "
            "hold some out for choosing settings; use more."
        )
    return dataset


def _check(protocols: Sequence[Protocol], subject: Subject) -> None:
    """Raise UserError where a protocol cannot measure this run, before any other is measured."""
    for protocol in protocols:
        protocol.require_encoder(subject.recipe.encoder)
        if protocol.checker:
            function(protocol.checker)(protocol, subject)


def require_finished(folder: RunFolder) -> None:
    """Return when a run can be scored. Raises UserError."""
    if folder.status() != "finished":
        raise UserError(
            f"{folder.path} is {folder.status()}, not finished; run the command that trains it "
            "again, then evaluate it."
        )


def _target(
    folder: RunFolder, data: Data | None, root: Path, resolution: int | None = None
) -> _Target:
    require_finished(folder)
    experiment, summary = folder.experiment(), folder.summary()
    side = resolution_of(experiment.data)
    own = data is None and resolution in (None, side)
    chosen = experiment.data if data is None else data
    if not own:
        _require_patches(experiment, resolution or side)
        chosen = chosen.but(resolution=resolution or side)
    found = fingerprint(chosen, root=root)
    trained_on = summary.get("fingerprint")
    if own and found != trained_on:
        raise UserError(
            f"The data under {root} is not what {folder.path.name} was trained on "
            f"({found[:12]}, not {str(trained_on)[:12]}); restore it, or name the data set to "
            "evaluate on."
        )
    return _Target(folder, experiment, chosen, found)


def _require_patches(experiment: Experiment, side: int) -> None:
    """Raise UserError for images that the patches of a ViT do not divide."""
    encoder = experiment.recipe.encoder
    if isinstance(encoder, ViT) and side % encoder.patch:
        near = max(1, round(side / encoder.patch)) * encoder.patch
        raise UserError(
            f"The run's patches of {encoder.patch} pixels do not divide images of {side}; ask for "
            f"another resolution, for example {near}."
        )


def _score(protocol: Protocol, subject: Subject, encoder: str) -> Score:
    begin = time.perf_counter()
    outcome: Outcome = function(protocol.runner)(protocol, subject)
    dataset = subject.dataset
    score = Score(
        protocol=protocol.name,
        definition=protocol.definition,
        dataset=dataset.name,
        fingerprint=dataset.fingerprint,
        encoder=encoder,
        values=outcome.values,
        chosen=outcome.chosen,
        heldout=outcome.heldout,
        num_train=len(dataset.train),
        num_test=len(dataset.test),
        elapsed_seconds=time.perf_counter() - begin,
        shared=dataset.shared,
        inputs={
            "resolution": dataset.resolution,
            "mean": list(subject.mean),
            "std": list(subject.std),
        },
        source=_source(subject.folder.summary()),
    )
    path = subject.folder.score_path(subject.label, protocol.name)
    with user_io(path):
        path.unlink(missing_ok=True)  # an old score must not stand beside new predictions
    arrays = dict(outcome.kept)
    if outcome.predicted is not None:
        arrays |= {"label": subject.test_labels.numpy(), "predicted": outcome.predicted.numpy()}
    if arrays:
        file = io.BytesIO()
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        write_atomically(
            subject.folder.predictions_path(subject.label, protocol.name), file.getvalue()
        )
    write_atomically(path, json.dumps(score.to_dict(), indent=1) + "\n")
    shutil.rmtree(subject.fits_path(protocol.name), ignore_errors=True)  # what led to the score
    return score


def _source(summary: Summary) -> dict[str, Any]:
    """Of an imported encoder, what was read from which file; of a run, nothing."""
    file = summary.get("encoder_file")
    if file is None:
        return {}
    ignored = file["ignored"]
    more = {"ignored": len(ignored), "first_ignored": list(ignored[:3])}
    return {"prefix": "", **file, "notes": list(file["notes"]), **more}
