"""Training under the kNN monitor: where the engine and the protocols meet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sslbench.data import Dataset, load
from sslbench.engine.folder import RunFolder
from sslbench.engine.place import run_folder
from sslbench.engine.pretrain import Options, pretrain
from sslbench.engine.progress import Progress
from sslbench.evaluation.knn import make_knn_monitor
from sslbench.recipes.recipe import Experiment


def pretrain_monitored(
    experiment: Experiment,
    *,
    provenance: Mapping[str, str],
    runs: Path,
    root: Path,
    options: Options,
    progress: Progress | None = None,
    dataset: Dataset | None = None,
) -> RunFolder:
    """Train, resume, or return the finished run; with the kNN monitor where the data has labels.

    Args: as `engine.pretrain.pretrain`.
    Raises:
        UserError, Interrupted, RunFailed: as there.
    """
    if dataset is None:
        folder = run_folder(experiment, runs=runs, root=root)
        if folder.status() == "finished":  # known without its data
            return folder
        dataset = load(experiment.data, root=root)
    return pretrain(
        experiment,
        provenance=provenance,
        runs=runs,
        root=root,
        options=options,
        monitor=make_knn_monitor(dataset) if dataset.train.labels is not None else None,
        progress=progress,
        dataset=dataset,
    )
