"""Transfer: an encoder on other images and their tasks, beside the untrained one and other runs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from sslbench.data import Dataset, load
from sslbench.data.registry import resolution_of
from sslbench.engine.folder import RunFolder
from sslbench.engine.progress import Progress
from sslbench.errors import UserError
from sslbench.evaluation.evaluate import evaluate, require_finished
from sslbench.evaluation.protocols import Protocol, find_protocols, require
from sslbench.evaluation.scores import Score
from sslbench.evaluation.scratch import untrained_beside
from sslbench.evaluation.tasks import SLOW, fitting_tasks, usual_protocols
from sslbench.recipes.specs import Data

Shown = Callable[[str], AbstractContextManager[Progress]]


@dataclass(frozen=True)
class Goal:
    """Images, and the protocols of a transfer to them; without any, the usual ones of what the
    images come with."""

    data: Data
    protocols: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """A score of a transfer: of a run, on a data set (numbered where its name comes twice)."""

    run: str
    dataset: str
    score: Score


@dataclass(frozen=True)
class Transferred:
    """What came of a transfer: by data set, protocol and run; and for each data set the tasks that
    it has annotations for and that were left out, as they take long."""

    lines: tuple[Line, ...]
    left_out: dict[str, tuple[str, ...]]


def transfer(
    folder: RunFolder,
    goals: Sequence[Goal],
    *,
    beside: Sequence[RunFolder] = (),
    resolution: int | None = None,
    root: Path,
    device: str = "cpu",
    shown: Shown | None = None,
) -> Transferred:
    """Score a run on other data sets, by their own training and test images.

    The images are resized to each run's resolution, or to `resolution`. Behind the run stand those
    `beside` it, and last the untrained encoder of its spec and seed, which is made here.

    Args:
        shown: what shows the progress of the run of a name.
        others: as `evaluate`.
    Raises:
        UserError: as `evaluate`; before anything is computed where a run is not finished, or a data
            set or an encoder lacks what a protocol needs.
        Interrupted: a signal; the same call goes on from there.
    """
    runs = list({run.path.resolve(): run for run in (folder, *beside)}.values())
    for run in runs:
        require_finished(run)
    loaded = functools.cache(functools.partial(load, root=root))

    def images(goal: Goal, run: RunFolder) -> Dataset:
        return loaded(goal.data.but(resolution=resolution or _side(run)))

    planned = [(goal, _protocols(goal, images(goal, folder), runs)) for goal in goals]
    if untrained := untrained_beside(folder, root=root, device=device):
        runs = list({run.path.resolve(): run for run in (*runs, untrained)}.values())
    lines: list[Line] = []
    left_out: dict[str, tuple[str, ...]] = {}
    for goal, protocols in planned:
        name = _numbered(goal.data.set_name, left_out)
        found = {
            run.path.name: _scores(
                run, protocols, goal.data, images(goal, run), root, device, shown
            )
            for run in runs
        }
        lines += [
            Line(run, name, scores[p.name]) for p in protocols for run, scores in found.items()
        ]
        left_out[name] = () if goal.protocols else _left_out(images(goal, folder))
    return Transferred(tuple(lines), left_out)


def _side(run: RunFolder) -> int:
    """Of the images that it was trained on, in pixels."""
    return resolution_of(run.experiment().data)


def _protocols(goal: Goal, dataset: Dataset, runs: Sequence[RunFolder]) -> list[Protocol]:
    """Those of a goal. Raises UserError where data or an encoder lack what one needs."""
    protocols = find_protocols(goal.protocols or usual_protocols(dataset.annotations))
    if not protocols:
        tasks = [name for name in fitting_tasks(dataset.annotations) if name in SLOW]
        advice = f"; its tasks are slow, so ask for one: --to {tasks[0]} --dataset" if tasks else ""
        raise UserError(
            f"Data set '{dataset.name}' has nothing that a quick protocol needs{advice}."
        )
    for protocol in protocols:
        require(protocol, dataset.annotations, dataset=dataset.name)
        for run in runs:
            protocol.require_recipe(run.experiment().recipe)
    return protocols


def _left_out(dataset: Dataset) -> tuple[str, ...]:
    return tuple(name for name in fitting_tasks(dataset.annotations) if name in SLOW)


def _numbered(name: str, taken: dict[str, tuple[str, ...]]) -> str:
    same = sum(key.partition(" #")[0] == name for key in taken)
    return f"{name} #{same + 1}" if same else name


def _scores(
    run: RunFolder,
    protocols: Sequence[Protocol],
    data: Data,
    dataset: Dataset,
    root: Path,
    device: str,
    shown: Shown | None,
) -> dict[str, Score]:
    score = functools.partial(
        evaluate,
        run,
        protocols,
        data=data,
        resolution=dataset.resolution,
        root=root,
        device=device,
        dataset=dataset,
    )
    if shown is None:
        return score()
    with shown(run.path.name) as progress:
        return score(progress=progress)
