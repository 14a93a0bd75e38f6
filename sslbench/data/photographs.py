"""Image files to uint8 tensors of one size, decoded once, several at a time."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image
from torch import Tensor

from sslbench.data import levels, listing
from sslbench.data.levels import Levels
from sslbench.errors import UserError, first_line
from sslbench.files import reading
from sslbench.memory import require_memory

try:
    WORKERS = len(os.sched_getaffinity(0))
except AttributeError:  # not on macOS and Windows
    WORKERS = os.cpu_count() or 1

MAX_PIXELS = 500_000_000  # 2 GB decoded; a telephone's camera has up to 200,000,000
_LARGE = 40_000_000  # from here on one at a time
_LARGE_LOCK = threading.Lock()
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # EXIF 2.32, Sec. 4.6.5: what brings the row and column it names to top and left
_SIDEWAYS = {_TURNS[i] for i in (5, 6, 7, 8)}  # they exchange width and height

Size = tuple[int, int]  # width and height, in pixels


@dataclass(frozen=True, eq=False)
class Decoded:
    """Images of one set.

    Attributes:
        images: uint8 N×3×R×R.
        sizes: int64 N×2, width and height of each before it was resized, turned as it was decoded.
        notes: what was decided about them that a user should know, in sentences.
    """

    images: Tensor
    sizes: np.ndarray
    notes: tuple[str, ...] = ()


def decode(files: Sequence[Path], resolution: int) -> Decoded:
    """N files to uint8 N×3×R×R: upright, shorter side to R (antialiased bilinear), centre crop.

    An image is turned as its EXIF orientation says. Grey ones get three equal channels; of 16 bits
    the upper 8 are kept. Values of other depths are scaled by the range that their file declares,
    else by their common one. Transparency is dropped, colour profiles are not applied, of several
    frames the first is taken. Smaller images are enlarged, unless most are.

    Args:
        files: all images of a set, so that they get one scale.
    Raises:
        UserError: a file is no readable image, most are smaller than `resolution`, or memory does
            not suffice.
    """
    return _decoded(files, resolution, None)


def decode_whole(files: Sequence[Path], resolution: int, stated: Sequence[Size | None]) -> Decoded:
    """N files to uint8 N×3×R×R: all of each image, squashed to a square (antialiased bilinear), so
    that nothing of what is annotated is cut off. Otherwise as `decode`.

    An image with an EXIF orientation is taken as its annotations see it: as it is stored or turned
    upright, whichever has the size that they state.

    Args:
        stated: the size of each image as its annotations have it; None where they do not say.
    Raises:
        UserError: as `decode`; an image is not as large as stated, or the stated size does not
            tell how an orientation is meant.
    """
    return _decoded(files, resolution, stated)


def _decoded(
    files: Sequence[Path], resolution: int, stated: Sequence[Size | None] | None
) -> Decoded:
    _require_memory(len(files), resolution)
    out = np.empty((len(files), 3, resolution, resolution), np.uint8)
    work = _Work(files, resolution, out, stated)
    with bounded():
        work.each(work.fill, range(len(files)))
        levels.refuse_dim_colour(work.dim_colour())
        scales = levels.common_scales(list(work.deep.values()))
        again = {i: scales[x.kind] for i, x in sorted(work.deep.items())
                 if x.declared is None and x.kind in scales}  # fmt: skip
        work.each(lambda i: work.fill(i, again[i]), again)
    _check_sizes(files, work.sizes.min(axis=1), resolution)
    notes = [
        f"images of more than 8 bits that declare no range: {len(own)} ('{files[own[0]].name}' the "
        f"first), with values from {scale[0]:g} to {scale[1]:g}, which became black and white."
        for kind, scale in scales.items()
        if (own := [i for i in again if work.deep[i].kind == kind])
    ]
    return Decoded(torch.from_numpy(work.out), work.sizes, tuple(notes))


@dataclass(eq=False)
class _Work:
    """The images of one call: filled in by several threads, each its own place."""

    files: Sequence[Path]
    resolution: int
    out: np.ndarray
    stated: Sequence[Size | None] | None
    sizes: np.ndarray = field(init=False)
    formats: tuple[str, ...] = field(default_factory=listing.formats)
    deep: dict[int, Levels] = field(default_factory=dict)
    whites: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.sizes = np.empty((len(self.files), 2), dtype=np.int64)

    def each(self, fill: Callable[[int], None], places: Iterable[int]) -> None:
        """Several at a time; the first error ends it."""
        with ThreadPoolExecutor(WORKERS) as pool:
            try:
                for _ in pool.map(fill, places):
                    pass
            except UserError:
                pool.shutdown(cancel_futures=True)
                raise

    def fill(self, i: int, scale: tuple[float, float] | None = None) -> None:
        """Decode one file; a deep image with `scale` as black and white, where it declares none."""
        path = self.files[i]
        with readable(path), Image.open(path, formats=self.formats) as file, _room(file, path):
            image = self._rgb(i, file, scale)
            self.sizes[i] = image.size
            fill = square if self.stated is None else _squashed
            self.out[i] = fill(image, self.resolution)

    def _rgb(self, i: int, file: Image.Image, scale: tuple[float, float] | None) -> Image.Image:
        path = self.files[i]
        colour = levels.is_deep_colour(file)
        file.load()
        turn = turn_of(file)
        if self.stated is not None:
            turn = _agreed(path, file.size, turn, self.stated[i])
        if levels.is_deep(file):
            values = levels.values_of(file)
            self.deep[i] = levels.levels_of(file, values, path)
            image = levels.eight_bits(file, values, self.deep[i], scale).convert("RGB")
        else:
            file.info.pop("transparency", None)  # of a palette: dropped, as any other
            image = file.convert("RGB")
        if colour:
            self.whites[i] = int(np.asarray(image).max())
        return image if turn is None else image.transpose(turn)

    def dim_colour(self) -> dict[Path, int]:
        """The largest value, of 8 bits, of each 16-bit colour image."""
        return {self.files[i]: white for i, white in sorted(self.whites.items())}


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """What makes an image upright as its EXIF orientation says; None where it is."""
    return _TURNS.get(_orientation(image))


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 (upright) where there is none or it cannot be read."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
        return found if isinstance(found, int) else 1
    except Exception:  # a damaged EXIF block says nothing, and leaves the pixels as they are
        return 1


def _agreed(
    path: Path, size: Size, turn: Image.Transpose | None, stated: Size | None
) -> Image.Transpose | None:
    """How an image is turned to be as its annotations see it. Raises UserError: they do not say, or
    are of an image of another size."""
    upright = size[::-1] if turn in _SIDEWAYS else size
    if stated not in (None, size, upright):
        assert stated is not None
        raise UserError(
            f"'{path}' has {size[0]}×{size[1]} pixels, and its annotations are of an image of "
            f"{stated[0]}×{stated[1]}; bring them together."
        )
    if turn is None:
        return None
    if stated is None or upright == size:
        raise UserError(
            f"'{path}' has an EXIF orientation, and its annotations do not tell whether they are "
            "of the image as it is stored or upright; save it without one, as they mean it."
        )
    return turn if stated == upright else None


def _squashed(image: Image.Image, resolution: int) -> np.ndarray:
    """3×R×R: all of it."""
    if image.size != (resolution, resolution):
        image = image.resize((resolution, resolution), Image.Resampling.BILINEAR)
    return np.asarray(image).transpose(2, 0, 1)


def square(image: Image.Image, resolution: int) -> np.ndarray:
    """3×R×R: shorter side to R, then the centre."""
    width, height = image.size
    shorter = min(width, height)
    if shorter != resolution:
        scale = resolution / shorter
        size = (max(resolution, round(width * scale)), max(resolution, round(height * scale)))
        image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (image.width - resolution) // 2, (image.height - resolution) // 2
    image = image.crop((left, top, left + resolution, top + resolution))
    return np.asarray(image).transpose(2, 0, 1)


@contextlib.contextmanager
def _room(image: Image.Image, path: Path) -> Iterator[None]:
    """One after the other for large images, which memory must hold twice. Raises UserError."""
    pixels = image.width * image.height
    if pixels < _LARGE:
        yield
        return
    with _LARGE_LOCK:
        what = f"'{path}', {pixels / 1e6:,.0f} megapixels"
        require_memory(8 * pixels, what=what, remedy="make it smaller")
        yield


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Pillow's guard against tiny files of enormous pictures, at `MAX_PIXELS` instead of warning
    at 89 and refusing at 179 million."""
    usual = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        bound()
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = usual


