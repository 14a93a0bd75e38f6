"""The training curves of groups of runs, as plots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sslbench.reports import plots
from sslbench.reports.curves import CURVES, MAX_LINES, Series, over_seeds
from sslbench.reports.html import figure_group, line_legend
from sslbench.reports.runs.collect import RunGroup
from sslbench.reports.runs.view import GroupView

NAMES = {
    "loss": CURVES["loss"],
    "std": "std·√D of the normalised output",
    "effective_rank": "effective rank of the output",
    "knn": CURVES["knn"],
}


def group_curves(shown: GroupView) -> dict[str, Any]:
    """A group's own curves, one plot a metric."""
    lines = {m: [s] for m in NAMES if (s := _line(shown.label, shown.group, m))}
    several = len([run for run in shown.group.runs if run.log]) > 1
    caption = (
        "Mean over the seeds that have the step; the band runs from the lowest to the highest."
    )
    return figure_group(
        "Training", caption if several and lines else "", _plots(lines, shown.anchor)
    )


def group_fits(shown: GroupView) -> dict[str, Any]:
    """What protocols trained with a group's encoders, one plot a data set and protocol."""
    lines = {key: [s] for key in _fits([shown]) if (s := _fit(shown, key))}
    caption = "Of each protocol that trains, the fit that was scored, at settings chosen held out"
    if len(shown.group.runs) > 1:
        caption += "; mean over seeds, the band runs from the lowest to the highest"
    drawn = _fit_plots(lines, shown.anchor)
    return figure_group("Training by protocols", f"{caption}." if drawn else "", drawn)


def joint_fits(groups: Sequence[GroupView]) -> dict[str, Any]:
    """All groups in one plot a data set and protocol that trained with several of them."""
    labels = [group.label for group in groups if group.group.runs and _fits([group])]
    lines = {key: [s for g in groups if (s := _fit(g, key))] for key in _fits(groups)}
    lines = {key: found for key, found in lines.items() if 1 < len(found) <= MAX_LINES}
    caption = "The same protocol on the same data, from different encoders; means over seeds."
    return figure_group(
        "Training by protocols, side by side" if lines else "",
        caption if lines else "",
        _fit_plots(lines, "joint", labels),
        line_legend(labels) if lines else (),
    )


def _fits(groups: Sequence[GroupView]) -> list[tuple[str, str]]:
    """Data set and protocol of every fit of some run."""
    return list(dict.fromkeys(key for g in groups for run in g.group.runs for key in run.fits))


def _fit(shown: GroupView, key: tuple[str, str]) -> Series | None:
    return over_seeds(shown.label, [run.fits.get(key, []) for run in shown.group.runs], "loss")


def _fit_plots(
    lines: dict[tuple[str, str], list[Series]], salt: str, labels: Sequence[str] = ()
) -> list[tuple[str, str]]:
    return [
        (
            f"{protocol} on {dataset}: loss",
            plots.curve_plot(
                found, salt=f"{salt}-{dataset}-{protocol}", x="step", y="", labels=labels
            ),
        )
        for (dataset, protocol), found in lines.items()
    ]


def joint_curves(groups: Sequence[GroupView]) -> dict[str, Any]:
    """All groups in one plot a metric; only a sentence where their lines could not be told
    apart."""
    with_log = [g for g in groups if any(run.log for run in g.group.runs)]
    if len(with_log) < 2:
        return figure_group("", "", [])
    title = "Training, side by side"
    if len(with_log) > MAX_LINES:
        sentence = f"{len(with_log)} recipes with a log are more than the {MAX_LINES} that can be "
        return figure_group(title, sentence + "told apart: their curves stand with each.", [])
    lines = {m: [s for g in with_log if (s := _line(g.label, g.group, m))] for m in NAMES}
    lines = {metric: found for metric, found in lines.items() if len(found) > 1}
    labels = [g.label for g in with_log]
    caption = (
        "Mean over seeds, with a band where there are several. Losses of different kinds have "
    )
    return figure_group(
        title,
        caption + "different scales: compare their course, not their level." if lines else "",
        _plots(lines, "joint", labels),
        line_legend(labels),
    )


def _line(label: str, group: RunGroup, metric: str) -> Series | None:
    """Widths may differ between recipes, so the std is shown as a share of an even spread's."""
    if metric != "std":
        return over_seeds(label, [run.log for run in group.runs], metric)
    logs = []
    for run in group.runs:
        if width := run.number("final", "out_dim"):
            points = [p for p in run.log if isinstance(p.get("std"), float)]
            logs.append([{**p, "std": p["std"] * math.sqrt(width)} for p in points])
    return over_seeds(label, logs, metric)


def _plots(
    lines: dict[str, list[Series]], salt: str, labels: Sequence[str] = ()
) -> list[tuple[str, str]]:
    return [
        (
            NAMES[metric],
            plots.curve_plot(
                found,
                salt=f"{salt}-{metric}",
                x="step",
                y="",
                reference=(1.0, "spread evenly") if metric == "std" else None,
                labels=labels,
            ),
        )
        for metric, found in lines.items()
    ]
