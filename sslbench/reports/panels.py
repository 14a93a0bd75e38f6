"""Panels of the analyses' figures, and the labels of their runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from sslbench.reports.plots import INK, PALETTE, house_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

    from sslbench.evaluation.analyses import Analysis

MAX_RUNS = len(PALETTE)  # more cannot be told apart


def short_names(runs: list[str]) -> dict[str, str]:
    """Run name to a label: without the digest, or with as much of it as tells the runs apart."""
    runs = list(dict.fromkeys(runs))
    for length in (0, 4, 8, 16):
        names = {run: _shortened(run, length) for run in runs}
        if len(set(names.values())) == len(runs):
            return names
    return {run: run for run in runs}


def _shortened(run: str, length: int) -> str:
    stem, _, digest = run.rpartition("-")
    return "-".join(filter(None, (stem, digest[:length]))) if stem else run


def frames(analysis: Analysis) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Summary, with the runs' labels, and points."""
    summary = pd.DataFrame(analysis.summary)
    summary["label"] = summary.run.map(short_names(list(summary.run)))
    return summary, pd.DataFrame(analysis.points)


def panels_of(
    count: int, *, width: float, height: float, columns: int, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """Panels of that many inches in rows, in the house style, without pyplot's global state."""
    from matplotlib.figure import Figure

    columns = min(columns, count)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=sharey)
    panels = list(grid.flat)
    for axes in panels[count:]:
        axes.set_visible(False)
    for axes in panels[:count]:
        house_style(axes)
        axes.title.set_color(INK)
    return figure, panels[:count]


def legend(axes: Axes, title: str | None = None) -> Legend:
    """A small legend over a pale ground."""
    return axes.legend(
        title=title, frameon=True, framealpha=0.75, edgecolor="none", fontsize=8,
        title_fontsize=8, handlelength=1.6,
    )  # fmt: skip
