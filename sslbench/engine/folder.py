"""The run folder: one run's files, its status, and the lock that keeps two processes apart."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

from sslbench import plugins
from sslbench.engine.lock import held
from sslbench.errors import UserError
from sslbench.files import (
    exists,
    parse_json,
    read_bytes,
    read_json,
    read_yaml,
    write_atomically,
    yaml_text,
)
from sslbench.recipes.base import Spec
from sslbench.recipes.code import plugins_of
from sslbench.recipes.recipe import Experiment
from sslbench.typed import Real, damaged, read_as, typed

NUMERICS = 2  # raised whenever golden losses change; older runs show as stale

Status = Literal["absent", "started", "interrupted", "finished", "failed"]


class Verdict(TypedDict):
    """What the last numbers of a run say about its representation."""

    state: str
    cause: str


class EncoderFile(TypedDict):
    """What was read from another library's file, and what of it was not used."""

    name: str
    layout: str
    prefix: NotRequired[str]
    loaded: int
    ignored: tuple[str, ...]
    notes: tuple[str, ...]


class Summary(TypedDict, total=False):
    """What run.json holds; a later version may write more."""

    status: Literal["started", "interrupted", "finished", "failed"]
    digest: str
    experiment: str  # the experiment's own digest, where `digest` covers more than that
    recipe: str
    dataset: str
    resolution: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fingerprint: str
    images: Mapping[str, int]  # train, test, unlabelled, classes
    broken: tuple[str, ...]  # the first of the streamed images that could not be read
    seed: int
    scale: str
    numerics: int
    epochs: int
    steps: int
    elapsed_seconds: float
    final: Mapping[str, Real]
    views_per_second: float | None
    views_share: float | None
    monitor_share: float | None
    peak_memory_bytes: int
    cost: Mapping[str, Real]  # gflops, step_ms; what is known of them
    device: str
    device_class: str
    precision: str
    threads: int
    torch: str
    torchvision: str
    timm: str
    sslbench: str
    commit: str | None
    error: str
    verdict: Verdict
    encoder_file: EncoderFile
    start: str  # name of the run that it began from
    graph: str  # where steps were to be replayed: "replayed", or why they were not
    plugins: Mapping[str, str]  # of which the run uses code: name to hash


# What readers of a finished run count on.
_COUNTED_ON = ("recipe", "dataset", "fingerprint", "seed", "scale", "numerics", "epochs", "steps",
               "elapsed_seconds", "resolution", "final")  # fmt: skip
_MOVE = "restore it, or move the folder away and train the run again"
_DELETE = (
    "restore it, or delete it and run the command that trains the run again, which goes on from "
    "its checkpoint if there is one"
)


class _Document(TypedDict):
    """What experiment.yaml holds."""

    experiment: Mapping[str, Any]
    provenance: NotRequired[Mapping[str, str]]


@dataclass(frozen=True)
class Log:
    """The points of metrics.jsonl in step order, and how many of its lines cannot be read."""

    points: list[dict[str, Any]]
    unread: int


