"""The figure of a run's stability: gradients by layer beside the kNN curve."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from sslbench.evaluation.analyses import Analysis
from sslbench.reports.panels import frames, legend, panels_of
from sslbench.reports.plots import INK, OURS, PUBLISHED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMED = 6  # layers in the legend: the first, the last, and some between


def stability_figure(analysis: Analysis) -> Figure:
    """A row a run: the maximum of each layer's gradient over the median of its maxima, from the
    first layer (dark) to the heads (light); and the kNN curve with its dips. Spikes are shaded in
    both.

    Source: Chen et al. 2021, arXiv:2104.02057, Figs. 1 and 4.
    """
    summary, points = frames(analysis)
    figure, panels = panels_of(2 * len(summary), width=4.6, height=2.7, columns=2)
    for row, (_, record) in enumerate(summary.iterrows()):
        own = points[points.run == record.run]
        gradients, curve = panels[2 * row : 2 * row + 2]
        _gradients(gradients, own[own.kind == "maximum"])
        _curve(curve, own[own.kind == "knn"], own[own.kind == "dip"])
        for axes in (gradients, curve):
            for _, spike in own[own.kind == "spike"].iterrows():
                axes.axvspan(spike.begin, spike.step, color=PUBLISHED, alpha=0.25, linewidth=0)
            axes.set_xlabel("step")
            axes.set_xlim(0, own.step.max())
        plural = "" if record.spikes == 1 else "s"
        gradients.set_title(f"{record.label}: {record.spikes} spike{plural}")
        curve.set_title(f"{record.dips_with_spike} of {record.dips} dips with a spike")
    return figure


def _gradients(axes: Axes, maxima: pd.DataFrame) -> None:
    from matplotlib import colormaps

    layers = list(dict.fromkeys(maxima.layer))
    last = max(1, len(layers) - 1)
    named = {layers[round(i * last / (NAMED - 1))] for i in range(NAMED) if last} & set(layers)
    for place, layer in enumerate(layers):
        own = maxima[maxima.layer == layer]
        axes.plot(
            own.step, own.value / max(own.value.median(), 1e-30), linewidth=1.2,
            color=colormaps["cividis"](0.9 * place / last),
            label=layer if layer in named or len(layers) <= NAMED else f"_{layer}",
        )  # fmt: skip
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.minorticks_off()
    axes.set_ylabel("gradient norm over its median")
    legend(axes)


def _curve(axes: Axes, curve: pd.DataFrame, dips: pd.DataFrame) -> None:
    axes.plot(curve.step, curve.value, ".-", color=OURS, linewidth=1.2, markersize=4)
    for _, dip in dips.iterrows():
        part = curve[curve.step.between(dip.begin, dip.step)]
        axes.plot(part.step, part.value, color=INK, linewidth=2)
    axes.set_ylabel("kNN monitor, top-1 (%)")
