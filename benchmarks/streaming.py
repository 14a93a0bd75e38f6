"""Streamed images against plain loaders: images a second, CPU seconds, memory, time to the first.

    python benchmarks/streaming.py --images FOLDER --work DIR [--whole]

FOLDER has train/<class>/ and val/<class>/. Some of its images are enlarged to 500×375 pixels, with
a little noise, so that a file is about as large as one of ImageNet, and repeated by links until
there are 200,000. Then:

- decoders on the same files in memory, one thread: Pillow whole, Pillow at libjpeg's scale, ours,
  torchvision.io;
- loaders, a fresh process a round with two workers, to a fixed side as uint8 batches of 256: ours,
  ImageFolder with a DataLoader, and lightly's; and what each takes to its first batch;
- `--whole`: an epoch by ours, for the memory.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench import HERE, PEER, Measure, Peer, Record, Round, interleave, machine, options
from clock import Clock
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms.v2 import functional as F

from sslbench.data.photographs import square
from sslbench.data.streaming.decoding import decoded

SIZE = (500, 375)
NOISE = 6.0
SIDES = (96, 224)
WORKERS = 2
BASE = 2000  # images that are enlarged
DECODED = 400  # images of a decoder's round
OURS = "sslbench"
LOADERS = {OURS: "ours", "ImageFolder": "torchvision", PEER: "lightly"}


def enlarge(source: Path, target: Path, most: int) -> None:
    """Images of a folder, evenly, as JPEGs of `SIZE`; those that are there stay."""
    draw = np.random.default_rng(0)
    noise = draw.normal(0, NOISE, (8, SIZE[1], SIZE[0], 1))
    paths = sorted(p for p in source.glob("[!.]*/*/*") if p.is_file())
    for number, path in enumerate(paths[:: -(-len(paths) // most)]):
        out = (target / path.relative_to(source)).with_suffix(".jpg")
        if out.exists():
            continue
        out.parent.mkdir(parents=True, exist_ok=True)
        image = Image.open(path).convert("RGB").resize(SIZE, Image.Resampling.BICUBIC)
        pixels = np.asarray(image) + noise[number % len(noise)]
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(out, quality=90)


def repeat(source: Path, target: Path, files: int) -> None:
    """train/<class>/ of links to the images, as many times as it takes, and val/ once."""
    for half, wanted in (("train", files), ("val", 0)):
        images = sorted(p for p in (source / half).rglob("*.jpg"))
        for number in range(max(wanted, len(images))):
            image = images[number % len(images)]
            link = target / half / image.parent.name / f"{number // len(images):03}-{image.name}"
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(image.resolve())


def pillow(data: bytes, side: int) -> Any:
    """Whole, then resized: what ImageFolder and a Resize do."""
    return square(Image.open(io.BytesIO(data)).convert("RGB"), side)


def scaled(data: bytes, side: int) -> Any:
    """Pillow at the least of libjpeg's scales that suffices."""
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (side, side))
    return square(image.convert("RGB"), side)


def ours(data: bytes, side: int) -> Any:
    """The same, resized by torch."""
    return decoded(data, "", side)


def torchvision_io(data: bytes, side: int) -> Any:
    """decode_jpeg, and the resizing of transforms.v2."""
    image = decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), ImageReadMode.RGB)
    return F.center_crop(F.resize(image, [side], antialias=True), [side])


DECODERS: dict[str, Callable[[bytes, int], Any]] = {
    "Pillow, whole": pillow,
    "Pillow, scaled by libjpeg": scaled,
    "sslbench": ours,
    "torchvision.io": torchvision_io,
}


