"""Run folders read for a report: what is damaged is named, and what differs in its seed grouped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sslbench.engine.folder import Log, RunFolder, Status
from sslbench.errors import UserError
from sslbench.evaluation.npz import fit_curve
from sslbench.evaluation.scores import Score, all_scores
from sslbench.files import entries
from sslbench.recipes.recipe import Experiment


@dataclass(frozen=True, kw_only=True)
class OwnRun:
    """One run as its folder has it; `summary` may lack anything, `log` is [] without a log.

    `scores` are by the data set's label in the file's name and the protocol, and so are `fits`, the
    log points of those that train; `remarks` are sentences about files that could not be read.
    """

    folder: RunFolder
    experiment: Experiment
    provenance: Mapping[str, str]
    status: Status
    summary: Mapping[str, Any]
    log: Sequence[Mapping[str, Any]]
    scores: Mapping[tuple[str, str], Score]
    fits: Mapping[tuple[str, str], Sequence[Mapping[str, float]]]
    remarks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Of the folder."""
        return self.folder.path.name

    @property
    def trained(self) -> bool:
        """Whether there was anything to train."""
        return self.experiment.recipe.epochs > 0

    def number(self, *path: str) -> float | None:
        """A finite number of the summary by its keys, or None."""
        value = self.value(*path)
        good = isinstance(value, int | float) and not isinstance(value, bool)
        return float(value) if good and math.isfinite(value) else None

    def text(self, *path: str) -> str:
        """A text of the summary by its keys, or ""."""
        value = self.value(*path)
        return value if isinstance(value, str) else ""

    def value(self, *path: str) -> Any:
        """Whatever the summary has under some keys, or None."""
        found: Any = self.summary
        for key in path:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found


@dataclass(frozen=True)
class RunGroup:
    """Runs that differ in their seed only, in its order, at least one."""

    runs: tuple[OwnRun, ...]

    @property
    def first(self) -> OwnRun:
        """The run to speak of where all are alike: the first finished one, or the first."""
        return next((run for run in self.runs if run.status == "finished"), self.runs[0])

    @property
    def experiment(self) -> Experiment:
        """Of the first run."""
        return self.first.experiment


@dataclass(frozen=True, kw_only=True)
class Collection:
    """What a report is about.

    `baselines` lie beside the runs, untrained or raw pixels on the same data; `remarks` are
    sentences about what is left out, and why.
    """

    groups: tuple[RunGroup, ...]
    baselines: tuple[RunGroup, ...] = ()
    remarks: tuple[str, ...] = ()


def run_paths(name: str, runs: Path) -> tuple[list[Path], list[Path]]:
    """The run folders that a word means, and folders in the place it names that are no runs.

    Args:
        name: a run folder, a folder of them, or the start of names under `runs`.
    Returns:
        Two empty lists where there is nothing of that name.
    """
    direct = Path(name)
    if (direct / "experiment.yaml").is_file():
        return [direct], []
    if direct.is_dir():
        inside = _folders(direct)
    else:
        inside = [path for path in _folders(runs) if path.name.startswith(name)]
    found = [path for path in inside if (path / "experiment.yaml").is_file()]
    return found, [path for path in inside if path not in found]


def collect(paths: Iterable[Path], *, others: Sequence[Path] = ()) -> Collection:
    """The runs in some folders, with the baselines that lie beside them.

    Args:
        others: folders beside them that are no runs, which a remark names.
    """
    paths = list({path.resolve(): path for path in paths}.values())
    runs, remarks = _read_all(paths)
    groups, twice = grouped(runs)
    known = {run.folder.path.resolve() for run in runs}
    beside = dict.fromkeys(p for path in paths for p in _folders(path.parent))
    near, _ = _read_all([p for p in beside if _may_be_baseline(p) and p.resolve() not in known])
    baselines = [group for group in grouped(near)[0] if _is_baseline(group, groups)]
    names = ", ".join(path.name for path in others)
    no_runs = [f"Not run folders (no experiment.yaml): {names}."] if others else []
    return Collection(
        groups=tuple(groups), baselines=tuple(baselines), remarks=(*remarks, *twice, *no_runs)
    )


