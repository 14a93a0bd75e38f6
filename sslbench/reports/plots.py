"""Plots as small SVG text that takes its ink from the page, so one file serves light and dark."""

from __future__ import annotations

import hashlib
import io
import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sslbench.reports.curves import Series
from sslbench.reports.display import number, shown_value, table_key, with_unit
from sslbench.tables.results import MeasuredColumn, MeasuredRow, MeasuredTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Eight hues that keep a contrast of 3:1 on white and on near-black, then repeated dashed.
PALETTE = (
    "#2f7fc1",
    "#d2691e",
    "#2a9d6f",
    "#c24d8e",
    "#a07f12",
    "#7d6bd0",
    "#cf4a4a",
    "#7f8790",
)
INK = "#010203"  # stands for the page's text colour until `to_svg` replaces it
OURS, PUBLISHED = PALETTE[0], PALETTE[1]
MAX_ROWS = 24  # more rows become a scatter plot of ours against published
MAX_MARKS = 500  # more are drawn as pixels


def colour(index: int) -> str:
    """The colour of the line of that index."""
    return PALETTE[index % len(PALETTE)]


def dashed(index: int) -> bool:
    """Whether the line of that index is dashed because its colour is used a second time."""
    return index >= len(PALETTE)


def against_published(table: MeasuredTable) -> list[str]:
    """An SVG a column: ours with its interval beside the published value, row by row."""
    out = []
    for column in table.columns:
        pairs = [
            _Pair(row.label, cell.mean, cell.interval or 0.0, cell.published)
            for row in table.rows
            if (cell := row.cells.get(column.key))
            and cell.mean is not None
            and cell.published is not None
            and cell.comparable
        ]
        if len(pairs) >= 2:
            draw = _dots if len(pairs) <= MAX_ROWS else _scatter
            out.append(draw(pairs, column, salt=f"{table_key(table)}-{column.key}"))
    return out


def curve_plot(
    lines: Sequence[Series],
    *,
    salt: str,
    x: str,
    y: str,
    log2: bool = False,
    reference: tuple[float, str] | None = None,
    labels: Sequence[str] = (),
) -> str:
    """Lines with bands as SVG; published lines are dashed with hollow marks and share the colour
    of our line of the same label. `reference` is a labelled level; `labels` those that come first
    in the order of colours, so that plots which lack a line share a legend."""
    figure, axes = new_figure(3.35, 2.6)
    labels = list(dict.fromkeys([*labels, *(line.label for line in lines)]))
    for line in lines:
        index = labels.index(line.label)
        style: dict[str, Any] = {"color": colour(index), "linewidth": 1.5}
        style["linestyle"] = "--" if line.published or dashed(index) else "-"
        if len(line.x) <= 16:
            style |= {"marker": "o", "markersize": 4}
            style |= {"markerfacecolor": "none"} if line.published else {}
        axes.plot(line.x, line.y, **style)
        axes.fill_between(line.x, line.low, line.high, color=colour(index), alpha=0.18, linewidth=0)
    if reference is not None:
        axes.axhline(reference[0], color=INK, linewidth=0.8, linestyle=":", gid="reference")
        axes.annotate(
            reference[1],
            (1, reference[0]),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 3),
            textcoords="offset points",
            ha="right",
            color=INK,
        )
    axes.set_xlabel(plain(x))
    axes.set_ylabel(plain(y))
    if log2:
        log2_axis(axes, sorted({value for line in lines for value in line.x}))
    return to_svg(figure, salt)


def is_heat_map(table: MeasuredTable) -> bool:
    """Whether rows and columns are headed by the same things (augmentations by augmentations)."""
    keys = {column.key for column in table.columns}
    return len(_grid_rows(table, keys)) >= 4


def heat_maps(table: MeasuredTable) -> dict[str, str]:
    """ "ours" and "published" to SVG, each with a colour scale of its own; one without values is
    left out."""
    keys = {column.key for column in table.columns}
    rows = _grid_rows(table, keys)
    heads = {_head(row, keys) for row in rows}
    columns = [column for column in table.columns if column.key in heads]
    out = {}
    for name in ("ours", "published"):
        values = [
            [shown_value(row.cells.get(c.key), published=name == "published") for c in columns]
            for row in rows
        ]
        if any(value is not None for line in values for value in line):
            out[name] = _heat(rows, columns, values, salt=f"{table_key(table)}-heat-{name}")
    return out


def _head(row: MeasuredRow, keys: set[str]) -> str | None:
    """The column that the row is named like, by its id or one of its coordinates."""
    names = (row.id, *(str(value) for value in row.key.values()))
    return next((name for name in names if name in keys), None)


def _grid_rows(table: MeasuredTable, keys: set[str]) -> list[MeasuredRow]:
    return [row for row in table.rows if _head(row, keys)]


class _Pair(NamedTuple):
    label: str
    ours: float
    interval: float
    published: float


