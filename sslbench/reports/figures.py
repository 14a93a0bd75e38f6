"""Figures of the analyses: what `Analysis` lists, drawn; `FIGURES` is the index."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from sslbench.evaluation.analyses import Analysis
from sslbench.evaluation.analyses.per_class import PER_CLASS
from sslbench.reports.display import number
from sslbench.reports.panels import frames, legend, panels_of
from sslbench.reports.per_class_figure import per_class_figure
from sslbench.reports.picture_figures import (
    attention_figure,
    neighbours_figure,
    prototypes_figure,
    reconstruction_figure,
)
from sslbench.reports.plots import INK, OURS, PALETTE, PUBLISHED, colour, log2_axis
from sslbench.reports.prediction_figures import PREDICTIONS
from sslbench.reports.stability_figure import stability_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLASSES = 4  # of the circle figure
SHARE_FLOOR = 1e-12  # of the spectrum: what is below is rounding
MARKERS = {"self-supervised": "o", "supervised": "^", "not trained here": "s"}


def similarity_figure(analysis: Analysis) -> Figure:
    """A panel a run: the distribution of positives, and of the nearest to tenth-nearest negative.

    Source: Wang and Liu 2021, Fig. 8.
    """
    summary, points = frames(analysis)
    figure, panels = panels_of(len(summary), width=4.2, height=2.9, columns=2, sharey=True)
    for axes, (_, record) in zip(panels, summary.iterrows(), strict=True):
        own = points[points.run == record.run]
        names = list(dict.fromkeys(own.series))
        for place, name in enumerate(names):
            series = own[own.series == name]
            _violin(axes, place, series, color=OURS if name == "pos" else PUBLISHED)
        axes.set_xticks(range(len(names)), names)
        axes.grid(axis="x", visible=False)
        known = pd.notna(record.tolerance)
        axes.set_title(f"{record.label}{f': tolerance {record.tolerance:.2f}' if known else ''}")
        axes.set_ylabel(f"cosine ({record.space})")
    return figure


def hypersphere_figure(analysis: Analysis) -> Figure:
    """A row a run: distances of positives, then densities over the circle: all, and four classes.

    Source: Wang and Isola 2020, Fig. 3.
    """
    summary, points = frames(analysis)
    most = points[points.kind == "angle"].groupby("run")["group"].nunique().max() - 1
    columns = 2 + min(CLASSES, most)  # distances, all images, classes
    figure, panels = panels_of(len(summary) * columns, width=2.05, height=2.35, columns=columns)
    for row, (_, record) in enumerate(summary.iterrows()):
        own = points[points.run == record.run]
        first, *circles = panels[row * columns : (row + 1) * columns]
        _distances(first, own[own.kind == "distance"], record)
        angle = own[own.kind == "angle"]
        groups = list(dict.fromkeys(angle.group))[1 : 1 + CLASSES]  # the first is all images
        scale = 0.8 / max(angle[angle.group.isin(["", *groups])].density.max(), 1e-9)
        for axes in circles[1 + len(groups) :]:
            axes.set_visible(False)
        for i, (axes, group) in enumerate(zip(circles, ["", *groups], strict=False)):
            images = own[(own.kind == "image") & (own.group.isin([group]) if group else True)]
            hue = colour(i - 1) if group else PALETTE[-1]
            _circle(axes, angle[angle.group == group], images.x, scale=scale, color=hue)
            axes.set_title(group or "all images")
        what = f"{record.plane}\n{record.plane_percent:.0f} % of the variance"
        circles[0].set_xlabel("the features themselves" if record.plane == "features" else what)
    return figure


def landscape_figure(analysis: Analysis) -> Figure:
    """A panel a data set: alignment and uniformity of every run, its accuracy as colour.

    Source: Wang and Isola 2020, Fig. 5.
    """
    summary = pd.DataFrame(analysis.summary)
    sets = list(dict.fromkeys(summary.dataset))
    figure, panels = panels_of(len(sets), width=4.4, height=3.5, columns=2)
    for axes, name in zip(panels, sets, strict=True):
        own = summary[summary.dataset == name]
        limits = {"vmin": own.top1.min(), "vmax": own.top1.max()}
        for kind, marker in MARKERS.items():
            part = own[own.kind == kind]
            if len(part):
                marks = axes.scatter(
                    part.alignment, part.uniformity, c=part.top1, marker=marker, label=kind,
                    cmap="cividis_r", edgecolors=INK, linewidths=0.5, s=36, **limits,
                )  # fmt: skip
        figure.colorbar(marks, ax=axes, label="top-1 (%)").outline.set_visible(False)
        axes.set_xlabel("alignment loss (0 is perfect)")
        axes.set_ylabel("uniformity loss (lower is more even)")
        axes.set_title(f"{name}: {len(own)} encoders")
        for handle in legend(axes).legend_handles:  # marks tell the kind, not the accuracy
            cast("Any", handle).set_facecolor("none")
    return figure


def spectrum_figure(analysis: Analysis) -> Figure:
    """A line a run: singular values of the covariance over the largest, sorted, logarithmic.

    Source: Jing et al. 2021, Fig. 2.
    """
    summary, points = frames(analysis)
    figure, (axes,) = panels_of(1, width=5.6, height=3.6, columns=1)
    for i, (_, record) in enumerate(summary.iterrows()):
        own = points[points.run == record.run]
        label = f"{record.label}: effective rank {record.effective_rank:.1f}"
        label += "" if record.collapse == "none" else f", {record.collapse} collapse"
        shares = own.of_the_largest.where(own.of_the_largest > SHARE_FLOOR)
        axes.plot(own["index"], shares, color=colour(i), linewidth=1.5, label=label)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"1e{round(math.log10(value))}")
    axes.minorticks_off()
    axes.set_xlabel("singular values of the covariance, sorted")
    axes.set_ylabel("share of the largest")
    axes.set_title(f"{summary.space.iloc[0]} of test images")
    legend(axes)
    return figure


def coupling_figure(analysis: Analysis) -> Figure:
    """The mean of q_B and its coefficient of variation by batch size, a line a run; then a panel a
    run with the distribution of q_B.

    Source: Yeh et al. 2021, Fig. 1.
    """
    from matplotlib import colormaps

    summary, points = frames(analysis)
    runs = list(dict.fromkeys(summary.run))
    columns = 3 if len(runs) == 1 else 2
    figure, (mean, variation, *panels) = panels_of(
        2 + len(runs), width=3.5, height=2.8, columns=columns
    )
    for i, run in enumerate(runs):
        own = summary[summary.run == run]
        label = f"{own.label.iloc[0]}, temperature {own.temperature.iloc[0]:g}"
        for axes, values in ((mean, own["mean"]), (variation, own.variation)):
            axes.plot(own.batch_size, values, "o-", color=colour(i), markersize=4, label=label)
        sizes = list(own.batch_size)
        density = points[points.run == run]
        for j, size in enumerate(sizes):
            part = density[density.batch_size == size]
            shade = colormaps["cividis"](0.9 - 0.85 * j / max(1, len(sizes) - 1))
            height = part.density / part.density.max()
            panels[i].plot(part.multiplier, height, color=shade, linewidth=1.4, label=size)
        panels[i].set_xlim(density[density.density > 0].multiplier.quantile(0.02), 1)
        panels[i].set_xlabel("q_B")
        panels[i].set_ylabel("density over its maximum")
        panels[i].set_title(own.label.iloc[0])
        legend(panels[i], title="batch size")
    for axes, name in ((mean, "mean of q_B"), (variation, "coefficient of variation of q_B")):
        log2_axis(axes, sorted(set(summary.batch_size)))
        axes.set_xlabel("batch size")
        axes.set_ylabel(name)
    legend(mean)
    return figure


def sampling_bias_figure(analysis: Analysis) -> Figure:
    """False negatives by batch size; the loss by estimate of its negative term; cosines.

    Source: Chuang et al. 2020, Figs. 1 and 2 (there the consequence for accuracy).
    """
    summary, points = frames(analysis)
    once = summary.drop_duplicates("batch_size")
    figure, (share, losses, cosines) = panels_of(3, width=3.6, height=3.1, columns=3)
    names = {"false_percent": "share of negatives", "any_false_percent": "anchors that meet one"}
    for i, (key, name) in enumerate(names.items()):
        expected, measured = once[f"{key}_expected"], once[key]
        share.plot(once.batch_size, expected, color=colour(i), label=f"{name}, expected")
        share.plot(once.batch_size, measured, "o", color=colour(i), label=f"{name}, measured",
                   markersize=4)  # fmt: skip
    share.set_title("false negatives")
    share.set_ylabel("%")
    marks: dict[str, Any] = {"markersize": 4}
    losses.plot(once.batch_size, once.loss_biased, "o-", color=PALETTE[1], label="biased", **marks)
    for j, (prior, own) in enumerate(summary.groupby("class_prior")):
        label = f"debiased, prior {prior:.3g}"
        style = "o" + ("-", "--", ":", "-.")[j % 4]
        at_prior = own.any_false_percent_at_prior
        share.plot(own.batch_size, at_prior, style[1:], color=INK, linewidth=0.8, zorder=1,
                   label=f"the same at a prior of {prior:.3g}")  # fmt: skip
        losses.plot(
            own.batch_size, own.loss_debiased, style, color=PALETTE[0], label=label, **marks
        )
    losses.plot(
        once.batch_size, once.loss_unbiased, "o-", color=PALETTE[2], label="unbiased", **marks
    )
    losses.set_title(f"{once.label.iloc[0]}, temperature {once.temperature.iloc[0]:g}")
    losses.set_ylabel("loss (nats)")
    for axes in (share, losses):
        log2_axis(axes, sorted(set(summary.batch_size)))
        axes.set_xlabel("batch size")
    for i, (group, own) in enumerate(points.groupby("group", sort=False)):
        cosines.plot(own.cosine, own.density, color=colour(i), label=group)
    cosines.set_title("cosines by kind of pair")
    cosines.set_xlabel(f"cosine ({once.space.iloc[0]})")
    cosines.set_ylabel("density")
    for axes in (share, losses, cosines):
        legend(axes)
    return figure


FIGURES: dict[str, Callable[[Analysis], Figure]] = {
    "similarity": similarity_figure,
    "hypersphere": hypersphere_figure,
    "landscape": landscape_figure,
    "spectrum": spectrum_figure,
    "coupling": coupling_figure,
    "sampling-bias": sampling_bias_figure,
    "neighbours": neighbours_figure,
    "attention": attention_figure,
    "reconstruction": reconstruction_figure,
    "prototypes": prototypes_figure,
    "stability": stability_figure,
    **PREDICTIONS,
    **dict.fromkeys((f"per-class-{task}" for task in PER_CLASS), per_class_figure),
}


def _violin(axes: Axes, place: int, series: pd.DataFrame, *, color: str) -> None:
    density, cosine = series.density.to_numpy(), series.cosine.to_numpy()
    half = 0.42 * density / density.max()
    shown = np.flatnonzero(density)  # no hairline where nothing lies
    part = slice(max(0, shown[0] - 1), shown[-1] + 2)
    axes.fill_betweenx(
        cosine[part], place - half[part], place + half[part], color=color, alpha=0.75, linewidth=0
    )
    mean = float((cosine * density).sum() / density.sum())
    axes.plot([place - 0.2, place + 0.2], [mean, mean], color=INK, linewidth=1)


def _distances(axes: Axes, series: pd.DataFrame, record: Any) -> None:
    axes.fill_between(series.x, series.density, color=OURS, alpha=0.6, linewidth=0, step="mid")
    axes.set_xlim(0, 2)
    axes.set_yticks([])
    axes.grid(axis="y", visible=False)
    axes.set_title(record.label)
    axes.set_xlabel(
        "distance of positives\n"
        f"align. {number(record.alignment, 2)}, unif. {number(record.uniformity, 2)}"
    )


def _circle(
    axes: Axes, series: pd.DataFrame, images: pd.Series, *, scale: float, color: str
) -> None:
    """Density as a rim outside the unit circle, images as dots on it; dashed: an even spread."""
    angle, rim = series.x.to_numpy(), 1 + scale * series.density.to_numpy()
    x, y = np.cos(angle), np.sin(angle)
    axes.fill(
        np.concatenate([x * rim, x[::-1]]), np.concatenate([y * rim, y[::-1]]),
        color=color, alpha=0.6, linewidth=0,
    )  # fmt: skip
    even = 1 + scale / (2 * math.pi)
    axes.plot(x, y, color=INK, linewidth=0.6)
    axes.plot(even * x, even * y, color=INK, linewidth=0.6, linestyle=":")
    axes.plot(0.93 * np.cos(images), 0.93 * np.sin(images), ".", color=color, markersize=1.5)
    axes.set(aspect="equal", xlim=(-1.85, 1.85), ylim=(-1.85, 1.85), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
