"""The search of one study: trials drawn in batches, stopped at rungs, told in the order of their
numbers, so that how many run side by side changes nothing."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sslbench.errors import InUse, UserError
from sslbench.recipes.resolve import Resolved
from sslbench.recipes.spaces import Dimension, Number, short
from sslbench.tuning.definition import STARTUP, Definition
from sslbench.tuning.pruning import kept
from sslbench.tuning.record import Trial
from sslbench.tuning.running import Progress, Runner, diverged, minutes

JOURNAL = "optuna.log"


def sampler_version() -> str:
    """Of Optuna. Raises UserError where it is not installed."""
    try:
        import optuna
    except ImportError:
        raise UserError("A study needs Optuna: pip install 'sslbench[tune]'.") from None
    return str(optuna.__version__)


@dataclass
class _Drawn:
    """A trial of the batch that is being run; `asked` is Optuna's, where it is one of its own."""

    trial: Trial
    asked: Any = None
    resolved: Resolved | None = None
    rungs: dict[int, float] = field(default_factory=dict)


class Search:
    """The trials of a study, all on seed 0.

    Optuna draws and is told; what was found lies in the run folders, so that a study that was
    stopped is done again from its first trial and finds all of its runs. Its journal is there to be
    looked at (optuna-dashboard) and is never read here.

    Args:
        folder: of the study, for Optuna's journal.
    """

    def __init__(self, definition: Definition, runner: Runner, *, folder: Path) -> None:
        sampler_version()
        self.definition, self.runner = definition, runner
        self.study = _optuna_study(folder / JOURNAL, seed=definition.seed)
        self.ranges = {d.name: _distribution(d) for d in definition.space}
        self.trials: list[Trial] = []
        self.at_rungs: dict[int, list[float]] = {epoch: [] for epoch in definition.rungs}

    def run(self) -> list[Trial]:
        """All trials, in the order of their numbers. Raises as `Runner.to_epoch`."""
        names = {d.name: d.default for d in self.definition.space}
        self.study.enqueue_trial({**names, **self._within(self.definition.base)})
        while (left := self.definition.num_trials - len(self.trials)) > 0:
            batch = [self._drawn(len(self.trials) + i)
                     for i in range(min(left, self.definition.budget.batch))]  # fmt: skip
            self._run(batch)
            for drawn in batch:
                self._tell(drawn)
                self.trials.append(drawn.trial)
        return self.trials

    def _within(self, point: Mapping[str, Number]) -> dict[str, Number]:
        return {name: value for name, value in point.items() if name in self.ranges}

    def _drawn(self, number: int) -> _Drawn:
        """A trial: the first is the present setting, which is Optuna's too where the search begins
        there."""
        definition, asked = self.definition, None
        point: dict[str, Number] = {}
        if number > 0 or not definition.parent:
            asked = self.study.ask(self.ranges)
            point = definition.point({k: short(v) for k, v in asked.params.items()})
        drawn = _Drawn(
            Trial(number=number, point=point, changes=definition.whole.changes(point),
                  state="refused"),
            asked,
        )  # fmt: skip
        try:
            drawn.resolved = definition.experiment(point, seed=0)
        except UserError as error:
            drawn.trial = replace(drawn.trial, note=str(error))
        return drawn

    def _run(self, batch: Sequence[_Drawn]) -> None:
        alive = {d.trial.number: d for d in batch if d.resolved is not None}
        definition, runner = self.definition, self.runner
        first = batch[0].trial.number
        for epoch in definition.rungs:
            self._say(f"trials {first} to {first + len(batch) - 1}: {len(alive)} to epoch {epoch}")
            runner.to_epoch(definition, [_run_of(d) for d in alive.values()], epoch)
            alive = self._judged(alive, epoch)
        self._say(f"trials {first} to {first + len(batch) - 1}: {len(alive)} to the end")
        runner.to_end(definition, [_run_of(d) for d in alive.values()])
        for drawn in alive.values():
            drawn.trial = self._ended(drawn, stopped=False)

    def _judged(self, alive: Mapping[int, _Drawn], epoch: int) -> dict[int, _Drawn]:
        """Those that go on past a rung; of the others it is written down where they ended."""
        epochs = self.definition.start.experiment.recipe.epochs
        values = {
            n: self.runner.knn_at(self._folder(d), epoch, epochs=epochs) for n, d in alive.items()
        }
        protected = {0, 1} if self.definition.parent else {0}
        going = kept(values, before=self.at_rungs[epoch], protected=protected)
        for number, value in values.items():
            if value is not None:
                self.at_rungs[epoch].append(value)
                alive[number].rungs[epoch] = value
            if number not in going:
                alive[number].trial = self._ended(alive[number], stopped=True)
                _drop_checkpoint(self._folder(alive[number]))
        return {n: alive[n] for n in going}

    def _ended(self, drawn: _Drawn, *, stopped: bool) -> Trial:
        folder = self._folder(drawn)
        lost = diverged(folder)
        scores = () if stopped and not lost else (self.runner.score(folder, seed=0),)
        lost = lost or any(s.linear is None for s in scores)
        return replace(
            drawn.trial, state="diverged" if lost else "stopped" if stopped else "finished",
            run=folder.path.name, rungs=tuple(drawn.rungs.values()), seeds=scores,
            minutes=minutes(folder),
        )  # fmt: skip

    def _folder(self, drawn: _Drawn) -> Any:
        return self.runner.folder(self.definition, _run_of(drawn))

    def _tell(self, drawn: _Drawn) -> None:
        from optuna.trial import TrialState

        trial, asked = drawn.trial, drawn.asked
        if asked is None:
            return
        for epoch, value in drawn.rungs.items():
            asked.report(value, epoch)
        if trial.state == "finished":
            # kNN breaks ties: a point of it is less than an image of the linear probe's.
            self.study.tell(asked, trial.rank[0] + trial.rank[1] * 1e-5)
        else:  # what has no value at a rung is the worst of all to the sampler
            self.study.tell(asked, state=TrialState.PRUNED)

    def _say(self, text: str) -> None:
        self.runner.on_progress(Progress(self.definition.recipe, text))


def _run_of(drawn: _Drawn) -> Resolved:
    assert drawn.resolved is not None
    return drawn.resolved


def _drop_checkpoint(folder: Any) -> None:
    """A stopped trial does not go on in this study: its log stays, its weights need not."""
    with contextlib.suppress(InUse), folder.lock():  # whoever has it may want it
        if folder.status() != "finished":
            folder.checkpoint_path.unlink(missing_ok=True)


def _distribution(dimension: Dimension) -> Any:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if dimension.choices:
        return CategoricalDistribution(dimension.choices)
    if dimension.whole:
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def _optuna_study(journal: Path, *, seed: int) -> Any:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal.unlink(missing_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=STARTUP, multivariate=True, constant_liar=True
        )  # fmt: skip
        storage = JournalStorage(JournalFileBackend(str(journal)))
    return optuna.create_study(storage=storage, sampler=sampler, direction="maximize")
