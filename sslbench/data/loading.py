"""`load`: any data set by its spec, as uint8 tensors of one size on one device."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from sslbench.data import cache, listing
from sslbench.data.dataset import Dataset, Raw, count_shared
from sslbench.data.fingerprints import drawn_fingerprint, fingerprint_of
from sslbench.data.packed import pack
from sslbench.data.sources import draw
from sslbench.data.split import Split
from sslbench.data.streaming.choice import streams
from sslbench.data.streaming.images import Streamed, sample
from sslbench.data.streaming.index import keep_first
from sslbench.data.streaming.sets import streamed
from sslbench.data.subsets import heldout, left_out, subset
from sslbench.errors import UserError
from sslbench.files import read_json
from sslbench.recipes.specs import Data, DrawnSpec, ImageSet
from sslbench.typed import typed

Statistics = tuple[tuple[float, float, float], tuple[float, float, float]]  # mean, std


def load(spec: Data, *, root: Path, device: str | torch.device = "cpu") -> Dataset:
    """The data set that `spec` names, subsets taken, with channel statistics and fingerprint.

    Args:
        spec: of a drawn set, or an `ImageSet`, which is read from `<root>/<name>` (or
            `spec.path`), downloaded there when absent, and packed beside the images so that the
            next call is fast.
        root: folder of all data sets.
        device: where the tensors lie in the end.
    Raises:
        UserError: an unknown name, missing or damaged files, or a spec the set cannot fill.
    """
    if isinstance(spec, DrawnSpec):
        raw = draw(spec)
        data = _dataset(spec, raw, drawn_fingerprint(spec), channel_statistics(raw.train.images))
    else:
        whole, content = _whole(spec, Path(root))
        train, test = subset(whole.train, spec.num_train), subset(whole.test, spec.num_test)
        raw = replace(whole, train=train, test=test)
        own = fingerprint_of(content, spec)
        data = _dataset(spec, raw, own, _statistics(spec, Path(root), train.images, own))
    return data.to(device)


def _statistics(spec: ImageSet, root: Path, images: Tensor, fingerprint: str) -> Statistics:
    """Of all images; of streamed ones of a sample, kept beside the set."""
    if not isinstance(images, Streamed):
        return channel_statistics(images)
    folder = listing.home(spec, root)
    paths = [home / f"{spec.name}.channels.json" for home in cache.homes(folder)]
    known: dict[str, Statistics] = {}
    for path in paths:
        with contextlib.suppress(UserError):
            known |= typed(read_json(path), dict[str, Statistics], where=str(path))
    if fingerprint not in known:
        known[fingerprint] = channel_statistics(images[sample(len(images))])
        keep_first(paths, (json.dumps(known) + "\n").encode())
    return known[fingerprint]


def _whole(spec: ImageSet, root: Path) -> tuple[Raw, str]:
    """All of a set of files, in memory or streamed, and its content's hash."""
    if streams(spec, root=root):
        return streamed(spec, root=root)
    packed = pack(spec, root=root)
    return packed.raw, packed.content


def unused_images(spec: Data, *, root: Path, most: int) -> Split | None:
    """Training images of the whole set that `load(spec)` leaves out, at most so many, in the same
    size; None where it takes all, and of a drawn set, which has no more than it is asked for.

    Raises:
        UserError: as `load`.
    """
    if isinstance(spec, DrawnSpec) or spec.num_train is None:
        return None
    return left_out(_whole(spec, Path(root))[0].train, spec.num_train, most=most)


def _dataset(spec: Data, raw: Raw, fingerprint: str, statistics: Statistics) -> Dataset:
    train = raw.train
    mean, std = statistics
    streamed = isinstance(train.images, Streamed)
    return Dataset(
        name=spec.set_name,
        classes=raw.classes,
        train=train,
        test=raw.test,
        heldout=heldout(train),
        unlabelled=raw.unlabelled,
        mean=mean,
        std=std,
        fingerprint=fingerprint,
        resolution=train.images.shape[-1],
        shared=None if streamed else count_shared(raw.test, train, raw.unlabelled),
    )


def channel_statistics(images: Tensor) -> Statistics:
    """Mean and standard deviation of each channel of uint8 N×3×H×W, over [0, 1].

    Sums are exact (whole numbers), so that they depend on nothing but the images.
    """
    total = torch.zeros(3, dtype=torch.float64)
    squares = torch.zeros(3, dtype=torch.float64)
    levels = torch.arange(256, dtype=torch.float64)
    for start in range(0, len(images), 4096):
        chunk = images[start : start + 4096]
        for channel in range(3):
            counts = torch.bincount(chunk[:, channel].reshape(-1), minlength=256).double()
            total[channel] += counts @ levels
            squares[channel] += counts @ levels.square()
    pixels = images[:, 0].numel()
    mean = total / pixels
    # A constant channel would be divided by 0: half a grey level is the least spread.
    std = (squares / pixels - mean.square()).clamp(min=0.25).sqrt()
    (m0, m1, m2), (s0, s1, s2) = (mean / 255).tolist(), (std / 255).tolist()
    return (m0, m1, m2), (s0, s1, s2)
