"""The grid: which runs the tables need, which are there already, and training the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from sslbench.data import fingerprint
from sslbench.data.registry import DATASETS
from sslbench.engine.folder import RunFolder
from sslbench.engine.options import MONITOR_POINTS
from sslbench.errors import UserError, did_you_mean
from sslbench.evaluation.protocols import DEFAULTS, PROTOCOLS, require
from sslbench.evaluation.scores import Score, current_score
from sslbench.recipes.recipe import Experiment
from sslbench.recipes.resolve import Resolved
from sslbench.recipes.specs import Data
from sslbench.tables.cells import Place, Request, cells, scoring_of
from sslbench.tables.jobs import Job, JobResult, Scoring
from sslbench.tables.pace import Pace
from sslbench.tables.pool import run_jobs
from sslbench.tables.ray_backend import run_on_ray
from sslbench.tables.schema import Table

MAX_SEEDS = 1000

EventKind = Literal["start", "progress", "waiting", "done", "failed"]


@dataclass(frozen=True)
class PlannedRun:
    """One run and the cells it feeds. `missing` are the scores that are not there yet,
    `monitor_points` the points of its kNN curve, as many as its tables ask for if they do."""

    experiment: Experiment
    provenance: Mapping[str, str]
    folder: RunFolder
    places: tuple[Place, ...]
    scorings: tuple[Scoring, ...]
    missing: tuple[Scoring, ...]
    status: str
    seconds: float
    monitor_points: int | None = None

    @property
    def finished(self) -> bool:
        """Trained, and scored as its columns need; or diverged, which the same seed would do
        again."""
        return self.diverged or (self.status == "finished" and not self.missing)

    @property
    def diverged(self) -> bool:
        """Whether training has ended at a value that is not finite, as of now."""
        return self.folder.diverged

    @property
    def label(self) -> str:
        """The cells in words: "byol-target/ema-0.9, seed 1 (and 3 more)"."""
        if not self.places:
            return f"start of others, seed {self.experiment.seed}"
        first = self.places[0]
        rows = {(p.table, p.row) for p in self.places}
        more = f" (and {len(rows) - 1} more)" if len(rows) > 1 else ""
        return f"{first.table}/{first.row}, seed {first.seed}{more}"


@dataclass(frozen=True)
class Plan:
    """The runs of some tables at one scale, each once, however many cells share it.

    `fingerprints` are of the data sets that columns are scored on beside the runs' own.
    """

    request: Request
    tables: tuple[Table, ...]
    runs: tuple[PlannedRun, ...]
    by_place: Mapping[Place, PlannedRun]
    fingerprints: Mapping[Data, str]

    @property
    def todo(self) -> tuple[PlannedRun, ...]:
        """The runs that are not finished."""
        return tuple(run for run in self.runs if not run.finished)

    @property
    def seconds(self) -> float:
        """Estimated time of what is left, one run after the other."""
        return sum(run.seconds for run in self.todo)

    def faults(self, finished: Finished) -> list[str]:
        """The sentences of failures that are no result: a diverged run is one."""
        by_name = {run.folder.path.name: run for run in self.runs}
        return [text for name, text in finished.failed.items() if not by_name[name].diverged]


@dataclass(frozen=True)
class Event:
    """What the grid tells whoever watches: `number` of `total`, and the latest metrics."""

    kind: EventKind
    run: PlannedRun
    number: int
    total: int
    step: int = 0
    steps: int = 0
    metrics: Mapping[str, float] | None = None
    error: str = ""


@dataclass(frozen=True)
class Finished:
    """How a grid ended: errors by run folder name. An interrupted grid raises instead."""

    trained: int
    failed: Mapping[str, str]


def plan(
    tables: Sequence[Table],
    *,
    scale: str,
    seeds: int | Sequence[int],
    runs: Path,
    root: Path,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    data: Data | None = None,
    overrides: Mapping[str, Any] | None = None,
    fewer: Mapping[str, int] | None = None,
) -> Plan:
    """The runs that the tables need, each experiment once.

    Args:
        tables: one or more; runs that they share are trained once.
        scale: smoke, laptop, desktop, cifar or paper.
        seeds: how many (0, 1, ...), or which.
        runs: parent of all run folders.
        root: where data sets lie (their fingerprint is part of a run's name).
        rows: ids of the only rows wanted, each in at least one of the tables.
        columns: keys of the only columns wanted, likewise.
        data: in place of the scale's data set; a table that names its own keeps that.
        overrides: `--set` changes, applied to every row that has the field.
        fewer: rows, and baselines, that take only so many of the seeds.
    Raises:
        UserError: an unknown row, scale or field, no seed or too many, or data that are not
            there or lack what a protocol needs.
    """
    if (seeds if isinstance(seeds, int) else len(seeds)) > MAX_SEEDS:
        raise UserError(f"A grid takes at most {MAX_SEEDS} seeds a row.")
    chosen = tuple(range(seeds)) if isinstance(seeds, int) else tuple(dict.fromkeys(seeds))
    if not chosen or min(chosen) < 0:
        raise UserError("A grid needs at least one seed, and seeds are >= 0.")
    wanted_columns = None if columns is None else tuple(columns)
    request = Request(scale, chosen, data, overrides, fewer or {}, wanted_columns)
    _check_known(tables, "row", rows, [row.id for table in tables for row in table.rows])
    measured = [c.key for table in tables for c in table.columns if c.metric is not None]
    _check_known(tables, "measured column", columns, measured)
    found: dict[str, _Collected] = {}
    for table in tables:
        wanted = None
        if rows is not None:
            own = {row.id for row in table.rows}
            wanted = tuple(name for name in rows if name in own)
        for place, resolved in cells(table, request=request, rows=wanted):
            item = _collected(found, resolved, table.monitor_points)
            item.add(place, scoring_of(table, table.column(place.column), request=request))
    items = list(found.values())
    _check_overrides(overrides, items)
    prints = _fingerprints(items, root)
    planned = _timed([_planned(item, prints, runs=runs, root=root) for item in items], scale, runs)
    by_place = {place: run for run in planned for place in run.places}
    return Plan(request, tuple(tables), tuple(planned), by_place, prints)


def run(
    plan: Plan,
    *,
    root: Path,
    jobs: int = 1,
    device: str = "auto",
    precision: str = "auto",
    compile: str = "auto",
    threads: int | None = None,
    backend: Literal["local", "ray"] = "local",
    on_event: Callable[[Event], None] | None = None,
) -> Finished:
    """Train and score what is missing; a run that fails is recorded and the rest goes on.

    All state lies in the run folders, so that a grid that was killed continues where it stopped.

    Args:
        jobs: worker processes; 1 runs in this process. Threads are divided among them.
        backend: "ray" hands the runs to a Ray cluster, which decides how many run side by side.
        on_event: called in this process at every start, log point, end and failure, and where a
            run has to wait for another process that has it.
    Raises:
        Interrupted: SIGINT or SIGTERM during training; checkpoints were saved.
        KeyboardInterrupt: SIGINT at another moment; what was finished stays finished.
    """
    if jobs < 1:
        raise UserError("--jobs must be at least 1.")
    todo = plan.todo
    numbers = {item.folder.path.name: i + 1 for i, item in enumerate(todo)}
    by_name = {item.folder.path.name: item for item in todo}
    failed: dict[str, str] = {}

    def tell(result: JobResult) -> None:
        item = by_name[result.name]
        if result.kind == "failed":
            failed[result.name] = result.error
        if on_event is not None:
            on_event(
                Event(result.kind, item, numbers[result.name], len(todo), result.step,
                      result.steps, result.metrics, result.error)
            )  # fmt: skip

    options = {"device": device, "precision": precision, "compile": compile}
    work = [
        Job(item.folder.path.name, item.experiment, dict(item.provenance), item.scorings,
            str(item.folder.path.parent), str(root),
            {**options, "monitor_points": item.monitor_points})
        for item in todo
    ]  # fmt: skip
    if backend == "ray":
        run_on_ray(work, tell, threads=threads, gpus=1.0 if device.startswith("cuda") else 0.0)
    else:
        run_jobs(work, jobs=jobs, threads=threads, tell=tell)
    return Finished(len(todo) - len(failed), failed)


class _Collected:
    """An experiment with the places and scores gathered for it."""

    def __init__(self, experiment: Experiment, provenance: Mapping[str, str]) -> None:
        self.experiment, self.provenance = experiment, provenance
        self.places: list[Place] = []
        known = DATASETS.get(experiment.data.set_name)  # what it has; a plugin's may be unknown
        self.scorings = {
            Scoring(protocol=name)
            for name in DEFAULTS
            if known is None or PROTOCOLS[name].needs <= known.annotations
        }
        self.monitor_points: int | None = None

    def add(self, place: Place, scoring: Scoring | None) -> None:
        self.places.append(place)
        if scoring is not None:
            self.scorings.add(scoring)

    def ordered(self) -> tuple[Scoring, ...]:
        """On the run's own data first."""
        return tuple(sorted(self.scorings, key=lambda s: (s.data is not None, repr(s))))

    def ask(self, monitor_points: int | None) -> None:
        """Of several tables' wishes the densest kNN curve counts."""
        if monitor_points is not None:
            self.monitor_points = max(monitor_points, self.monitor_points or 0)


def _collected(
    found: dict[str, _Collected], resolved: Resolved, monitor_points: int | None
) -> _Collected:
    """The one of that content; what it starts from is trained before it."""
    if resolved.start is not None:
        _collected(found, resolved.start, monitor_points)
    key = resolved.experiment.digest()
    item = found.setdefault(key, _Collected(resolved.experiment, resolved.provenance))
    item.ask(monitor_points)
    return item


def _fingerprints(items: Sequence[_Collected], root: Path) -> dict[Data, str]:
    """Of every further data set that something is scored on. Raises UserError where one, or the
    runs' own, lacks what a protocol needs, or is not there."""
    wanted = [(s, s.data or item.experiment.data) for item in items for s in item.ordered()]
    for protocol, name in dict.fromkeys((s.protocol, data.set_name) for s, data in wanted):
        if name in DATASETS:
            require(PROTOCOLS[protocol], DATASETS[name].possible, dataset=name)
    others = dict.fromkeys(s.data for s, _ in wanted if s.data is not None)
    return {data: fingerprint(data, root=root) for data in others}


def _planned(item: _Collected, prints: Mapping[Data, str], *, runs: Path, root: Path) -> PlannedRun:
    from sslbench.engine.place import run_folder

    folder = run_folder(item.experiment, runs=runs, root=root)
    scorings, epochs = item.ordered(), item.experiment.recipe.epochs
    missing = tuple(s for s in scorings if score_of(folder, s, prints) is None)
    points = item.monitor_points or min(MONITOR_POINTS, epochs // 2) or None  # one in two epochs
    return PlannedRun(
        item.experiment, item.provenance, folder, tuple(item.places), scorings, missing,
        folder.status(), 0.0, points,
    )  # fmt: skip


def score_of(folder: RunFolder, scoring: Scoring, prints: Mapping[Data, str]) -> Score | None:
    """A run's score, if it is there and current.

    Args:
        prints: fingerprints of further data sets, as a plan has them.
    """
    summary = folder.summary()
    name, content = summary.get("dataset", ""), summary.get("fingerprint", "")
    if scoring.data is not None:
        name, content = scoring.data.set_name, prints[scoring.data]
    protocol = PROTOCOLS[scoring.protocol]
    return current_score(folder, protocol, dataset=name, fingerprint=content)


def _timed(planned: list[PlannedRun], scale: str, runs: Path) -> list[PlannedRun]:
    """Each run with its estimated seconds."""
    pace = Pace.of(runs, scale)
    beside: set[tuple[Any, ...]] = set()  # what is trained from scratch once for several runs

    def estimate(item: PlannedRun) -> float:
        if item.finished:
            return 0.0
        own, recipe = item.experiment.data, item.experiment.recipe
        seconds = 0.0 if item.status == "finished" else pace.seconds(recipe, own.set_name)
        for scoring in item.missing:
            scratch = (recipe.encoder, own, item.experiment.seed, scoring)
            first = recipe.epochs > 0 and scratch not in beside
            beside.add(scratch)
            on = scoring.data or own
            seconds += pace.scoring(recipe, own, scoring.protocol, on, first=first)
        return seconds

    return [replace(item, seconds=estimate(item)) for item in planned]


def _check_known(
    tables: Sequence[Table], what: str, names: Sequence[str] | None, known: Sequence[str]
) -> None:
    for name in names or ():
        if name not in known:
            where = ", ".join(table.id for table in tables)
            raise UserError(f"No {what} '{name}' in {where}{did_you_mean(name, known)}")


def _check_overrides(overrides: Mapping[str, Any] | None, items: list[_Collected]) -> None:
    used = Counter(path for item in items for path, layer in item.provenance.items()
                   if layer == "--set")  # fmt: skip
    for path in overrides or {}:
        named = [p for p in used if p == path or p.startswith(f"{path}.") or "*" in path]
        if not named:
            fields = {p for item in items for p in item.provenance}
            raise UserError(f"--set {path}: no run of this grid has it{did_you_mean(path, fields)}")
