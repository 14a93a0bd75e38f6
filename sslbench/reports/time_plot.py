"""Accuracy against training time: one point a row, named at the right where names have room."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sslbench.reports import plots
from sslbench.reports.display import table_key
from sslbench.tables.results import MeasuredColumn, MeasuredTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MINUTES = "run:minutes"
LEAST = 2  # trained rows
MAX_NAMED = 60  # rows whose names fit beside the plot


class _Point(NamedTuple):
    label: str
    minutes: float
    accuracy: float
    interval: float


def time_plot(table: MeasuredTable, *, salt: str = "time") -> str | None:
    """An SVG of the first accuracy against the minutes of training, both means over seeds, with the
    accuracy's 95 % interval. None for a table without minutes, or fewer than two trained rows.
    More than 60 rows are points without names. `salt` keeps the ids of a second copy apart."""
    columns = _columns(table)
    if columns is None or len(points := _points(table, *columns)) < LEAST:
        return None
    draw = _draw if len(points) <= MAX_NAMED else _draw_unnamed
    return draw(points, columns[0], salt=f"{table_key(table)}-{salt}")


def has_time_plot(table: MeasuredTable) -> bool:
    """Whether there is such a plot; draws none."""
    columns = _columns(table)
    return columns is not None and len(_points(table, *columns)) >= LEAST


def _columns(table: MeasuredTable) -> tuple[MeasuredColumn, MeasuredColumn] | None:
    """The first accuracy and the minutes."""
    minutes = next((column for column in table.columns if column.metric == MINUTES), None)
    accuracy = next((column for column in table.columns if column.unit == "%"), None)
    return None if minutes is None or accuracy is None else (accuracy, minutes)


def _points(
    table: MeasuredTable, accuracy: MeasuredColumn, minutes: MeasuredColumn
) -> list[_Point]:
    """Rows that were trained, best first."""
    found = []
    for row in table.rows:
        score, time = row.cells.get(accuracy.key), row.cells.get(minutes.key)
        if score is None or time is None or score.mean is None or not time.mean:
            continue
        found.append(_Point(row.label, time.mean, score.mean, score.interval or 0.0))
    return sorted(found, key=lambda point: -point.accuracy)


def _draw(points: list[_Point], accuracy: MeasuredColumn, *, salt: str) -> str:
    longest = max(len(point.label) for point in points)
    figure, axes = plots.new_figure(4.2 + 0.075 * longest, max(2.6, 0.7 + 0.17 * len(points)))
    places = range(len(points))
    for i, point in zip(places, points, strict=True):
        colour = plots.colour(i)
        axes.errorbar(point.minutes, point.accuracy, yerr=point.interval, fmt="o", color=colour,
                      markersize=5, capsize=2, elinewidth=1)  # fmt: skip
        axes.annotate(
            plots.plain(point.label),
            (point.minutes, point.accuracy),
            xytext=(1.06, 1 - (i + 0.5) / len(points)),
            textcoords="axes fraction",
            va="center",
            color=plots.INK,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "alpha": 0.45,
                "linewidth": 0.8,
                "relpos": (0, 0.5),
                "shrinkA": 0,
                "shrinkB": 4,
            },
        )
    axes.margins(x=0.06)
    return _finished(figure, axes, accuracy, salt)


def _draw_unnamed(points: list[_Point], accuracy: MeasuredColumn, *, salt: str) -> str:
    figure, axes = plots.new_figure(4.8, 3.4)
    _, minutes, values, intervals = zip(*points, strict=True)
    plots.cloud(axes, minutes, values, intervals)
    return _finished(figure, axes, accuracy, salt)


def _finished(figure: Figure, axes: Axes, accuracy: MeasuredColumn, salt: str) -> str:
    axes.set_xlim(left=0)
    axes.set_xlabel("training time (min)")
    axes.set_ylabel(plots.plain(f"{accuracy.name} ({accuracy.unit})"))
    return plots.to_svg(figure, salt)
