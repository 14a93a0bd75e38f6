"""What is kept of a study: every trial, the winner, and what it gained over the present setting."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from sslbench.errors import UserError
from sslbench.files import exists, read_json, write_atomically
from sslbench.typed import read_as

State = Literal["finished", "stopped", "diverged", "refused"]
FOLDER = "tuning"  # under results


@dataclass(frozen=True, kw_only=True)
class SeedScore:
    """One run of a trial: top-1 in percent on the held-out part, None where it diverged."""

    seed: int
    run: str
    linear: float | None
    knn: float | None
    minutes: float


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One setting that was tried.

    Attributes:
        point: the value of each dimension that is not the present one.
        changes: what that changes of the recipe as the scale has it, by dotted path.
        state: `stopped` at a rung, `refused` where the pieces do not fit.
        rungs: kNN of the monitor in percent at the rungs that it reached, on the first seed.
        seeds: the first one of a finished or diverged trial, then those that confirm it.
        minutes: of the first seed.
    """

    number: int
    point: Mapping[str, float | int]
    changes: Mapping[str, Any]
    state: State
    run: str = ""
    rungs: tuple[float, ...] = ()
    seeds: tuple[SeedScore, ...] = ()
    minutes: float = 0.0
    note: str = ""

    @property
    def rank(self) -> tuple[float, float]:
        """What trials are compared by: the linear probe on the first seed, then kNN."""
        first = self.seeds[0] if self.state == "finished" else None
        if first is None or first.linear is None or first.knn is None:
            return (-1.0, -1.0)
        return first.linear, first.knn

    def mean(self, *, confirming: bool) -> tuple[float, float]:
        """Mean over its seeds of the linear probe, then of kNN; a diverged one counts as 0.

        Args:
            confirming: without the first seed, by which it was chosen.
        """
        chosen = self.seeds[1:] if confirming else self.seeds
        count = max(1, len(chosen))
        return (
            sum(s.linear or 0.0 for s in chosen) / count,
            sum(s.knn or 0.0 for s in chosen) / count,
        )


@dataclass(frozen=True, kw_only=True)
class Gain:
    """The winner less the present setting, in points of the linear probe on the held-out part.

    `half` is that of the 95 % interval (Welch's), None where the seeds give none; `seeds` are those
    that it is of.
    """

    points: float
    half: float | None
    seeds: tuple[int, ...]
    note: str


@dataclass(frozen=True, kw_only=True)
class Parent:
    """The study that a recipe began at, and the trial of its first part that it took over."""

    recipe: str
    digest: str
    trials: int
    trial: int
    own: tuple[str, ...]
    minutes: float


@dataclass(frozen=True, kw_only=True)
class Record:
    """A study, complete.

    Attributes:
        digest: of all that defines it: recipe, data, space, budget, sampler, parent, numerics.
        start: digest of the experiment that the scale has, on the first seed.
        trials: in the order of their numbers; 0 is the present setting.
        winner: the number of the trial with the best mean, and what it changes.
        minutes: of all runs, a parent's part not counted.
    """

    recipe: str
    scale: str
    dataset: str
    fingerprint: str
    digest: str
    start: str
    fixed: Mapping[str, Any] = field(default_factory=dict)
    space: Mapping[str, Any]
    left_out: Mapping[str, str] = field(default_factory=dict)
    budget: Mapping[str, Any]
    rungs: tuple[int, ...]
    sampler: Mapping[str, Any]
    parent: Parent | None = None
    trials: tuple[Trial, ...]
    winner: int
    changes: Mapping[str, Any]
    gain: Gain | None = None
    minutes: float
    numerics: int
    commit: str | None = None
    device_class: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def total_trials(self) -> int:
        """All trials behind the winner, a parent's counted once."""
        return len(self.trials) + (self.parent.trials if self.parent else 0)

    def confirmed(self) -> list[Trial]:
        """The trials that have further seeds, the best mean first."""
        found = [t for t in self.trials if len(t.seeds) > 1]
        return sorted(found, key=lambda t: (*t.mean(confirming=True), -t.number), reverse=True)

    def save(self, path: Path) -> None:
        """Write it, a line a trial. Raises UserError when the disk is full."""
        plain = asdict(self)
        trials = ",\n".join(f"  {json.dumps(trial)}" for trial in plain.pop("trials"))
        head = ",\n".join(f' "{key}": {json.dumps(value)}' for key, value in plain.items())
        write_atomically(path, f'{{\n{head},\n "trials": [\n{trials}\n ]\n}}\n')


def record_path(results: Path, *, scale: str, dataset: str, recipe: str) -> Path:
    """Where a study is kept."""
    return results / FOLDER / scale / dataset / f"{recipe}.json"


def load_record(path: Path) -> Record | None:
    """The study in a file, None where there is no file. Raises UserError for a damaged one."""
    if not exists(path):
        return None
    record = read_as(read_json(path), Record, where=path,
                     remedy="restore it, or move it away and run the study again")  # fmt: skip
    if not 0 <= record.winner < len(record.trials):
        raise UserError(f"{path} is damaged: no trial {record.winner}; restore it.")
    return record
