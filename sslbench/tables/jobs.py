"""Jobs of a grid, and what is told of them, as plain data that travels between processes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sslbench import plugins
from sslbench.errors import UserError
from sslbench.files import write_atomically
from sslbench.recipes.base import Spec
from sslbench.recipes.recipe import Experiment
from sslbench.recipes.specs import Data

RETRIES = 1  # of a job whose worker died
ERROR_FILE = "error.txt"  # in a run folder: why its last attempt failed
PAUSE = 1.0  # seconds before a run is asked for again that another process has


@dataclass(frozen=True, kw_only=True)
class Scoring(Spec):
    """A protocol, and the data set that it judges a run on; None is the one it was trained on."""

    protocol: str
    data: Data | None = None


@dataclass(frozen=True)
class Job:
    """One run to train and score. `options`: device, precision, compile, monitor_points,
    until_epoch. `plugins`: what must be loaded to read it, place to hash. `heldout`: score it on
    the held-out part of its training images too."""

    name: str
    experiment: Experiment
    provenance: dict[str, str]
    scorings: tuple[Scoring, ...]
    runs: str
    root: str
    options: Mapping[str, Any] = field(default_factory=dict)
    plugins: Mapping[str, str] = field(default_factory=plugins.carried)
    heldout: bool = False

    @property
    def path(self) -> Path:
        """The run folder."""
        return Path(self.runs) / self.name

    def to_json(self) -> str:
        scorings = [scoring.to_dict() for scoring in self.scorings]
        data = {**vars(self), "experiment": self.experiment.to_dict(), "scorings": scorings}
        return json.dumps(data)

    @classmethod
    def from_json(cls, text: str) -> Job:
        """What `to_json` wrote. Raises UserError where its plugins cannot be loaded here."""
        data = json.loads(text)
        plugins.load_carried(data["plugins"])
        data["experiment"] = Experiment.from_dict(data["experiment"])
        data["scorings"] = tuple(map(Scoring.from_dict, data["scorings"]))
        return cls(**data)


@dataclass(frozen=True)
class JobResult:
    """Something that happened to a job: it began, reached a log point, was put off because another
    process has the run, ended or failed."""

    kind: Literal["start", "progress", "waiting", "done", "failed"]
    name: str
    step: int = 0
    steps: int = 0
    metrics: Mapping[str, float] | None = None
    error: str = ""


Tell = Callable[[JobResult], None]


def fail(job: Job, sentence: str, tell: Tell, *, details: str = "") -> None:
    """Tell that a job failed, and keep why in the run folder's error.txt."""
    with contextlib.suppress(UserError):  # a full disk may be why it failed
        write_atomically(job.path / ERROR_FILE, f"{sentence}\n{details}")
    tell(JobResult("failed", job.name, error=sentence))
