"""One loader, from nothing to images: what benchmarks/streaming.py starts, a process for each.

    python benchmarks/loaders.py {ours,torchvision,lightly} FOLDER SIDE WORKERS IMAGES

Prints one JSON line: `first`, wall and CPU seconds to the first batch (with import, listing and
index), then images, wall and CPU seconds of the rest, and the memory of the process and its workers
as the epoch goes.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clock import Clock

BATCH = 256
LOOKS = 8  # at the memory, evenly over the images


def ours(folder: str, side: int, workers: int) -> Iterator[Any]:
    """Streamed, in a permutation of all images."""
    os.environ["SSLBENCH_WORKERS"] = str(workers)
    import torch

    from sslbench.data import load
    from sslbench.recipes.specs import ImageSet

    data = load(ImageSet(name="folder", path=folder, resolution=side, stream=True), root=Path())
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))
    return data.train.images.batches(order.split(BATCH))


def torchvision(folder: str, side: int, workers: int) -> Iterator[Any]:
    """ImageFolder and a DataLoader: shorter side to the same, centre crop, uint8."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import CenterCrop, Compose, PILToTensor, Resize

    change = Compose([Resize(side), CenterCrop(side), PILToTensor()])
    loader = DataLoader(ImageFolder(f"{folder}/train", change), BATCH, shuffle=True,
                        num_workers=workers)  # fmt: skip
    return (images for images, _ in loader)


def lightly(folder: str, side: int, workers: int) -> Iterator[Any]:
    """LightlyDataset with the same transform, as its tutorials load a folder."""
    from lightly.data import LightlyDataset
    from torch.utils.data import DataLoader
    from torchvision.transforms import CenterCrop, Compose, PILToTensor, Resize

    change = Compose([Resize(side), CenterCrop(side), PILToTensor()])
    data = LightlyDataset(input_dir=f"{folder}/train", transform=change)
    return (images for images, _, _ in DataLoader(data, BATCH, shuffle=True, num_workers=workers))


def memory() -> int:
    """Bytes of this process and its children; what they share counts once."""
    found = 0
    for pid in [os.getpid(), *children(os.getpid())]:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        line = next(line for line in text.splitlines() if line.startswith("Pss:"))
        found += 1024 * int(line.split()[1])
    return found


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def main() -> None:
    name, folder, side, workers, wanted = sys.argv[1:]
    contestants = {"ours": ours, "torchvision": torchvision, "lightly": lightly}
    with Clock() as start:
        batches = iter(contestants[name](folder, int(side), int(workers)))
        next(batches)
    images, looks = 0, []
    with Clock() as clock:
        for batch in batches:
            images += len(batch)
            if images >= len(looks) * int(wanted) / LOOKS:
                looks.append(memory())
            if images >= int(wanted):
                break
    print(json.dumps({"first": start.result(), "count": images, "memory": looks, **clock.result()}))


if __name__ == "__main__":
    main()