def run_digest(
    experiment: Experiment,
    fingerprint: str,
    *,
    numerics: int | None = None,
    used: Mapping[str, str] | None = None,
) -> str:
    """The run's identity: recipe, data content, seed, the version of our numerics (None: of this
    program), and the content of the plugins it uses (None: as they are loaded)."""
    import hashlib

    version = NUMERICS if numerics is None else numerics
    used = plugins_of(experiment) if used is None else used
    text = ":".join([f"{experiment.digest()}:{fingerprint}:{version}", *sorted(used.values())])
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
        if not exists(folder.experiment_path):
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
        return self.network_path("encoder")

    def network_path(self, name: str) -> Path:
        """Of a network that the method exports: `encoder`, `projector`, ..."""
        return self.path / f"{name}.safetensors"

    @property
    def features_dir(self) -> Path:
        return self.path / "features"

    def score_path(self, dataset: str, protocol: str) -> Path:
        return self.path / "scores" / f"{dataset}.{protocol}.json"

    def predictions_path(self, dataset: str, protocol: str) -> Path:
        return self.path / "predictions" / f"{dataset}.{protocol}.npz"

    def experiment(self) -> Experiment:
        """What this run trains. Raises UserError for a damaged file, one that was edited since
        (its digest is not the run's), or one that needs a plugin that is not loaded."""
        document = self._document()
        try:
            experiment = Experiment.from_dict(document["experiment"])
        except UserError as error:
            self.require_plugins()
            raise damaged(self.experiment_path, error, _MOVE) from None
        self._recheck(experiment)
        return experiment

    def require_plugins(self) -> None:
        """Raise UserError where a plugin is not loaded whose code the run uses."""
        if missing := plugins.missing(self.summary().get("plugins", {})):
            raise UserError(
                f"{self.path} was trained with {' and '.join(missing)}; give its place: "
                f"`sslbench {plugins.option(missing)} ...`."
            )

    def require_code(self, spec: Spec) -> None:
        """Raise UserError where a part of the run needs a plugin that is not what it was."""
        trained = self.summary().get("plugins", {})
        for name, found in plugins_of(spec).items():
            if trained.get(name, found) != found:
                raise UserError(
                    f"{self.path} was trained with another content of {name} ({trained[name]}, "
                    f"now {found}); restore the file, or train the run again."
                )

    def provenance(self) -> dict[str, str]:
        """Dotted field to the layer it came from (recipe, scale, table, row, --set)."""
        return dict(self._document().get("provenance", {}))

    def _document(self) -> _Document:
        path = self.experiment_path
        return read_as(read_yaml(path), _Document, where=path, remedy=_MOVE)

    def _recheck(self, experiment: Experiment) -> None:
        summary = self.summary()
        known, found = summary.get("experiment"), experiment.digest()
        if known is None and summary.get("scale") != "external":
            known, fingerprint = summary.get("digest"), summary.get("fingerprint")
            numerics = summary.get("numerics")
            if fingerprint is None or numerics is None:
                return
            used = summary.get("plugins", {})
            found = run_digest(experiment, fingerprint, numerics=numerics, used=used)
        if known is not None and found != known:
            raise UserError(
                f"{self.experiment_path} is not what this run trained (digest {found[:16]}, in "
                f"run.json {known[:16]}): it was edited, or is another version's; restore it, or "
                f"train what it says now: `sslbench pretrain {self.experiment_path}`."
            )

    def write_experiment(self, experiment: Experiment, provenance: dict[str, str]) -> None:
        document = {"experiment": experiment.to_dict(), "provenance": provenance}
        write_atomically(self.experiment_path, yaml_text(document))

    def summary(self) -> Summary:
        """run.json, or {} when there is none (yet). Raises UserError for a damaged one."""
        path = self.summary_path
        if not exists(path):
            return {}
        summary = read_as(read_json(path), Summary, where=path, remedy=_DELETE)
        if summary.get("status") == "finished":
            for name in _COUNTED_ON:
                if name not in summary:
                    raise UserError(f"{path} is damaged: '{name}' is missing; {_DELETE}.")
        named = re.search(r"-([0-9a-f]{16})$", self.path.name)
        if named and summary.get("digest", named[1]) != named[1]:
            raise UserError(f"{path} is of another run ({summary['digest']}); {_DELETE}.")
        return summary

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        write_atomically(self.summary_path, json.dumps(dict(summary), indent=1) + "\n")

    def status(self) -> Status:
        """Raises UserError for a damaged run.json: a finished run must not be trained over."""
        if not exists(self.experiment_path):
            return "absent"
        return self.summary().get("status", "started")

    @property
    def diverged(self) -> bool:
        """Whether training has ended at a value that is not finite, as of now."""
        summary = self.summary()
        verdict = summary.get("verdict")
        failed = summary.get("status") == "failed"
        return failed and verdict is not None and verdict["state"] == "diverged"

    def log(self) -> Log:
        """The log in step order; of a repeated step the later line counts. Lines that cannot be
        read are counted: a killed run may leave a torn one. Raises UserError: no file to read."""
        points: dict[int, dict[str, Any]] = {}
        unread = 0
        lines = read_bytes(self.metrics_path).splitlines() if exists(self.metrics_path) else []
        for line in lines:
            try:
                point = typed(parse_json(line.decode()), Mapping[str, Real], where="")
            except (UserError, UnicodeDecodeError):
                point = {}
            if type(point.get("step")) is int and point["step"] >= 0:
                points[point["step"]] = point
            else:
                unread += 1
        return Log([points[step] for step in sorted(points)], unread)

    def metrics(self) -> list[dict[str, Any]]:
        """The points of the log that can be read, in step order."""
        return self.log().points

    def knn_curve(self) -> list[tuple[int, float]]:
        """(step, top-1 in percent) of the kNN monitor, in step order."""
        return [(p["step"], p["knn"]) for p in self.metrics() if "knn" in p]

    @contextlib.contextmanager
    def lock(self, *, wait: bool = False) -> Iterator[None]:
        """Hold the folder, as long as this process lives: a killed run never blocks the next one.

        Args:
            wait: until another living process lets it go.
        Raises:
            InUse: another living process holds it, and `wait` is false.
            UserError: the folder cannot be made.
        """
        with held(self.path, wait=wait):
            yield
