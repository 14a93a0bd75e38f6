"""The run folder: one run's files, its status, and the lock that keeps two processes apart."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal

import yaml

from sslbench.errors import UserError
from sslbench.files import user_io, write_atomically
from sslbench.recipes.recipe import Experiment

NUMERICS = 2  # raised whenever golden losses change; older runs show as stale

Status = Literal["absent", "started", "interrupted", "finished", "failed"]


def run_digest(experiment: Experiment, fingerprint: str) -> str:
    """The run's identity: recipe, data content, seed, and the version of our numerics."""
    import hashlib

    text = f"{experiment.digest()}:{fingerprint}:{NUMERICS}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class RunFolder:
    """Paths and small files of one run; imports no torch.

    `experiment.yaml` says what is trained and which layer each field came from, `run.json` is the
    summary (status, digest, verdict, final metrics, device, versions), `metrics.jsonl` the log.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing run. Raises UserError when the folder is not one."""
        folder = cls(path)
        if not folder.experiment_path.is_file():
            raise UserError(
                f"{path} is not a run folder (no experiment.yaml); give a folder under runs/, as "
                "`sslbench pretrain` printed it."
            )
        return folder

    @property
    def experiment_path(self) -> Path:
        return self.path / "experiment.yaml"

    @property
    def summary_path(self) -> Path:
        return self.path / "run.json"

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def checkpoint_path(self) -> Path:
        return self.path / "checkpoint.pt"

    @property
    def encoder_path(self) -> Path:
        return self.path / "encoder.safetensors"

    @property
    def projector_path(self) -> Path:
        return self.path / "projector.safetensors"

    @property
    def prototypes_path(self) -> Path:
        return self.path / "prototypes.safetensors"

    @property
    def features_dir(self) -> Path:
        return self.path / "features"

    def score_path(self, dataset: str, protocol: str) -> Path:
        return self.path / "scores" / f"{dataset}.{protocol}.json"

    def predictions_path(self, dataset: str, protocol: str) -> Path:
        return self.path / "predictions" / f"{dataset}.{protocol}.npz"

    def experiment(self) -> Experiment:
        """What this run trains. Raises UserError for a damaged file."""
        return Experiment.from_dict(self._document()["experiment"])

    def provenance(self) -> dict[str, str]:
        """Dotted field to the layer it came from (recipe, scale, table, row, --set)."""
        return dict(self._document().get("provenance", {}))

    def _document(self) -> dict[str, Any]:
        try:
            document = yaml.safe_load(self.experiment_path.read_text())
        except (OSError, yaml.YAMLError) as error:
            raise UserError(f"{self.experiment_path} cannot be read ({error}).") from None
        if not isinstance(document, dict) or "experiment" not in document:
            raise UserError(f"{self.experiment_path} is damaged: it has no 'experiment'.")
        return document

    def write_experiment(self, experiment: Experiment, provenance: dict[str, str]) -> None:
        document = {"experiment": experiment.to_dict(), "provenance": provenance}
        write_atomically(self.experiment_path, yaml.safe_dump(document, sort_keys=False))

    def summary(self) -> dict[str, Any]:
        """run.json, or {} when there is none (yet) or it is damaged."""
        try:
            return dict(json.loads(self.summary_path.read_text()))
        except (OSError, ValueError):
            return {}

    def write_summary(self, summary: dict[str, Any]) -> None:
        write_atomically(self.summary_path, json.dumps(summary, indent=1) + "\n")

    def status(self) -> Status:
        if not self.experiment_path.is_file():
            return "absent"
        status = self.summary().get("status", "started")
        return status if status in ("interrupted", "finished", "failed") else "started"

    def metrics(self) -> list[dict[str, Any]]:
        """The log in step order; of a repeated step the later line counts, a torn line does not."""
        points: dict[int, dict[str, Any]] = {}
        if self.metrics_path.is_file():
            for line in self.metrics_path.read_text().splitlines():
                with contextlib.suppress(ValueError):
                    point = json.loads(line)
                    points[point["step"]] = point
        return [points[step] for step in sorted(points)]

    def knn_curve(self) -> list[tuple[int, float]]:
        """(step, top-1 in percent) of the kNN monitor, in step order."""
        return [(p["step"], p["knn"]) for p in self.metrics() if "knn" in p]

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder. Raises UserError when another living process does.

        The kernel drops the lock with the process, so a killed run never blocks the next one.
        """
        import fcntl

        with user_io(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            handle: IO[str] = (self.path / ".lock").open("a+")
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UserError(
                    f"{self.path} is in use by another process; wait for it, or stop it first."
                ) from None
            yield
