"""Studies in the terminal: what one would take, and what one found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from sslbench.tuning.definition import Definition
from sslbench.tuning.estimate import Plan
from sslbench.tuning.record import Gain, Record, Trial

SHOWN = 10  # trials


def show_plan(plan: Plan, *, jobs: int) -> None:
    """The space, the budget and the time of a study."""
    own = plan.definition
    table = _table("dimension", "fields", "now", "from", "to")
    for d in own.space:
        if d.choices:
            bounds = [", ".join(f"{x:g}" for x in d.choices), ""]
        else:
            bounds = [f"{d.low:g}", f"{d.high:g}" + (" (log)" if d.log else "")]
        name = f"{d.name} (1 less it)" if d.of == "rest" else d.name
        table.add_row(name, ", ".join(d.paths), f"{d.default:g}", *bounds)
    console = Console()
    console.print(
        f"[bold]{own.recipe}[/] at {own.scale} on {own.data.set_name}, study {own.digest()}"
    )
    console.print(table)
    for name, why in own.whole.left_out.items():
        console.print(f"Left out: {name}, as {why}.", highlight=False)
    if own.parent is not None:
        console.print(_begins(own), highlight=False)
    budget = own.budget
    rungs = ", ".join(map(str, own.rungs)) or "none"
    console.print(
        f"{own.num_trials} trials, looked at after epochs {rungs} of "
        f"{own.start.experiment.recipe.epochs}; {budget.seeds} seeds of the best {budget.best} and "
        f"of the present setting. About {_time(plan.seconds / jobs)}, at most "
        f"{_time(plan.most / jobs)}, with --jobs {jobs}"
        + ("." if plan.measured else "; a guess, as nothing was trained here yet."),
        highlight=False,
    )


def _begins(own: Definition) -> str:
    """Where a recipe with a parent begins, in words."""
    parent = own.parent
    assert parent is not None
    if not parent.digest:
        return (
            f"It begins where the study of {parent.recipe}, which is not run yet, is after "
            f"{parent.trials} trials."
        )
    point = ", ".join(f"{name} {_short(x)}" for name, x in own.base.items())
    return (
        f"It begins where the study of {parent.recipe} was after {parent.trials} trials, at its "
        f"trial {parent.trial}: {point or 'the present setting'}."
    )


def show_record(record: Record) -> None:
    """The best trials of a study, the winner, and what it gained."""
    table = _table("trial", "point", "state", "linear, seed 0", "kNN", "mean of further seeds")
    best = sorted(record.trials, key=lambda t: (*t.rank, -t.number), reverse=True)[:SHOWN]
    for trial in best if record.trials[0] in best else [*best, record.trials[0]]:
        table.add_row(*_cells(trial, winner=trial.number == record.winner))
    console = Console()
    console.print(f"[bold]{record.recipe}[/] at {record.scale} on {record.dataset}")
    console.print(table)
    states = [t.state for t in record.trials]
    counts = ", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states))
    console.print(
        f"{len(states)} trials ({counts}), {record.minutes:g} minutes. Winner: trial "
        f"{record.winner}, {words(record.changes)}. {gain_words(record.gain)}",
        highlight=False,
    )


def gain_words(gain: Gain | None) -> str:
    """What the winner gained, in a sentence."""
    if gain is None:
        return "The present setting diverged, so there is no gain to tell."
    if not gain.points and gain.half is None:
        return gain.note
    half = f" ± {gain.half:.1f}" if gain.half is not None else ""
    return f"Gain over the present setting {gain.points:+.1f}{half} points, held-out. {gain.note}"


def words(changes: Mapping[str, Any]) -> str:
    """Changes in a line."""
    return ", ".join(f"{path} {_short(value)}" for path, value in changes.items()) or "as it is"


def _cells(trial: Trial, *, winner: bool) -> list[str]:
    first = trial.seeds[0] if trial.seeds else None
    mean = f"{trial.mean(confirming=True)[0]:.1f}" if len(trial.seeds) > 1 else ""
    return [
        f"{trial.number}{' *' if winner else ''}",
        ", ".join(f"{name} {_short(x)}" for name, x in trial.point.items()) or "as it is",
        trial.state,
        *(f"{v:.1f}" if v is not None else "" for v in
          ((first.linear, first.knn) if first else (None, None))),
        mean,
    ]  # fmt: skip


def _short(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_short, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