def bound() -> None:
    """The same for good, in a process that does nothing else."""
    warnings.simplefilter("ignore", UserWarning)  # of EXIF blocks and tags, not of pixels
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """What Pillow says of a file, as a sentence."""
    try:
        yield
    except UserError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        count = int((re.findall(r"\d+", str(error)) or ["0"])[0])
        raise UserError(
            f"'{path}' has {count / 1e6:,.0f} megapixels, and at most {MAX_PIXELS / 1e6:,.0f} are "
            "decoded; make it smaller, or remove it."
        ) from None
    except Exception as error:  # Pillow raises much besides OSError for damaged files
        if isinstance(error, OSError) and error.errno is not None:
            with reading(path):
                raise
        raise UserError(
            f"'{path}' is not a readable image ({_reason(error)}); replace or remove it."
        ) from None


def _reason(error: Exception) -> str:
    if type(error).__name__ == "UnidentifiedImageError":
        return "of no format that Pillow opens"
    return first_line(error)


def _require_memory(count: int, resolution: int) -> None:
    own = 3 * count * resolution**2 + 12 * min(count, WORKERS) * resolution**2
    require_memory(own, what=f"{count:,} images of {resolution:,} pixels",
                   remedy="lower data.resolution or use fewer images")  # fmt: skip


def _check_sizes(files: Sequence[Path], sides: np.ndarray, resolution: int) -> None:
    small = np.flatnonzero(sides < resolution)
    if 2 * len(small) > len(files):
        first = files[int(small[0])]
        raise UserError(
            f"{len(small)} of {len(files)} images are smaller than {resolution} pixels ('{first}': "
            f"{sides[small[0]]}); set data.resolution to their size or less."
        )
