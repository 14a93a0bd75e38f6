"""Studies in a report: the best so far against trials and minutes, and the budget beside what it
gained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from sslbench.errors import UserError
from sslbench.files import entries
from sslbench.reports import plots
from sslbench.reports.panels import panels_of
from sslbench.tuning.record import FOLDER, Record, load_record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Against = Literal["trials", "minutes"]
HEADINGS = ("recipe", "trials", "minutes", "present setting", "winner", "gain", "what it changes")
CAPTION = (
    "The best linear accuracy so far on the held-out part, seed 0 (line); finished trials (dots); "
    "trials that were stopped (ticks below); the present setting (dashed). A study that begins at "
    "another's is drawn after the trials that it took over."
)
BUDGET = (
    "Every recipe of one scale and data set had the same number of trials, those that it took over "
    "from another's study counted. Means are of the confirming seeds, on the held-out part of the "
    "training images, which is for choosing: no table shows these numbers. The gain of the best of "
    "a few is a little high."
)


@dataclass(frozen=True)
class Studies:
    """The studies of one scale and data set, in a report's words."""

    title: str
    key: str
    lines: tuple[tuple[str, ...], ...]
    figures: dict[str, str]


class Step(NamedTuple):
    """After so many trials and minutes the best trial had this accuracy in percent."""

    trials: int
    minutes: float
    best: float


def load_records(results: Path, *, tell: Callable[[str], None]) -> list[Record]:
    """All studies that are kept, by scale, data set and recipe; a damaged one is told, and the rest
    goes on."""
    found = []
    for scale in entries(results / FOLDER):
        for dataset in entries(scale):
            for path in entries(dataset):
                if path.suffix == ".json" and not path.name.startswith("."):
                    try:
                        record = load_record(path)
                    except UserError as error:
                        tell(str(error))
                        continue
                    found += [record] if record else []
    return found


def best_so_far(record: Record) -> list[Step]:
    """How the best linear accuracy of seed 0 rose, trial by trial, from the first finished one;
    a parent's trials and minutes come before."""
    parent = record.parent
    trials, minutes = (parent.trials, parent.minutes) if parent else (0, 0.0)
    best, steps = -1.0, []
    for trial in record.trials:
        trials, minutes = trials + 1, minutes + trial.minutes
        best = max(best, trial.rank[0])
        if best >= 0:
            steps.append(Step(trials, minutes, best))
    return steps


def budget_line(record: Record) -> tuple[str, ...]:
    """A study's line under HEADINGS."""
    from sslbench.reports.tuning import words

    parent, gain = record.parent, record.gain
    trials = f"{record.total_trials}" + (f" ({parent.trials} of {parent.recipe})" if parent else "")
    minutes = record.minutes + (parent.minutes if parent else 0.0)
    several = any(len(t.seeds) > 1 for t in record.trials)
    present, winner = (record.trials[n] for n in (0, record.winner))
    means = [
        f"{t.mean(confirming=several)[0]:.1f}" if t.state == "finished" else t.state
        for t in (present, winner)
    ]
    half = f" ± {gain.half:.1f}" if gain and gain.half is not None else ""
    points = f"{gain.points:+.1f}{half}" if gain and record.winner else "0" if gain else ""
    return record.recipe, trials, f"{minutes:.0f}", *means, points, words(record.changes)


def studies(records: Iterable[Record]) -> list[Studies]:
    """What a report shows of studies: for each scale and data set the budgets, and SVG figures by
    what they are against."""
    out = []
    for (scale, dataset), group in groupby(records, key=lambda r: (r.scale, r.dataset)):
        own, key = list(group), f"studies-{scale}-{dataset}"
        figures = {
            against: plots.to_svg(best_so_far_figure(own, against), f"{key}-{against}")
            for against in ("trials", "minutes")
        }
        lines = tuple(map(budget_line, own))
        out.append(Studies(f"Studies at {scale} on {dataset}", key, lines, figures))
    return out


def studies_context(found: Sequence[Studies]) -> dict[str, Any]:
    """What studies.html.j2 takes."""
    return {"studies": found, "headings": HEADINGS, "budget": BUDGET, "study_caption": CAPTION}


def best_so_far_figure(records: Sequence[Record], against: Against) -> Figure:
    """A panel a study."""
    figure, panels = panels_of(len(records), width=2.2, height=1.7, columns=4, sharey=True)
    for axes, record in zip(panels, records, strict=True):
        _panel(axes, record, against)
    for axes in panels[::4]:
        axes.set_ylabel("held-out (%)")
    for axes in panels[-4:]:
        axes.set_xlabel(against)
    return figure


def _panel(axes: Axes, record: Record, against: Against) -> None:
    steps = best_so_far(record)
    axes.step([getattr(s, against) for s in steps], [s.best for s in steps], where="post",
              color=plots.OURS, linewidth=1.4)  # fmt: skip
    parent = record.parent
    place = float(getattr(parent, against)) if parent else 0.0
    done, stopped = [], []
    for trial in record.trials:
        place += 1 if against == "trials" else trial.minutes
        if trial.state == "finished":
            done.append((place, trial.rank[0]))
        else:
            stopped.append(place)
    axes.plot(*zip(*done, strict=True), ".", color=plots.OURS, alpha=0.6, markersize=4)
    axes.plot(stopped, [0.03] * len(stopped), "|", color=plots.INK, alpha=0.5, markersize=5,
              transform=axes.get_xaxis_transform())  # fmt: skip
    if record.trials[0].state == "finished":
        axes.axhline(record.trials[0].rank[0], color=plots.INK, alpha=0.6, linewidth=0.9,
                     linestyle="--")  # fmt: skip
    axes.set_xlim(left=0)
    axes.set_title(plots.plain(record.recipe), fontsize=9)