def _dots(pairs: list[_Pair], column: MeasuredColumn, *, salt: str) -> str:
    longest = max(len(pair.label) for pair in pairs)
    figure, axes = new_figure(3.6 + 0.07 * longest, 0.9 + 0.27 * len(pairs))
    for place, pair in enumerate(pairs):
        axes.plot([pair.ours, pair.published], [place, place], color=INK, alpha=0.25, linewidth=1)
    labels, ours, intervals, published = zip(*pairs, strict=True)
    places = list(range(len(pairs)))
    axes.errorbar(ours, places, xerr=intervals, fmt="o", color=OURS, markersize=5, capsize=2.5)
    axes.plot(published, places, "D", color=PUBLISHED, markerfacecolor="none", markersize=5)
    axes.set_yticks(places, [plain(label) for label in labels])
    axes.set_ylim(len(pairs) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    name = with_unit(column.name, column.unit)
    axes.set_xlabel(plain(textwrap.fill(name, 48)))
    return to_svg(figure, salt)


def _scatter(pairs: list[_Pair], column: MeasuredColumn, *, salt: str) -> str:
    figure, axes = new_figure(4.4, 3.4)
    _, ours, intervals, published = zip(*pairs, strict=True)
    cloud(axes, published, ours, intervals)
    axes.set_xlabel(plain(f"{column.name}, published"))
    axes.set_ylabel(plain(f"{column.name}, ours"))
    return to_svg(figure, salt)


def cloud(axes: Axes, x: Sequence[float], y: Sequence[float], intervals: Sequence[float]) -> None:
    """Points with the interval of y; many are fainter, and pixels inside the SVG: a mark each
    would make a page that no browser opens."""
    many = len(x) > MAX_MARKS
    axes.errorbar(
        x, y, yerr=intervals, fmt="o", color=OURS, markersize=2 if many else 4,
        linewidth=0.5 if many else 1, alpha=0.25 if many else 1, rasterized=many,
    )  # fmt: skip


def _heat(
    rows: list[MeasuredRow],
    columns: list[MeasuredColumn],
    values: list[list[float | None]],
    *,
    salt: str,
) -> str:
    import numpy as np
    from matplotlib import colormaps

    figure, axes = new_figure(4.4, 0.9 + 0.4 * len(rows))
    data = np.array(values, dtype=float)
    low, high = np.nanmin(data), np.nanmax(data)
    shares = (data - low) / (high - low) if high > low else np.zeros_like(data)
    axes.pcolormesh(np.ma.masked_invalid(data), cmap="cividis", vmin=low, vmax=high)
    for i, j in np.argwhere(np.isfinite(data)):
        red, green, blue, _ = colormaps["cividis"](shares[i, j])
        dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
        axes.text(
            j + 0.5,
            i + 0.5,
            number(data[i, j], 1),
            ha="center",
            va="center",
            color="#ffffff" if dark else "#000000",
        )
    names = [plain(column.name.rpartition(": ")[2]) for column in columns]
    axes.set_xticks([j + 0.5 for j in range(len(columns))], names, rotation=30, ha="right")
    axes.set_yticks([i + 0.5 for i in range(len(rows))], [plain(row.label) for row in rows])
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return to_svg(figure, salt)


def plain(text: str) -> str:
    """Text that matplotlib does not read as mathematics."""
    return text.replace("$", r"\$")


def log2_axis(axes: Axes, ticks: list[float]) -> None:
    """A logarithmic axis with at most eight of the ticks, as plain numbers."""
    axes.set_xscale("log", base=2)
    shown = ticks[:: -(-len(ticks) // 7)]
    axes.set_xticks(shown, [f"{tick:g}" for tick in shown])
    axes.minorticks_off()


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure in inches with the house style, made without pyplot's global state."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    house_style(axes)
    return figure, axes


def house_style(axes: Axes) -> None:
    """A light grid below the marks, two spines, the page's ink."""
    axes.patch.set_visible(False)
    axes.grid(color=INK, alpha=0.12, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.spines[["left", "bottom"]].set_alpha(0.5)
    axes.tick_params(colors=INK, labelsize=9, length=3)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)


def to_svg(figure: Figure, salt: str) -> str:
    """The figure as an <svg> element: text stays text, no metadata, ids unique by `salt`."""
    from matplotlib import rc_context

    out = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": salt, "font.size": 9}):
        figure.savefig(out, format="svg", dpi=200, transparent=True, metadata={"Date": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)  # nothing refers to groups
    text = text.replace(INK, "currentColor")
    prefix = f"p{hashlib.sha256(salt.encode()).hexdigest()[:8]}"
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = text.replace("url(#", f"url(#{prefix}-").replace('href="#', f'href="#{prefix}-')
    text = re.sub(r'(font-family|font): [^;"]*', _plain_font, text)
    text = re.sub(r'\s(d|x|y|transform)="[^"]*"', _short_numbers, text)
    return re.sub(r"\s*\n\s*", "\n", text).strip()


def on_any_page(svg: str) -> str:
    """A file of its own cannot take its ink from the page: a grey that reads on white and black."""
    return svg.replace("<svg ", '<svg style="color: #7d8590; font-family: sans-serif" ', 1) + "\n"


def _short_numbers(match: re.Match[str]) -> str:
    """Coordinates to a hundredth of a point: half the bytes, the same picture."""
    return re.sub(r"\d+\.\d{3,}", lambda m: f"{float(m.group(0)):.2f}", match.group(0))


def _plain_font(match: re.Match[str]) -> str:
    """Only the size of a font is ours to say; the face is the page's."""
    size = re.search(r"[\d.]+px", match.group(0))
    return f"font-size: {size.group(0)}" if size else "font-family: inherit"
