"""Figures of `sslbench analyze`, put into the HTML page."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable
from html import escape
from pathlib import Path

_PIXELS = 96 / 160  # of the page, for one of a figure: they are written at 160 dpi


def embedded_figures(folders: Iterable[tuple[str, Path]]) -> list[tuple[str, str]]:
    """(caption, <img> element with the PNG inside) of the figures in some folders, an analysis
    after the other.

    Args:
        folders: label ("" for none) and path of a folder that `sslbench analyze` wrote to; one
            that is not there has no figures.
    """
    paths = [(path, label) for label, folder in folders for path in sorted(folder.glob("*.png"))]
    return [
        (caption, _element(path, caption))
        for path, label in sorted(paths, key=lambda pair: pair[0].stem)
        for caption in [", ".join(filter(None, (path.stem.replace("-", " "), label)))]
    ]


def _element(path: Path, caption: str) -> str:
    """The size is in the file's header; a page that knows it does not jump while it loads."""
    content = path.read_bytes()
    width, height = (round(_PIXELS * side) for side in struct.unpack(">II", content[16:24]))
    data = base64.b64encode(content).decode()
    return (
        f'<img src="data:image/png;base64,{data}" alt="{escape(caption)}" '
        f'width="{width}" height="{height}">'
    )
