"""Streamed images against plain loaders: images a second and core, memory, time to the first batch.

    python benchmarks/streaming.py --images FOLDER --work DIR [--files 200000] [--whole]

FOLDER has train/<class>/ and val/<class>/. Some of its images are enlarged to 500×375 pixels, with
a little noise, so that a file is about as large as one of ImageNet, and repeated by links until
there are `--files`. Then:

- decoders, one thread: Pillow, Pillow with libjpeg's scaling (ours), torchvision.io;
- loaders, each in a process of its own with two workers, to a fixed side as uint8 batches of 256:
  ours, ImageFolder with a DataLoader, and lightly's (in .venv-peer, where it is). `--whole` reads a
  whole epoch by ours, for the memory.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms.v2 import functional as F

from sslbench.data.photographs import square
from sslbench.data.streaming.decoding import decoded
from sslbench.engine.hardware import device_class
from sslbench.files import write_atomically

HERE = Path(__file__).resolve().parent
SIZE = (500, 375)
NOISE = 6.0
ROUNDS = 3


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
    "Pillow": pillow,
    "Pillow, scaled by libjpeg": scaled,
    "ours": ours,
    "torchvision.io": torchvision_io,
}


def decoders(folder: Path, side: int, count: int) -> dict[str, float]:
    """Images a CPU second of each, the best of interleaved rounds on the same files in memory."""
    torch.set_num_threads(1)
    data = [p.read_bytes() for p in sorted((folder / "train").rglob("*.jpg"))]
    data = data[:: max(1, len(data) // count)]
    best = dict.fromkeys(DECODERS, 0.0)
    for _ in range(ROUNDS):
        for name, decode in DECODERS.items():
            begin = time.process_time()
            for encoded in data:
                decode(encoded, side)
            best[name] = max(best[name], len(data) / (time.process_time() - begin))
    return best


def loader(name: str, folder: Path, side: int, workers: int, images: int) -> dict[str, Any]:
    """What benchmarks/loaders.py says of one."""
    python = sys.executable
    if name == "lightly":
        python = str(HERE.parent / ".venv-peer" / "bin" / "python")
    command = [python, HERE / "loaders.py", name, folder, str(side), str(workers), str(images)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent)}
    run = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--base", type=int, default=2000, help="images that are enlarged")
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--count", type=int, default=6000, help="images of a loader's round")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--sides", type=int, nargs="+", default=[96, 224])
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    plain, linked = args.work / "enlarged", args.work / f"linked-{args.files}"
    enlarge(args.images, plain, args.base)
    repeat(plain, linked, args.files)
    sizes = [p.stat().st_size for p in sorted((plain / "train").rglob("*.jpg"))[::50]]
    record: dict[str, Any] = {"files": args.files, "file_bytes": float(np.mean(sizes)),
                              "cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0],
                              "decoders": {}, "loaders": []}  # fmt: skip
    for side in args.sides:
        record["decoders"][str(side)] = decoders(plain, side, 400)
        print(side, record["decoders"][str(side)], flush=True)
    contestants = ["ours", "torchvision"]
    if (HERE.parent / ".venv-peer" / "bin" / "python").exists():
        contestants.append("lightly")
    for side in args.sides:
        for name in contestants:
            record["loaders"].append(loader(name, linked, side, args.workers, args.count))
            print(record["loaders"][-1], flush=True)
    if args.whole:
        whole = args.files - args.files % 256 - 256
        record["whole"] = loader("ours", linked, args.sides[0], args.workers, whole)
        print(record["whole"], flush=True)
    out = (
        args.out
        or HERE.parent
        / "results"
        / "benchmarks"
        / device_class(torch.device("cpu"))
        / "streaming.json"
    )
    write_atomically(out, json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
