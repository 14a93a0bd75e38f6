"""Two SimCLR views per image: views per second, ours against lightly's transform and DataLoader.

    python benchmarks/augment.py

Same images, same strengths. lightly: PIL images, two workers that live on between rounds; its
blur is PIL's box approximation, ours the exact Gaussian. Ours: a batch of uint8 rows, gathered
and augmented on the main process's threads. A round is one pass over the images.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from bench import PEER, Measure, Peer, Record, Round, interleave, machine, options, prepare
from clock import Clock

from sslbench.data import Dataset, load
from sslbench.recipes.specs import Blur, Crop, Jitter, Shapes, View, Views
from sslbench.streams import permutation, stream_key
from sslbench.views import Augmenter

BATCH = 256
CASES = {  # side of the images, side of the views, blur, batches a round
    "32 px": (32, 32, False, 40),
    "32 px, blur": (32, 32, True, 40),
    "96 to 64 px, blur": (96, 64, True, 20),
    "224 px, blur": (224, 224, True, 2),
}


def peer_transform(view: View, *, side: int, dataset: Dataset) -> dict[str, object]:
    """The arguments of lightly's SimCLRTransform that stand for `view`."""
    assert view.crop is not None
    assert view.jitter is not None
    return {
        "input_size": side,
        "min_scale": view.crop.scale[0],
        "cj_prob": view.jitter.probability,
        "cj_strength": 1.0,
        "cj_bright": view.jitter.brightness,
        "cj_contrast": view.jitter.contrast,
        "cj_sat": view.jitter.saturation,
        "cj_hue": view.jitter.hue,
        "random_gray_scale": view.grayscale,
        "gaussian_blur": view.blur.probability if view.blur else 0.0,
        "sigmas": view.blur.sigma if view.blur else (0.1, 2.0),
        "hf_prob": view.flip,
        "normalize": {"mean": dataset.mean, "std": dataset.std},
    }


def save_images(images: torch.Tensor, path: Path) -> str:
    """N×3×H×W uint8 as the N×H×W×3 array that the peer reads."""
    np.save(path, images.permute(0, 2, 3, 1).contiguous().numpy())
    return str(path)


def our_pass(augmenter: Augmenter, images: torch.Tensor) -> Callable[[], Round]:
    """A function that augments all images once, in a new order each time."""
    epoch = 0
    samples = torch.arange(BATCH)

    def run() -> Round:
        nonlocal epoch
        epoch += 1
        count = 0
        with Clock() as clock:
            order = permutation(stream_key(0, "order", epoch), len(images))
            for step, chosen in enumerate(order.split(BATCH)):
                if len(chosen) == BATCH:
                    key = stream_key(0, "views", epoch, step)
                    views = augmenter(images[chosen], key=key, samples=samples)
                    count += sum(len(v.images) for v in views)
        return {**clock.result(), "count": count}

    return run


def main() -> None:
    """Measure every case; print and write."""
    chosen = options(__doc__ or "")
    prepare()
    with Peer() as peer, tempfile.TemporaryDirectory() as scratch:
        record = Record("augment", chosen.quick, machine(peer.versions),
                        {"batch": BATCH, "workers": 2})  # fmt: skip
        for case, (source, side, blur, batches) in CASES.items():
            count = BATCH * (min(batches, 2) if chosen.quick else batches)
            dataset = load(Shapes(resolution=source, num_train=count, num_test=10),
                           root=chosen.data_root)  # fmt: skip
            view = View(crop=Crop(scale=(0.2, 1.0)), size=side,
                        jitter=Jitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
                        blur=Blur() if blur else None)  # fmt: skip
            path = save_images(dataset.train.images, Path(scratch) / "images.npy")
            transform = peer_transform(view, side=side, dataset=dataset)
            lightly = peer.open("augment", case, images=path, transform=transform, batch_size=BATCH)
            contestants = [(Measure(case, PEER, "views", peer=True, baseline=True), lightly)]
            for name, compiled in (("sslbench, eager", False), ("sslbench, compiled", True)):
                augmenter = Augmenter(Views(first=view), resolution=side, mean=dataset.mean,
                                      std=dataset.std, compile=compiled)  # fmt: skip
                run = our_pass(augmenter, dataset.train.images)
                contestants.append((Measure(case, name, "views"), run))
            record.measures += interleave(contestants, rounds=chosen.rounds)
            peer.close(case)
        record.finish()


if __name__ == "__main__":
    main()
