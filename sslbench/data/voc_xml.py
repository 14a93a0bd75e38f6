"""Annotation files as PASCAL VOC writes them: XML, read without trusting it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree
from xml.parsers import expat

from sslbench.data.objects import Box
from sslbench.data.photographs import Size
from sslbench.errors import UserError, first_line
from sslbench.files import read_bytes

_BYTES = 1 << 24  # one image's objects are a few kB


@dataclass(frozen=True)
class Object:
    """One `object` of a file; the box as in `sslbench.data.objects.Thing`."""

    name: str
    box: Box
    difficult: bool


@dataclass(frozen=True)
class Annotation:
    """One file: the image's size, None where it is not said, and its objects in order."""

    size: Size | None
    objects: tuple[Object, ...]


def read_annotation(path: Path) -> Annotation:
    """One file. Boxes are (left, top, right, bottom) of pixels counted from 1, the last included,
    in the file; here right and bottom are one past the last, counted from 0.

    Raises:
        UserError: it is missing, no XML, declares a document type, or lacks what an object needs.
    Source: Everingham et al., the PASCAL VOC 2007 development kit, Sec. 3 (annotations).
    """
    root = _parsed(path)
    size = tuple(_number(root, f"size/{part}", path, 0.0) for part in ("width", "height"))
    width, height = (int(x) for x in size)
    objects = tuple(_object(found, path) for found in root.findall("object"))
    return Annotation((width, height) if width > 0 and height > 0 else None, objects)


def _parsed(path: Path) -> ElementTree.Element:
    """The root. A document type is refused before its entities could be expanded."""
    data = read_bytes(path, limit=_BYTES)

    def refuse(*_: object) -> NoReturn:
        raise UserError(f"'{path}' declares a document type, which no annotation needs; remove the "
                        "DOCTYPE, or get the file again.")  # fmt: skip

    try:
        check = expat.ParserCreate()
        check.StartDoctypeDeclHandler = refuse
        check.Parse(data, True)
        return ElementTree.fromstring(data)
    except UserError:
        raise
    except (expat.ExpatError, ElementTree.ParseError, ValueError, LookupError) as error:
        raise UserError(
            f"'{path}' is no XML ({first_line(error)}); mend it, or get it again."
        ) from None


def _object(found: ElementTree.Element, path: Path) -> Object:
    name = (found.findtext("name") or "").strip()
    if not name:
        raise UserError(f"'{path}' has an object without a name; give it one.")
    sides = ("xmin", "ymin", "xmax", "ymax")
    left, top, right, bottom = (_number(found, f"bndbox/{side}", path) for side in sides)
    if right < left or bottom < top:
        raise UserError(
            f"'{path}' has a box of '{name}' whose xmax or ymax is less than its xmin or ymin "
            f"({left:g}, {top:g}, {right:g}, {bottom:g}); mend it."
        )
    difficult = _number(found, "difficult", path, 0.0) != 0
    return Object(name, (left - 1, top - 1, right, bottom), difficult)


def _number(
    node: ElementTree.Element, where: str, path: Path, absent: float | None = None
) -> float:
    """Of a tag below a node; `absent` where there is none. Raises UserError."""
    text = node.findtext(where)
    if (text is None or not text.strip()) and absent is not None:
        return absent
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"'{path}' has '{text}' for {where}, which is no number; mend it.")
    return value