def decoders(folder: Path, side: int, *, rounds: int) -> list[Measure]:
    """What each takes to decode the same files in memory to a side."""
    torch.set_num_threads(1)
    data = [p.read_bytes() for p in sorted((folder / "train").rglob("*.jpg"))]
    data = data[:: max(1, len(data) // DECODED)]

    def run(decode: Callable[[bytes, int], Any]) -> Round:
        with Clock() as clock:
            for encoded in data:
                decode(encoded, side)
        return {**clock.result(), "count": len(data)}

    case = f"decoding to {side} px, one thread"
    return interleave(
        [(Measure(case, name, "images"), partial(run, each)) for name, each in DECODERS.items()],
        rounds=rounds,
    )


def loader(name: str, folder: Path, side: int, images: int) -> dict[str, Any]:
    """What benchmarks/loaders.py says of one."""
    python = sys.executable
    if name == "lightly":
        python = str(HERE.parent / ".venv-peer" / "bin" / "python")
    command = [python, HERE / "loaders.py", name, folder, str(side), str(WORKERS), str(images)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent)}
    run = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


def loaders(folder: Path, side: int, images: int, *, rounds: int) -> list[Measure]:
    """Rounds of each loader, A B C A B C: its first batch, and so many images after it."""
    files = f"{sum(1 for _ in (folder / 'train').rglob('*.jpg')):,} files"
    measures = [
        Measure(case, name, unit, peer=name == PEER, baseline=name == PEER)
        for case, unit in (
            (f"loading {files} to {side} px", "images"),
            (f"to the first batch of {files}, {side} px", "s"),
        )
        for name in LOADERS
    ]
    for _ in range(rounds):
        for name, kind in LOADERS.items():
            found = loader(kind, folder, side, images)
            rest, first = (m for m in measures if m.contestant == name)
            rest.rounds.append({k: found[k] for k in ("wall", "cpu", "count", "memory")})
            first.rounds.append(found["first"])
    for measure in measures[: len(LOADERS)]:
        most = max(max(r["memory"]) for r in measure.rounds)  # type: ignore[call-overload]
        measure.note = f"{most / 2**20:.0f} MiB with its workers"
    return measures


def first_start(folder: Path, side: int) -> Measure:
    """Ours without what earlier ones keep beside the set: all bytes are hashed."""
    shutil.rmtree(folder / ".sslbench", ignore_errors=True)
    found = loader("ours", folder, side, 0)
    case = f"to the first batch, of a folder never seen, {side} px"
    return Measure(case, OURS, "s", rounds=[found["first"]], note="files are hashed once")


def epoch(folder: Path, side: int, files: int) -> Measure:
    """All images of the set by ours, and the memory at even times."""
    found = loader("ours", folder, side, files - files % 256 - 256)
    looks = [m / 2**20 for m in found["memory"]]
    return Measure(
        f"an epoch of {files:,} files to {side} px", OURS, "images",
        rounds=[{k: found[k] for k in ("wall", "cpu", "count", "memory")}],
        note=f"{looks[0]:.0f} MiB at first, {min(looks):.0f} to {max(looks):.0f} later",
    )  # fmt: skip


def main() -> None:
    """Make the files, measure, print and write."""
    chosen = options(
        __doc__ or "",
        extra={"whole": "an epoch by ours as well"},
        folders={"images": "a folder of images by class", "work": "where the files are made"},
    )
    files, images = (4000, 512) if chosen.quick else (200_000, 4096)
    plain, linked = chosen.work / "enlarged", chosen.work / f"linked-{files}"
    enlarge(chosen.images, plain, BASE)
    repeat(plain, linked, files)
    sizes = [p.stat().st_size for p in sorted((plain / "train").rglob("*.jpg"))]
    with Peer() as peer:
        versions = peer.versions
    record = Record("streaming", chosen.quick, machine(versions), {
        "files": files, "file_bytes": float(np.mean(sizes)), "workers": WORKERS, "batch": 256,
    })  # fmt: skip
    for side in SIDES:
        record.measures += decoders(plain, side, rounds=chosen.rounds)
    record.measures.append(first_start(linked, SIDES[0]))
    for side in SIDES:
        record.measures += loaders(linked, side, images, rounds=chosen.rounds)
    if chosen.whole:
        record.measures.append(epoch(linked, SIDES[0], files))
    record.finish()


if __name__ == "__main__":
    main()
