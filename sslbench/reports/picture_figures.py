"""Figures of images: neighbours, attention maps, reconstructions, what is near prototypes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
from torch import Tensor

from sslbench.errors import UserError
from sslbench.evaluation.analyses import Analysis
from sslbench.reports.panels import frames, legend
from sslbench.reports.plots import INK, OURS, PUBLISHED, colour, house_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase

CELL = 0.86  # inches, an image
MAX_SIDE = 40  # rows or columns of a grid of images
_OUTLINE = 16  # sub-pixels of a patch, so that an outline follows its sides


def neighbours_figure(analysis: Analysis) -> Figure:
    """A row a query and run: the query, then its nearest training images; a solid blue border
    where the class is the query's, a dashed orange one where it is not, none without labels."""
    summary, points = frames(analysis)
    labels = dict(zip(summary.run, summary.label, strict=True))
    queries = list(dict.fromkeys(points["query"]))
    rows = [(query, run) for query in queries for run in labels]
    figure, grid = _grid(len(rows), 1 + int(points["rank"].max()), captions=True)
    for line, (query, run) in zip(grid, rows, strict=True):
        own = points[(points["query"] == query) & (points.run == run)]
        if own.empty:  # another run, on other data
            continue
        _image(line[0], analysis.pictures[query])
        line[0].set_title(own["class"].iloc[0])
        _row_label(line[0], labels[run] if len(labels) > 1 else "")
        for axes, (_, found) in zip(line[1:], own.iterrows(), strict=False):
            _image(axes, analysis.pictures[str(found.picture)])
            axes.set_title(f"{found.neighbour_class} {found.cosine:.2f}".strip())
            if found.same_class is not None:
                _border(axes, OURS if found.same_class else PUBLISHED, dashed=not found.same_class)
    shares = [
        f"{r.label}: {r.same_class_percent:.1f} %"
        for _, r in summary.iterrows()
        if pd.notna(r.same_class_percent)
    ]
    title = "neighbours of the query's class, over all test images"
    _title(
        figure, [title, *shares] if shares else ["test images, then the nearest training images"]
    )
    return figure


def attention_figure(analysis: Analysis) -> Figure:
    """A row an image and run: the image, then a map a head, bright where attention goes; an
    outline around what holds the kept share of its mass, a frame around the best head.

    Source: Caron et al. 2021, Figs. 1 and 4.
    """
    summary, points = frames(analysis)
    labels = dict(zip(summary.run, summary.label, strict=True))
    rows = [(image, run) for image in dict.fromkeys(points.image) for run in labels]
    figure, grid = _grid(len(rows), 2 + int(points["head"].max()), captions=False)
    for place, (line, (image, run)) in enumerate(zip(grid, rows, strict=True)):
        own = points[(points.image == image) & (points.run == run)]
        if own.empty:
            continue
        _image(line[0], analysis.pictures[image])
        _row_label(line[0], labels[run] if len(labels) > 1 else "")
        for axes, (_, found) in zip(line[1:], own.iterrows(), strict=False):
            name = str(found.picture)
            _map(axes, analysis.pictures[name], analysis.pictures[f"{name} kept"])
            if found.best:
                _border(axes, OURS, dashed=False)
            if place == 0:
                axes.set_title(f"head {found['head']}")
    shares = [
        f"{r.label}: {r.jaccard:.1f} (untrained {r.untrained_jaccard:.1f})"
        for _, r in summary.iterrows()
        if pd.notna(r.jaccard)
    ]
    kept = f"outline: {summary.keep_percent.iloc[0]:g} % of the mass"
    _title(figure, [kept, *(["Jaccard index of the framed head", *shares] if shares else [])])
    return figure


def reconstruction_figure(analysis: Analysis) -> Figure:
    """A row an image and run: the image, then for each share of hidden patches what is seen, and
    that with the prediction in place of what is hidden.

    Source: He et al. 2021 (MAE), Figs. 2 and 4.
    """
    summary, points = frames(analysis)
    labels = dict(zip(summary.run, summary.label, strict=True))
    rows = [(image, run) for image in dict.fromkeys(points.image) for run in labels]
    most = int(points.groupby(["image", "run"]).size().max())
    figure, grid = _grid(len(rows), 1 + 2 * most, captions=True)
    for line, (image, run) in zip(grid, rows, strict=True):
        own = points[(points.image == image) & (points.run == run)]
        if own.empty:
            continue
        _image(line[0], analysis.pictures[image])
        _row_label(line[0], labels[run] if len(labels) > 1 else "")
        for place, (_, found) in enumerate(own.iterrows()):
            seen, filled = line[1 + 2 * place : 3 + 2 * place]
            _image(seen, analysis.pictures[f"{found.picture} seen"])
            _image(filled, analysis.pictures[f"{found.picture} filled"])
            seen.set_title(f"{100 * found.ratio:.3g} % hidden")
            filled.set_title(f"error {found.hidden_mse:.2f}")
    errors = [
        f"{r.label}, {100 * r.ratio:.3g} %: {r.hidden_mse:.2f} ({r.mean_colour_mse:.2f})"
        for _, r in summary.iterrows()
    ]
    _title(figure, ["squared error of hidden pixels (of the visible pixels' mean colour)", *errors])
    return figure


