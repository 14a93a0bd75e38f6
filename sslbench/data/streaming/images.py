"""`Streamed`: images that stand for a tensor of all of them, and are decoded when asked for.
`Reader`: the batches of either kind.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from sslbench.data import photographs
from sslbench.data.streaming import workers
from sslbench.data.streaming.decoding import decoded
from sslbench.data.streaming.items import Items
from sslbench.data.streaming.workers import Part
from sslbench.errors import DataWarning, UserError

# Split.images is a tensor to those who read it; this one knows rows, length and shape.
if TYPE_CHECKING:
    _Base = Tensor
else:
    _Base = object

Broken = Literal["refuse", "skip"]
SAMPLE = 2000  # images of which channel statistics are taken
NAMED = 20  # images that could not be read and are named
_FEW = 32  # images that are decoded here: to start workers takes longer


class Streamed(_Base):
    """uint8 N×3×R×R, of which rows are decoded when they are asked for.

    It is indexed as a tensor is, by rows, and what it gives is one. Whatever would need all of it
    at once is refused in a sentence.

    Args:
        items: where the encoded images lie.
        side: R, in pixels.
        rows: int64 N, which of the items these are.
        broken: what becomes of an image that cannot be read: the run is refused, or the next one of
            its class that can be takes its place.
        device: where batches go.
    """

    def __init__(
        self,
        items: Items,
        side: int,
        *,
        rows: np.ndarray | None = None,
        broken: Broken = "refuse",
        device: str | torch.device = "cpu",
    ) -> None:
        self._items, self._side, self._broken = items, side, broken
        self._rows = np.arange(len(items)) if rows is None else rows
        self._device = torch.device(device)
        self._found: set[int] = set()

    shape = property(lambda self: torch.Size((len(self._rows), 3, self._side, self._side)))
    ndim = property(lambda self: 4)
    dtype = property(lambda self: torch.uint8)
    device = property(lambda self: self._device)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: Any) -> Tensor:
        """The images at some positions, decoded now; of one number 3×R×R."""
        if isinstance(rows, int):
            return self[slice(rows, rows + 1)][0]
        chosen = self._positions(rows)
        if len(chosen) <= _FEW:
            with photographs.bounded():
                part = self.decode(chosen)
        else:
            (part,) = self._in_order([chosen])
        return self._placed(part)

    def subset(self, rows: Any) -> Streamed:
        """Those at some positions, none of which is decoded."""
        found = Streamed(self._items, self._side, rows=self._rows[self._positions(rows)],
                         broken=self._broken, device=self._device)  # fmt: skip
        found._found = self._found  # of one file, told once
        return found

    def to(self, device: str | torch.device) -> Streamed:  # type: ignore[override]
        """The same, whose batches go to another device."""
        found = self.subset(slice(None))
        found._device = torch.device(device)
        return found

    def batches(self, order: Iterable[Tensor]) -> Iterator[Tensor]:
        """The images at each of many n int64 positions, on the device, decoded ahead.

        Raises:
            UserError: an image cannot be read, or a process that reads died.
        """
        for part in self._in_order(map(self._positions, order)):
            yield self._placed(part)

    def broken(self) -> list[str]:
        """The images that could not be read so far, in order, by name."""
        return [self._items.name(place) for place in sorted(self._found)]

    def decode(self, rows: np.ndarray) -> Part:
        """Those at n int64 positions, in this process. Raises UserError: one cannot be read."""
        images = np.empty((len(rows), 3, self._side, self._side), np.uint8)
        broken: list[int] = []
        for i, row in enumerate(rows.tolist()):
            images[i] = self._image(row, broken)
        return Part(torch.from_numpy(images), tuple(broken))

    def _in_order(self, order: Iterable[np.ndarray]) -> Iterator[Part]:
        pinned = self._device.type == "cuda"
        return workers.in_order(self, order, side=self._side, pinned=pinned)

    def _image(self, row: int, broken: list[int]) -> np.ndarray:
        place = int(self._rows[row])
        try:
            return self._decoded(place)
        except UserError as error:
            if self._broken == "refuse":
                raise UserError(f"{error} --broken skip goes on without it.") from None
            broken.append(place)
        for other in self._after(row):
            try:
                return self._decoded(other)
            except UserError:
                broken.append(other)
        raise UserError(
            f"'{self._items.name(place)}' cannot be read, nor can any other image of its class; "
            "replace them."
        )

    def _decoded(self, place: int) -> np.ndarray:
        return decoded(self._items.read(place), self._items.name(place), self._side)

    def _after(self, row: int) -> Iterator[int]:
        """Items that may take the place of a row's: those behind it, then those before it, of its
        class."""
        rest = np.concatenate([self._rows[row + 1 :], self._rows[:row]])
        labels = self._items.labels
        if len(labels):
            rest = rest[labels[rest] == labels[self._rows[row]]]
        return iter(rest.tolist())

    def _positions(self, rows: Any) -> np.ndarray:
        """int64 n of whatever a tensor is indexed by."""
        if isinstance(rows, Tensor):
            rows = rows.cpu().numpy()
        if isinstance(rows, slice) or rows.dtype == np.bool_:
            rows = np.arange(len(self))[rows]
        found: np.ndarray = np.atleast_1d(rows)
        return found

    def _placed(self, part: Part) -> Tensor:
        for place in sorted({*part.broken} - self._found):
            self._found.add(place)
            if len(self._found) <= NAMED:
                sentence = (
                    f"'{self._items.name(place)}' cannot be read; the next image of its class "
                    "takes its place."
                )
                warnings.warn(DataWarning(sentence), stacklevel=2)
        return part.images.to(self._device, non_blocking=True)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise _refusal(getattr(func, "__name__", str(func)))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise _refusal(name)


def _refusal(what: str) -> UserError:
    return UserError(
        f"This needs all images in memory at once ({what}), and they are streamed; use --stream "
        "off, or fewer images."
    )


def sample(count: int) -> Tensor:
    """The positions of at most `SAMPLE` of so many images, evenly over the set: what stands for all
    of them."""
    places = np.linspace(0, count - 1, min(SAMPLE, count)).round().astype(np.int64)
    return torch.from_numpy(np.unique(places))


class Reader:
    """The batches of a set by their number; streamed ones are decoded ahead.

    Args:
        images: N×3×R×R uint8, a tensor or `Streamed`.
        rows: the int64 rows of a batch, by its number; a function of it alone.
        count: how many batches there are.
    """

    def __init__(self, images: Tensor, rows: Callable[[int], Tensor], count: int) -> None:
        self.images, self._rows, self._count = images, rows, count
        self._running: Iterator[Tensor] | None = None
        self._next = -1

    @property
    def home(self) -> torch.device:
        """Where rows are best: with a tensor; of streamed images with the processes that decode."""
        return torch.device("cpu") if isinstance(self.images, Streamed) else self.images.device

    def close(self) -> None:
        """End the processes that decode ahead; a later batch starts others."""
        self._running = None

    def batch(self, number: int) -> Tensor:
        """uint8 n×3×R×R on the device, for the rows of that batch. Any number may follow any; the
        next one is there soonest.

        Raises:
            UserError: an image cannot be read, or a process that reads died.
        """
        if not isinstance(self.images, Streamed):
            return self.images.index_select(0, self._rows(number))  # copies whole images
        if self._running is None or number != self._next:
            self._running = self.images.batches(map(self._rows, range(number, self._count)))
        self._next = number + 1
        return next(self._running)
