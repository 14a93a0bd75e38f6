"""Figures of `sslbench analyze`, put into the HTML page."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable
from html import escape
from pathlib import Path

_PIXELS = 96 / 160  # of the page, for one of a figure: they are written at 160 dpi
_PNG = b"\x89PNG\r\n\x1a\n"
MAX_FIGURES = 60  # a page: each is up to a megabyte


def embedded_figures(folders: Iterable[tuple[str, Path]]) -> tuple[str, list[tuple[str, str]]]:
    """A sentence, and (caption, <img> element with the PNG inside) of the figures in some folders,
    an analysis after the other. The sentence says which figures are not shown; "" where all are.

    Args:
        folders: label ("" for none) and path of a folder that `sslbench analyze` wrote to; one
            that is not there has no figures.
    """
    paths = [(path, label) for label, folder in folders for path in sorted(folder.glob("*.png"))]
    paths.sort(key=lambda pair: pair[0].stem)
    shown, damaged = [], []
    for path, label in paths[:MAX_FIGURES]:
        caption = ", ".join(filter(None, (path.stem.replace("-", " "), label)))
        element = _element(path, caption)
        if element is None:
            damaged.append(f"{path} is no PNG file; run the analysis again.")
        else:
            shown.append((caption, element))
    if left := len(paths) - MAX_FIGURES:
        damaged += [f"{left:,} more figures lie beside their runs."] if left > 0 else []
    return " ".join(damaged), shown


def _element(path: Path, caption: str) -> str | None:
    """The size is in the file's header; a page that knows it does not jump while it loads. None
    for a file that cannot be read or is damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if not content.startswith(_PNG) or len(content) < 24:
        return None
    width, height = (round(_PIXELS * side) for side in struct.unpack(">II", content[16:24]))
    data = base64.b64encode(content).decode()
    return (
        f'<img src="data:image/png;base64,{data}" alt="{escape(caption)}" '
        f'width="{width}" height="{height}">'
    )
