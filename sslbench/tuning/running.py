"""Trials as ordinary runs: to a rung or to the end, over the workers of the grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sslbench.engine.folder import RunFolder
from sslbench.errors import RunFailed, UserError
from sslbench.evaluation.heldout import current_heldout
from sslbench.recipes.resolve import Resolved
from sslbench.tables.jobs import Job, JobResult
from sslbench.tables.pool import run_jobs
from sslbench.tables.ray_backend import run_on_ray
from sslbench.tuning.definition import Definition
from sslbench.tuning.record import SeedScore

Backend = Literal["local", "ray"]
THREADS = 1  # of a run, so that its digits do not depend on how many run side by side


@dataclass(frozen=True)
class Progress:
    """What a study tells whoever watches."""

    recipe: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Runner:
    """How and where the runs of a study are done."""

    runs: Path
    root: Path
    jobs: int = 1
    backend: Backend = "local"
    device: str = "auto"
    threads: int = THREADS
    on_progress: Callable[[Progress], None] = field(default=lambda progress: None)

    def __post_init__(self) -> None:
        if self.backend not in ("local", "ray"):
            raise UserError(f"No backend '{self.backend}'; known: local, ray.")

    def folder(self, definition: Definition, resolved: Resolved) -> RunFolder:
        """Where a run lies."""
        return definition.folder(resolved.experiment, runs=self.runs, root=self.root)

    def to_epoch(self, definition: Definition, wanted: Sequence[Resolved], epoch: int) -> None:
        """Train some runs so far; those that are there already are left alone.

        Raises:
            RunFailed: one failed for another reason than its numbers.
            Interrupted: stopped by a signal.
        """
        todo = [r for r in wanted if not reached(self.folder(definition, r), epoch)]
        self._do(definition, todo, {"until_epoch": epoch}, what=f"to epoch {epoch}")

    def to_end(self, definition: Definition, wanted: Sequence[Resolved]) -> None:
        """Train some runs and score them on the held-out part. Raises as `to_epoch`."""
        todo = [r for r in wanted if not _scored(self.folder(definition, r))]
        self._do(definition, todo, {}, what="to the end", heldout=True)

    def _do(
        self,
        definition: Definition,
        todo: Sequence[Resolved],
        options: Mapping[str, Any],
        *,
        what: str,
        heldout: bool = False,
    ) -> None:
        options = {"device": self.device, **options}
        by_name = {self.folder(definition, r).path.name: r for r in todo}  # equal trials are one
        work = [
            Job(name, r.experiment, dict(r.provenance), (), str(self.runs), str(self.root),
                options, heldout=heldout)
            for name, r in by_name.items()
        ]  # fmt: skip
        failed: dict[str, str] = {}
        done = 0

        def tell(result: JobResult) -> None:
            nonlocal done
            if result.kind == "failed":
                failed[result.name] = result.error
            if result.kind in ("done", "failed"):
                done += 1
                text = f"{done} of {len(work)} {what}: {result.name}"
                self.on_progress(Progress(definition.recipe, text))

        if work and self.backend == "ray":
            gpus = 1.0 if self.device.startswith("cuda") else 0.0
            run_on_ray(work, tell, threads=self.threads, gpus=gpus)
        elif work:
            run_jobs(work, jobs=self.jobs, threads=self.threads, tell=tell)
        faults = [
            text for name, text in failed.items() if not diverged(RunFolder(self.runs / name))
        ]
        if faults:
            raise RunFailed(
                f"The study of {definition.recipe} stopped, {len(faults)} of {len(work)} runs "
                f"failed: {'; '.join(faults)} Run the same command again to go on."
            )

    def score(self, folder: RunFolder, *, seed: int) -> SeedScore:
        """The score of a run that is finished or has diverged."""
        lost = diverged(folder)
        found = None if lost else current_heldout(folder)
        assert lost or found is not None
        return SeedScore(
            seed=seed, run=folder.path.name,
            linear=found.linear if found else None, knn=found.knn if found else None,
            minutes=minutes(folder),
        )  # fmt: skip

    def knn_at(self, folder: RunFolder, epoch: int, *, epochs: int) -> float | None:
        """The monitor's kNN in percent at an epoch, None where the run diverged."""
        if diverged(folder):
            return None
        points = [(p["epoch"], p["knn"]) for p in folder.metrics() if "knn" in p]
        return float(max((p for p in points if p[0] <= epoch + 1e-9), default=(0, 0.0))[1])


def reached(folder: RunFolder, epoch: int) -> bool:
    """Whether a run's log has come so far, or training has ended."""
    if folder.status() == "finished" or diverged(folder):
        return True
    return any(p.get("epoch", 0) >= epoch - 1e-9 and "knn" in p for p in folder.metrics())


def _scored(folder: RunFolder) -> bool:
    if diverged(folder):
        return True
    return folder.status() == "finished" and current_heldout(folder) is not None


def diverged(folder: RunFolder) -> bool:
    """Whether training has ended at a value that is not finite, which the same seed would do
    again."""
    summary = folder.summary()
    verdict = summary.get("verdict")
    failed = summary.get("status") == "failed"
    return failed and verdict is not None and verdict["state"] == "diverged"


def minutes(folder: RunFolder) -> float:
    """Of training so far, as run.json has it."""
    return round(folder.summary().get("elapsed_seconds", 0.0) / 60, 2)
