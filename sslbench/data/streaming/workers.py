"""Decoding by processes of their own, in an order that is known ahead: torch's DataLoader."""

from __future__ import annotations

import contextlib
import itertools
import math
import multiprocessing
import os
import shutil
import sys
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sslbench.data import photographs
from sslbench.errors import UserError, first_line

VARIABLE = "SSLBENCH_WORKERS"
_PIECE = 64  # images that a process decodes before it hands them over
_AHEAD = 3  # batches decoded ahead
_SHARED = Path("/dev/shm")  # through which processes hand over what they decoded


class Source(Protocol):
    """What can decode some of its images."""

    def decode(self, rows: np.ndarray) -> Part:
        """Of n int64 rows. Raises UserError."""


@dataclass(frozen=True, eq=False)
class Part:
    """Some images, decoded.

    Attributes:
        images: uint8 n×3×R×R.
        broken: the rows whose own image could not be read.
    """

    images: Tensor
    broken: tuple[int, ...] = ()


def num_workers() -> int:
    """How many processes decode for this one: SSLBENCH_WORKERS, else its share of the cores; 0 is
    none, and it decodes itself, as a daemonic process has to. Raises UserError: the variable is no
    number."""
    if multiprocessing.current_process().daemon:
        return 0
    given = os.environ.get(VARIABLE)
    if given is None:
        try:
            cores = len(os.sched_getaffinity(0))
        except AttributeError:  # not on macOS and Windows
            cores = os.cpu_count() or 1
        return max(1, cores // max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
    if not given.isdecimal():
        raise UserError(f"{VARIABLE}={given} is no number of processes; set it to 0 or more.")
    return int(given)


def in_order(
    source: Source, order: Iterable[np.ndarray], *, side: int, pinned: bool = False
) -> Iterator[Part]:
    """The images of each n int64 rows of an order, decoded ahead by worker processes.

    A batch is divided among them, so that the first one is there soon; what they make is a function
    of the rows alone.

    Args:
        side: R, in pixels.
        pinned: in memory from which a GPU fetches them by itself.
    Raises:
        UserError: an image cannot be read, or a worker died.
    """
    wanted = iter(order)
    first = next(wanted, None)
    if first is None:
        return
    count = num_workers()
    piece = max(1, min(_PIECE, -(-len(first) // max(1, count))))
    sizes: deque[int] = deque()

    def pieces() -> Iterator[np.ndarray]:
        for rows in itertools.chain([first], wanted):
            sizes.append(len(rows))
            for start in range(0, len(rows), piece):
                yield rows[start : start + piece]

    with warnings.catch_warnings():
        # More workers than cores are a choice: slow disks want them. Workers use nothing that a
        # thread of their parent may hold when they are forked.
        warnings.filterwarnings("ignore", "This DataLoader will create")
        warnings.filterwarnings("ignore", ".*multi-threaded, use of fork", DeprecationWarning)
        loader = DataLoader(
            _Pieces(source),
            batch_size=None,
            sampler=pieces(),
            num_workers=count,
            prefetch_factor=_ahead(len(first), piece, side, count) if count else None,
            worker_init_fn=_begin,
            # Others start a Python each, which imports torch: seconds, and memory of their own.
            multiprocessing_context="fork" if count and sys.platform == "linux" else None,
        )
        parts = iter(loader)
    with explained():
        for part in parts:
            yield _whole(part, parts, _empty((sizes.popleft(), 3, side, side), pinned=pinned))


def _empty(shape: tuple[int, ...], *, pinned: bool) -> Tensor:
    """uint8, for one batch.

    NumPy's memory, as it takes the place of a batch that is gone: torch asks glibc for a few bytes
    more, to align it, finds no such place, and the heap grows with every batch.
    """
    if pinned:
        return torch.empty(shape, dtype=torch.uint8, pin_memory=True)
    return torch.from_numpy(np.empty(shape, np.uint8))


def _whole(part: Part | str, more: Iterator[Part | str], images: Tensor) -> Part:
    """One batch of its parts, in a tensor of its size."""
    filled = 0
    broken: list[int] = []
    while True:
        if isinstance(part, str):
            raise UserError(part)
        images[filled : filled + len(part.images)] = part.images
        filled += len(part.images)
        broken += part.broken
        if filled == len(images):
            return Part(images, tuple(broken))
        part = next(more)


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """The death of a worker as a sentence; torch tells of it wherever the program is."""
    try:
        yield
    except RuntimeError as error:
        if not worker_died(error):
            raise
        # The system kills where memory runs out; torch cannot always tell by which signal.
        other = "signal: " in str(error) and "signal: Killed" not in str(error)
        few = "" if other else f" Where memory ran out, fewer of them help: {VARIABLE}=1."
        raise UserError(
            f"A process that reads images died ({first_line(error)}); what was saved is kept: run "
            f"the same command again.{few}"
        ) from None


def worker_died(error: BaseException) -> bool:
    """Whether it is what torch raises where a worker died."""
    return isinstance(error, RuntimeError) and "DataLoader worker" in str(error)


def _ahead(batch: int, piece: int, side: int, workers: int) -> int:
    """Pieces that each worker is ahead: some batches, within half of the shared memory."""
    wanted = math.ceil(_AHEAD * batch / piece / workers)
    with contextlib.suppress(OSError):
        room = shutil.disk_usage(_SHARED).free // 2
        wanted = min(wanted, room // (workers * piece * 3 * side * side))
    return max(1, wanted)


def _begin(worker: int) -> None:
    """In a group of its own: a key press or a signal to all of this command's processes stops the
    trainer after its step, and it the workers."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    photographs.bound()


class _Pieces(Dataset[Part | str]):
    """Rows to pixels; an error is handed over as its sentence, which DataLoader would wrap."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __getitem__(self, rows: np.ndarray) -> Part | str:
        try:
            return self.source.decode(rows)
        except UserError as error:
            return str(error)
