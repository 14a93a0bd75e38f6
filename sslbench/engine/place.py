"""Where the run of an experiment lies."""

from __future__ import annotations

from pathlib import Path

from sslbench.data import Dataset, fingerprint
from sslbench.engine.folder import RunFolder, run_digest
from sslbench.recipes.recipe import Experiment


def run_folder(experiment: Experiment, *, runs: Path, root: Path) -> RunFolder:
    """<recipe>-s<seed>-<digest> under `runs`. Raises UserError for data that are not there."""
    return RunFolder(runs / folder_name(experiment, fingerprint(experiment.data, root=root)))


def as_read(experiment: Experiment, dataset: Dataset) -> Experiment:
    """The experiment with streaming said, where its data were streamed: whoever loads them again
    reads them the same way, whatever memory is free then."""
    return experiment.but({"data.stream": True}) if dataset.streamed else experiment


def folder_name(experiment: Experiment, fingerprint: str) -> str:
    """Of a run on data of that fingerprint."""
    digest = run_digest(experiment, fingerprint)
    return f"{experiment.recipe.name}-s{experiment.seed}-{digest}"
