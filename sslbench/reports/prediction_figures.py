"""Figures of predictions on test images beside the truth: boxes, masks, maps, depth, labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from sslbench.evaluation.analyses import Analysis
from sslbench.evaluation.analyses.predictions import image_name
from sslbench.reports.display import number
from sslbench.reports.panels import short_names
from sslbench.reports.plots import INK, OURS, PUBLISHED
from sslbench.reports.sheets import Sheet, caption, class_colours, sheet, show_image, show_map

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Record = dict[str, Any]
Box = tuple[float, float, float, float]  # left, top, right, bottom
MEASURES = {
    "f1": ("F1", 0),
    "mask_f1": ("mask F1", 0),
    "iou": ("IoU", 0),
    "abs_rel": ("AbsRel", 3),
    "ranking_ap": ("AP", 0),
}  # what is said of an image, and to how many digits
STYLES: dict[str, Any] = {
    "found": "-", "right": "-", "missed": (0, (3, 2)), "wrong": (0, (3, 2)), "crowd": (0, (1, 1.2)),
}  # fmt: skip
VOID, VOID_COLOUR = 255, "#9a9a9a"
GROUND, GROUND_COLOUR = 0, "#ffffff"  # none of the classes
_LETTER, _TALL = 7.4, 17.0  # pixels of the file that a name's letters take, at its size
_MARKS = {"right": ("✓", OURS), "wrong": ("✗", PUBLISHED), "doubtful": ("?", INK)}


@dataclass(frozen=True)
class Shown:
    """One test image as one run predicts it: its line of the summary, its points and pictures."""

    label: str
    record: Record
    points: list[Record]
    pictures: dict[str, Tensor]

    def title(self, several: bool) -> str:
        """What stands above the prediction."""
        (key,) = [name for name in MEASURES if name in self.record]
        word, digits = MEASURES[key]
        value = self.record[key]
        said = "nothing to judge" if math.isnan(value) else f"{word} {number(value, digits)}"
        return f"{self.label if several else 'prediction'} · {said}"


def objects_figure(analysis: Analysis) -> Figure:
    """A group an image: the true objects, then each run's detections; boxes, or masks where there
    are some, in the colour of their class. Dashed is what is missed or wrong."""
    from matplotlib.lines import Line2D

    colours = class_colours([point["label"] for point in analysis.points])
    page, groups = _page(analysis, before=("truth",), foot_lines=1)
    for panels, (image, runs) in zip(page.groups, groups, strict=True):
        alone = len(panels) == 2
        for axes in panels:
            show_image(axes, image)
        known = next(run for run in runs if run is not None)
        true = [point for point in known.points if point["side"] == "truth"]
        _objects(panels[0], known, true, colours, fates=alone)
        for axes, run in zip(panels[1:], runs, strict=True):
            if run is not None:
                found = [point for point in run.points if point["side"] == "prediction"]
                _objects(axes, run, found, colours, fates=True)
    names = {"right": "right or found", "wrong": "wrong or missed", "crowd": "crowd, not counted"}
    there = {point["verdict"] for point in analysis.points}
    page.legend(
        [Line2D([], [], color=INK, linestyle=STYLES[word], label=text)
         for word, text in names.items() if word != "crowd" or word in there],
        columns=3,
    )  # fmt: skip
    return page.figure


def segmentation_figure(analysis: Analysis) -> Figure:
    """A group an image: the image, the true map of classes, then each run's, with a legend."""
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Patch

    kinds = {point["value"]: point["class"] for point in analysis.points}
    shades = class_colours([kind - 1 for kind in kinds if kind])
    colours = {label + 1: shade for label, shade in shades.items()}
    colours |= {VOID: VOID_COLOUR, GROUND: GROUND_COLOUR}
    table = np.ones((256, 3))
    for kind, shade in colours.items():
        table[kind] = to_rgb(shade)
    legend = sorted(kinds.items())
    page, groups = _page(analysis, before=("image", "truth"), foot_lines=1 + len(legend) // 6)
    void = False
    for panels, (image, runs) in zip(page.groups, groups, strict=True):
        show_image(panels[0], image)
        maps = _maps(runs)
        void = void or any(bool((shown == VOID).any()) for shown in maps if shown is not None)
        for axes, shown in zip(panels[1:], maps, strict=True):
            if shown is not None:
                show_map(axes, table[shown.numpy()])
                _frame(axes)
    handles = [Patch(facecolor=colours[kind], edgecolor=INK, linewidth=0.4, label=name)
               for kind, name in legend]  # fmt: skip
    handles += [Patch(facecolor=VOID_COLOUR, label="void")] if void else []
    page.legend(handles, columns=6)
    return page.figure


def depth_figure(analysis: Analysis) -> Figure:
    """A group an image: the image, its true depth, then each run's; one range for all, that of the
    true depth, and grey where that is not known."""
    from matplotlib import colormaps

    page, groups = _page(analysis, before=("image", "truth"), foot_lines=2)
    true = np.concatenate(
        [v.numpy().ravel() for name, v in analysis.pictures.items() if name.endswith(" truth")]
    )
    known = true[np.isfinite(true)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    colours = colormaps["viridis_r"].with_extremes(bad=VOID_COLOUR)
    style = {"cmap": colours, "vmin": low, "vmax": high}
    for panels, (image, runs) in zip(page.groups, groups, strict=True):
        show_image(panels[0], image)
        maps = _maps(runs)
        for axes, shown in zip(panels[1:], maps, strict=True):
            if shown is not None:
                drawn = show_map(axes, shown.numpy(), **style)
    strip = page.strip(left=0, width=420, height=16)
    page.figure.colorbar(drawn, cax=strip, orientation="horizontal", extend="both")
    strip.tick_params(labelsize=7, colors=INK, length=2)
    strip.text(1.1, 0.5, "depth", fontsize=7, color=INK, va="center", transform=strip.transAxes)
    return page.figure


def labels_figure(analysis: Analysis) -> Figure:
    """A group an image: the image, then each run's surest classes with a check mark where they are
    right, and below them the true classes that are not among those."""
    page, groups = _page(analysis, before=("image",), foot_lines=1, wide=1.2)
    for panels, (image, runs) in zip(page.groups, groups, strict=True):
        show_image(panels[0], image)
        for axes, run in zip(panels[1:], runs, strict=True):
            if run is not None:
                _list(axes, run.points)
    doubt = "; ? doubtful" * any(point["verdict"] == "doubtful" for point in analysis.points)
    page.note(f"✓ in the image; ✗ not{doubt}; pale: the score is not above 0")
    return page.figure


def _page(
    analysis: Analysis, *, before: Sequence[str], foot_lines: int, wide: float = 1.0
) -> tuple[Sheet, list[tuple[Tensor, list[Shown | None]]]]:
    """Captioned panels, and what belongs on them: an image, and each run that has it.

    Args:
        before: what the panels of a group show before those of the runs.
        wide: the width of a run's panel, in images' sides.
    """
    names = list(dict.fromkeys(record["run"] for record in analysis.summary))
    labels = short_names(names)
    lines = {(image_name(record), record["run"]): record for record in analysis.summary}
    images = list(dict.fromkeys(image for image, _ in lines))
    widths = [1.0] * len(before) + [wide] * len(names)
    side = max(analysis.pictures[image].shape[-1] for image in images)
    head = [_relabelled(note, labels) for note in analysis.notes]
    page = sheet(len(images), widths, side=side, head=head, foot_lines=foot_lines)
    groups: list[tuple[Tensor, list[Shown | None]]] = []
    for panels, image in zip(page.groups, images, strict=True):
        found = [_shown(analysis, labels[name], lines.get((image, name))) for name in names]
        groups.append((analysis.pictures[image], found))
        number = next(run.record["image"] for run in found if run is not None)
        caption(panels[0], f"test {number}" + f" · {before[0]}" * (before[0] != "image"))
        for axes, word in zip(panels[1:], before[1:], strict=False):
            caption(axes, word)
        for axes, run in zip(panels[len(before) :], found, strict=True):
            if run is not None:
                caption(axes, run.title(len(names) > 1))
    return page, groups


def _maps(runs: Sequence[Shown | None]) -> list[Tensor | None]:
    """The true map, and each run's predicted one."""
    true = next(run.pictures["truth"] for run in runs if run is not None)
    return [true, *(None if run is None else run.pictures["prediction"] for run in runs)]


def _relabelled(text: str, labels: Mapping[str, str]) -> str:
    for name, label in labels.items():
        text = text.replace(name, label)
    return text


def _shown(analysis: Analysis, label: str, record: Record | None) -> Shown | None:
    if record is None:
        return None
    points = [
        point for point in analysis.points
        if all(point[key] == record[key] for key in ("run", "dataset", "image"))
    ]  # fmt: skip
    start = f"{record['run']} {image_name(record)} "
    pictures = {name.removeprefix(start): picture for name, picture in analysis.pictures.items()
                if name.startswith(start)}  # fmt: skip
    return Shown(label, record, points, pictures)


def _objects(
    axes: Axes, shown: Shown, points: list[Record], colours: dict[int, str], *, fates: bool
) -> None:
    """Boxes or masks with their names; the largest first, so that none hides another's name."""

    def area(point: Record) -> float:
        return float((point["right"] - point["left"]) * (point["bottom"] - point["top"]))

    taken: list[Box] = []
    for point in sorted(points, key=area, reverse=True):
        colour = colours[point["label"]]
        style = STYLES[point["verdict"]] if fates or point["verdict"] == "crowd" else "-"
        if point["picture"]:
            name = str(point["picture"]).removeprefix(f"{point['run']} {image_name(point)} ")
            _mask(axes, shown.pictures[name].numpy(), colour, style)
        else:
            _box(axes, point, colour, style)
        score = f" {point['score']:.2f}"[: 0 if point["side"] == "truth" else None]
        _name(axes, point, f"{point['class']}{score}", colour, taken)


def _box(axes: Axes, point: Record, colour: str, style: Any) -> None:
    from matplotlib.patches import Rectangle

    left, top, right, bottom = (point[key] for key in ("left", "top", "right", "bottom"))
    for color, width, dashes in (("white", 2.6, "-"), (colour, 1.5, style)):
        axes.add_patch(
            Rectangle(
                (left, top), right - left, bottom - top, fill=False, edgecolor=color,
                linewidth=width, linestyle=dashes, clip_on=False,
            )
        )  # fmt: skip


def _mask(axes: Axes, mask: np.ndarray[Any, Any], colour: str, style: Any) -> None:
    from matplotlib.colors import to_rgba

    shade = np.zeros((*mask.shape, 4))
    shade[mask] = to_rgba(colour, 0.45)
    show_map(axes, shade)
    if not mask.any():
        return
    fine = 16  # sub-pixels, so that an outline follows the sides of the pixels
    inside = np.pad(np.kron(mask, np.ones((fine, fine))), 1)
    x, y = (np.arange(-0.5, n * fine + 1) / fine for n in mask.shape[::-1])
    strokes: tuple[tuple[str, float, Any], ...] = (("white", 2.2, "-"), (colour, 1.2, style))
    for color, width, dashes in strokes:
        outline = axes.contour(x, y, inside, levels=[0.5], colors=color, linewidths=width)
        outline.set_linestyle([dashes])


def _name(axes: Axes, point: Record, text: str, colour: str, taken: list[Box]) -> None:
    """At a corner of an object, inside the image, and where it can be beside other names."""
    from matplotlib.colors import to_rgb

    width, height = axes.get_xlim()[1], axes.get_ylim()[0]
    unit = width / axes.get_window_extent().width  # of a pixel of the file
    size = (unit * (_LETTER * len(text) + 4), unit * _TALL)
    left, top, right, bottom = (point[key] for key in ("left", "top", "right", "bottom"))
    places = [(x, y) for y in (top - size[1], bottom, top) for x in (left, right - size[0])]
    boxes = [
        (x, y, x + size[0], y + size[1])
        for x, y in ((min(max(x, 0), width - size[0]), min(max(y, 0), height - size[1]))
                     for x, y in places)
    ]  # fmt: skip
    box = min(boxes, key=lambda own: sum(_shared(own, other) for other in taken))
    taken.append(box)
    dark = float(np.dot(to_rgb(colour), (0.299, 0.587, 0.114))) < 0.55
    axes.text(
        (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, text, fontsize=5.5, ha="center", va="center",
        color="white" if dark else "black",
        bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.8},
    )  # fmt: skip


def _shared(a: Box, b: Box) -> float:
    """The area that two boxes have in common."""
    sides = [max(0.0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1)]
    return sides[0] * sides[1]


def _list(axes: Axes, points: list[Record]) -> None:
    """Ranked classes as lines of text."""
    lines = max(7, len(points) + 1)
    for place, point in enumerate(points):
        mark, colour = _MARKS[point["verdict"]]
        y = 1 - (place + 0.6) / lines
        style: Record = {"va": "center", "transform": axes.transAxes}
        style["alpha"] = 1.0 if point["score"] > 0 else 0.5
        rank = f" (rank {point['rank']})" * (point["rank"] > place + 1)
        axes.text(0.04, y, mark, color=colour, fontsize=9, **style)
        axes.text(0.13, y, f"{point['class']}{rank}", fontsize=7, color=INK, **style)
        score = number(point["score"], 2)
        axes.text(0.98, y, score, fontsize=7, color=INK, ha="right", **style)


def _frame(axes: Axes) -> None:
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color(INK)
    axes.spines[:].set_linewidth(0.4)


PREDICTIONS: dict[str, Callable[[Analysis], Figure]] = {
    "predictions-detection": objects_figure,
    "predictions-instance": objects_figure,
    "predictions-segmentation": segmentation_figure,
    "predictions-depth": depth_figure,
    "predictions-multilabel": labels_figure,
}