def prototypes_figure(analysis: Analysis) -> Figure:
    """The share of the images that each prototype is nearest to, sorted, a line a head; beside it
    a row of images for each of the most used prototypes, nearest first."""
    from matplotlib.figure import Figure

    _, points = frames(analysis)
    usage, images = points[points.kind == "usage"], points[points.kind == "image"]
    shown = list(dict.fromkeys(zip(images["head"], images.prototype, strict=True)))
    columns = int(images["rank"].max())
    height = max(3.2, CELL * 1.25 * len(shown) + 0.3)
    figure = Figure(figsize=(4.2 + CELL * 1.08 * columns, height), layout="constrained")
    left, right = cast("Any", figure.subfigures(1, 2, width_ratios=[4.2, CELL * 1.08 * columns]))
    axes = left.subplots()
    house_style(axes)
    for place, (number, own) in enumerate(usage.groupby("head")):
        shares = 100 * np.sort(own.value.to_numpy())[::-1]
        axes.plot(
            np.arange(1, len(shares) + 1), shares, color=colour(place), label=f"head {number}"
        )
    even = 100 / len(usage[usage["head"] == usage["head"].iloc[0]])
    axes.axhline(even, color=INK, linewidth=0.8, linestyle=":", label="all alike")
    axes.set_ylim(bottom=0)
    axes.set_box_aspect(0.8)
    axes.set_anchor("N")
    axes.set_xlabel("prototypes, the most used first")
    axes.set_ylabel("nearest to so many images (%)")
    axes.set_title(str(analysis.summary[0]["run"]), color=INK)
    legend(axes)
    grid = _cells(right, len(shown), columns)
    for line, (number, prototype) in zip(grid, shown, strict=True):
        own = images[(images["head"] == number) & (images.prototype == prototype)]
        for cell, (_, found) in zip(line, own.iterrows(), strict=True):
            _image(cell, analysis.pictures[str(found.picture)])
            cell.set_title(f"{found['class']} {found.value:.2f}".strip())
        _row_label(line[0], f"{prototype}" if usage["head"].max() == 0 else f"{number}/{prototype}")
    return figure


def _grid(rows: int, columns: int, *, captions: bool) -> tuple[Figure, list[list[Axes]]]:
    """Empty cells for images in rows."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    height = CELL * (1.25 if captions else 1.08)
    size = (max(3.4, CELL * columns * (1.08 if captions else 1)), height * rows + 0.5)
    layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
    figure = Figure(figsize=size, layout=layout)
    return figure, _cells(figure, rows, columns)


def _cells(figure: FigureBase, rows: int, columns: int) -> list[list[Axes]]:
    if max(rows, columns) > MAX_SIDE:
        raise UserError(
            f"{rows} rows of {columns} images are too many for a figure, which shows at most "
            f"{MAX_SIDE}; ask for fewer images or runs."
        )
    cells = figure.subplots(rows, columns, squeeze=False)
    for axes in cells.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        axes.title.set_fontsize(7)
        axes.title.set_color(INK)
    return [list(line) for line in cells]


def _title(figure: Figure, lines: list[str]) -> None:
    figure.suptitle("\n".join(lines), fontsize=8, color=INK)


def _image(axes: Axes, image: Tensor) -> None:
    axes.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")


def _map(axes: Axes, values: Tensor, kept: Tensor) -> None:
    height, width = values.shape
    extent = (0.0, float(width), float(height), 0.0)
    axes.imshow(values.numpy(), cmap="inferno", interpolation="nearest", extent=extent)
    inside = np.pad(np.kron(kept.numpy(), np.ones((_OUTLINE, _OUTLINE))), 1)
    step = 1 / _OUTLINE
    x, y = (np.arange(-0.5, n * _OUTLINE + 1) * step for n in (width, height))
    axes.contour(x, y, inside, levels=[0.5], colors="#7fd4ff", linewidths=0.8)
    axes.set(xlim=(0, width), ylim=(height, 0))


def _row_label(axes: Axes, label: str) -> None:
    axes.set_ylabel(label, fontsize=7, color=INK)


def _border(axes: Axes, color: str, *, dashed: bool) -> None:
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color(color)
    axes.spines[:].set_linewidth(2)
    axes.spines[:].set_capstyle("butt")
    axes.spines[:].set_linestyle((0, (2.5, 1.5)) if dashed else "-")
