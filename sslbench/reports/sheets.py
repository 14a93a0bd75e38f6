"""Sheets of images with what was predicted on them: groups of panels, each image at a whole
multiple of its pixels, so that all of its pixels are drawn equally large."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from sslbench.errors import UserError
from sslbench.reports.plots import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_GROUPS = 40
_DPI = 160  # of the PNG files; everything here is counted in their pixels
_SIDE = 256  # of an image, or the nearest whole multiple
_WIDE = 1680  # a sheet, at most, where a group fits
_GAP, _BETWEEN, _MARGIN = 10, 40, 24  # from panel to panel, group to group, and at the rim
_CAPTION, _LINE = 34, 24  # heights above a panel, and of a line of text
_CHARACTER = 10.5  # the mean width of one

# Okabe and Ito's seven hues, then those that lie farthest from all before them, also as people see
# them who lack red or green cones (simulated after Machado et al. 2009): of any two CIELAB differs
# by 26 or more, and by 14 or more as those people see them.
CLASS_COLOURS = (
    "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#4b3cd2",
    "#4b3c00", "#87f078", "#e10f4b", "#870078", "#b4e1a5", "#6987ff", "#870f3c", "#1ee1f0",
    "#c3964b", "#d200b4", "#007878", "#3c692d",
)  # fmt: skip


def class_colours(labels: Sequence[int]) -> dict[int, str]:
    """A colour for each class that is shown: always the same one where the labels are few enough,
    or else by its place among them."""
    shown = sorted(set(labels))
    few = not shown or shown[-1] < len(CLASS_COLOURS)
    return {
        label: CLASS_COLOURS[(label if few else place) % len(CLASS_COLOURS)]
        for place, label in enumerate(shown)
    }


@dataclass(frozen=True)
class Sheet:
    """A figure with a list of panels for every group, and room for some lines below them."""

    figure: Figure
    groups: list[list[Axes]]
    foot: int

    def legend(self, handles: Sequence[Any], *, columns: int) -> None:
        """Explain marks below the groups, row by row."""
        handles = [handle for place in range(columns) for handle in handles[place::columns]]
        self.figure.legend(
            handles=handles, loc="upper left", bbox_to_anchor=self._at(_MARGIN, self.foot),
            ncols=columns, frameon=False, fontsize=7, borderaxespad=0, borderpad=0,
            columnspacing=1.4, handlelength=2.2, labelcolor=INK,
        )  # fmt: skip

    def note(self, text: str) -> None:
        """A line of text below the groups."""
        x, y = self._at(_MARGIN, self.foot)
        self.figure.text(x, y, text, va="top", fontsize=7, color=INK)

    def strip(self, *, left: int, width: int, height: int) -> Axes:
        """Axes in the room below the groups."""
        x, y = self._at(_MARGIN + left, self.foot - height)
        w, h = self._at(width, height)
        return self.figure.add_axes((x, y, w, h))

    def _at(self, x: float, y: float) -> tuple[float, float]:
        width, height = self.figure.get_size_inches() * _DPI
        return x / width, y / height


def sheet(
    groups: int, widths: Sequence[float], *, side: int, head: Sequence[str], foot_lines: int
) -> Sheet:
    """Empty panels without ticks.

    Args:
        widths: of each panel of a group, in images' sides.
        side: of the images, in pixels of their own.
        head: sentences above all, which are wrapped.
        foot_lines: lines of text that there is room for below all.
    Raises:
        UserError: too many groups.
    """
    from matplotlib.figure import Figure

    if groups > MAX_GROUPS:
        raise UserError(f"{groups} images are too many for a figure; show at most {MAX_GROUPS}.")
    size = side * max(1, round(_SIDE / side))
    sizes = [round(size * width) for width in widths]
    own = sum(sizes) + _GAP * (len(sizes) - 1)
    columns = max(1, min(2, groups, (_WIDE - 2 * _MARGIN + _BETWEEN) // (own + _BETWEEN)))
    rows = math.ceil(groups / columns)
    width = 2 * _MARGIN + columns * own + (columns - 1) * _BETWEEN
    lines = [line for text in head for line in textwrap.wrap(text, int(width / _CHARACTER))]
    foot = _LINE // 2 + _LINE * foot_lines
    above = _MARGIN // 2 + _LINE * len(lines)
    height = above + rows * (_CAPTION + size + _GAP) + foot
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    for number, line in enumerate(lines):
        y = height - _MARGIN // 2 - _LINE * number
        figure.text(_MARGIN / width, y / height, line, va="top", fontsize=8, color=INK)
    found = []
    for place in range(groups):
        left = _MARGIN + (place % columns) * (own + _BETWEEN)
        bottom = height - above - (place // columns + 1) * (_CAPTION + size + _GAP) + _GAP
        panels = []
        for wide in sizes:
            axes = figure.add_axes((left / width, bottom / height, wide / width, size / height))
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            panels.append(axes)
            left += wide + _GAP
        found.append(panels)
    return Sheet(figure, found, foot)


def show_image(axes: Axes, image: Tensor) -> None:
    """uint8 3×H×W, whose pixels are the axes' units."""
    _, height, width = image.shape
    axes.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest", extent=_extent(image))
    axes.set(xlim=(0, width), ylim=(height, 0))


def show_map(axes: Axes, values: np.ndarray[Any, Any], **style: Any) -> Any:
    """A map h×w, or h×w×4 as colours, in the same way."""
    height, width = values.shape[:2]
    extent = (0.0, float(width), float(height), 0.0)
    shown = axes.imshow(values, interpolation="nearest", extent=extent, **style)
    axes.set(xlim=(0, width), ylim=(height, 0))
    return shown


def caption(axes: Axes, text: str) -> None:
    """What a panel shows, above it."""
    axes.set_title(text, loc="left", fontsize=7, color=INK, pad=3)


def _extent(image: Tensor) -> tuple[float, float, float, float]:
    return 0.0, float(image.shape[2]), float(image.shape[1]), 0.0