def read_run(path: Path) -> OwnRun:
    """One run. Raises UserError where the files that say what it is are damaged."""
    folder = RunFolder.open(path)
    experiment, provenance = folder.experiment(), folder.provenance()
    summary, status = folder.summary(), folder.status()
    remarks: list[str] = []
    log = Log([], 0)
    try:
        log = folder.log()
    except UserError as error:
        remarks.append(str(error))
    if log.unread:
        lines = f"{log.unread} line{' cannot' if log.unread == 1 else 's cannot'} be read"
        remarks.append(f"{folder.metrics_path}: {lines}, and left out.")
    scores, unread = all_scores(folder)
    remarks += unread
    fits, damaged = _fits(folder, scores)
    remarks += damaged
    return OwnRun(
        folder=folder,
        experiment=experiment,
        provenance=provenance,
        status=status,
        summary=summary,
        log=log.points,
        scores=scores,
        fits=fits,
        remarks=tuple(remarks),
    )


def _fits(
    folder: RunFolder, scores: Iterable[tuple[str, str]]
) -> tuple[dict[tuple[str, str], list[dict[str, float]]], list[str]]:
    """The points of what protocols trained, and a sentence for each file that cannot be read."""
    found, unread = {}, []
    for label, protocol in scores:
        try:
            curve = fit_curve(folder.predictions_path(label, protocol))
        except UserError as error:
            unread.append(str(error))
            continue
        if curve:
            found[label, protocol] = [{"step": step, "loss": loss} for step, loss in curve]
    return found, unread


def grouped(runs: Sequence[OwnRun]) -> tuple[list[RunGroup], list[str]]:
    """Runs that differ in their seed only, together, in the order of their first; and a sentence
    for each that is there twice: a copy is no further seed."""
    groups: dict[tuple[str, ...], dict[int, OwnRun]] = {}
    twice = []
    for run in runs:
        own = groups.setdefault(_key(run), {})
        other = own.setdefault(run.experiment.seed, run)
        if other is not run:
            twice.append(f"{run.folder.path} is a copy of {other.folder.path}, and left out.")
    by_seed = [sorted(own.items()) for own in groups.values()]
    return [RunGroup(tuple(run for _, run in own)) for own in by_seed], twice


def _key(run: OwnRun) -> tuple[str, ...]:
    alike = run.experiment.but(seed=0).digest()
    outside = run.text("digest") if run.value("encoder_file") else ""  # a file is its own recipe
    return alike, run.text("fingerprint"), str(run.value("numerics")), outside


def _read_all(paths: Iterable[Path]) -> tuple[list[OwnRun], list[str]]:
    runs, remarks = [], []
    for path in paths:
        try:
            runs.append(read_run(path))
        except UserError as error:
            remarks.append(f"{path.name} cannot be shown: {' '.join(str(error).split())}")
    return runs, remarks


def _folders(parent: Path) -> list[Path]:
    return [p for p in entries(parent) if p.is_dir() and not p.name.startswith(".")]


BASELINES = ("untrained", "raw-pixels", "color-histogram")  # how their runs' names start


def _may_be_baseline(path: Path) -> bool:
    return path.name.startswith(BASELINES) and (path / "experiment.yaml").is_file()


def _is_baseline(group: RunGroup, shown: Sequence[RunGroup]) -> bool:
    """Whether a group is what some shown run must beat: on its data, scored, of its encoder or of
    none that has parameters."""
    from sslbench.tables.cells import is_constant

    first = group.first
    if first.trained or not first.scores or first.value("encoder_file"):
        return False
    prints = {score.fingerprint for score in first.scores.values()}
    return any(
        (other.first.text("fingerprint") in prints)
        and (is_constant(first.experiment.recipe)
             or other.experiment.recipe.encoder == first.experiment.recipe.encoder)
        for other in shown
    )  # fmt: skip
