"""The figure of what each class contributes to a score: curves of precision, and bars."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sslbench.evaluation.analyses import Analysis
from sslbench.reports.panels import frames, legend
from sslbench.reports.plots import INK, colour, house_style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VALUES = {"ap50": "AP50", "mask_ap50": "mask AP50", "iou": "IoU", "ap": "AP"}
MAX_CLASSES = 100  # bars of one figure
_BAR, _WIDE = 0.19, 3.9  # inches: a bar, and a panel


def per_class_figure(analysis: Analysis) -> Figure:
    """Bars of every class, the best of the first run at the top, a line at the mean of the classes;
    beside them, of objects, the mean precision of the classes over recall, a line a run, and of a
    single run every class as a faint one."""
    from matplotlib.figure import Figure

    summary, points = frames(analysis)
    (key,) = [name for name in VALUES if name in summary]
    runs = list(dict.fromkeys(summary.label))
    classes = list(dict.fromkeys(summary["class"]))
    bars = _BAR * min(MAX_CLASSES, len(classes)) * (1 + 0.55 * (len(runs) - 1))
    panels = 1 if points.empty else 2
    size = (_WIDE * panels + 0.06 * max(map(len, classes)), max(3.2, 1.0 + bars))
    figure = Figure(figsize=size, layout="constrained")
    axes = list(figure.subplots(1, panels, squeeze=False)[0])
    for panel in axes:
        house_style(panel)
        panel.title.set_color(INK)
    _bars(axes[-1], summary, key, runs)
    if panels == 2:
        _curves(axes[0], points, summary, key)
    return figure


def _bars(axes: Axes, summary: pd.DataFrame, key: str, runs: list[str]) -> None:
    first = summary[summary.label == runs[0]].sort_values(key, ascending=False, kind="stable")
    every = list(dict.fromkeys([*first["class"], *summary["class"]]))
    order = every[:MAX_CLASSES]
    height = 0.8 / len(runs)
    for place, run in enumerate(runs):
        all_ = summary[summary.label == run]
        own = all_[all_["class"].isin(order)]
        where = [
            order.index(name) + (place - (len(runs) - 1) / 2) * height for name in own["class"]
        ]
        axes.barh(where, own[key], height=0.9 * height, color=colour(place), label=run)
        axes.axvline(all_[key].mean(), color=colour(place), linewidth=1, linestyle=":", gid="mean")
        if len(runs) == 1:
            for y, value in zip(where, own[key], strict=True):
                axes.text(value + 1, y, f"{value:.0f}", va="center", fontsize=7, color=INK)
    axes.set_yticks(range(len(order)), order, fontsize=8)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set_xlim(0, min(112.0, 5 + 10 * math.ceil(max(10.0, summary[key].max()) / 10)))
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"{VALUES[key]} (%)")
    some = "" if order == every else f"the first {len(order)} of {len(every)}: "
    axes.set_title(f"{some}each class; dotted: the mean of all")
    if len(runs) > 1:
        legend(axes)


def _curves(axes: Axes, points: pd.DataFrame, summary: pd.DataFrame, key: str) -> None:
    labels = dict(zip(summary.run, summary.label, strict=True))
    for place, (run, label) in enumerate(labels.items()):
        own = points[points.run == run]
        if len(labels) == 1:
            for _, line in own.groupby("class", sort=False):
                axes.plot(line.recall, line.precision, color=INK, alpha=0.25, linewidth=0.7)
        mean = own.groupby("recall").precision.mean()
        value = summary[summary.run == run][key].mean()
        style: dict[str, Any] = {"color": colour(place), "linewidth": 2}
        axes.plot(mean.index, mean, label=f"{label}: {VALUES[key]} {value:.1f}", **style)
    axes.set(xlim=(0, 100), ylim=(0, 104))
    axes.set_box_aspect(1)
    axes.set_anchor("N")
    axes.set_xlabel("recall (%)")
    axes.set_ylabel("precision (%)")
    axes.set_title("IoU of .5; mean of the classes")
    legend(axes)
