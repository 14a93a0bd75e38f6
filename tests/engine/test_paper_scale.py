"""The scale `paper`, end to end on a very small set in ImageNet's layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sslbench.engine.pretrain import Options
from sslbench.evaluation.evaluate import evaluate
from sslbench.evaluation.monitored import pretrain_monitored
from sslbench.recipes.resolve import resolve
from sslbench.recipes.specs import ImageSet


def imagenet(folder: Path, *, train: int, val: int) -> Path:
    """train/<wnid>/ and val/<wnid>/ of JPEGs of several sizes, as torchvision reads them."""
    draw = np.random.default_rng(0)
    for half, count in (("train", train), ("val", val)):
        for label, wnid in enumerate(("n01440764", "n02102040")):
            (folder / half / wnid).mkdir(parents=True)
            for i in range(count):
                size = (500, 375, 3) if i % 2 else (240, 320, 3)
                pixels = draw.normal(90 + 60 * label, 40, size).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / half / wnid / f"{wnid}_{i}.JPEG")
    return folder


@pytest.mark.slow
def test_an_epoch_on_imagenets_layout_then_probes(tmp_path: Path) -> None:
    data = ImageSet(name="folder", path=str(imagenet(tmp_path / "imagenet", train=10, val=4)),
                    resolution=224, stream=True)  # fmt: skip
    changes = {"epochs": 1, "batch_size": 8, "encoder.arch": "resnet18"}  # for its time
    asked = resolve("simsiam", scale="paper", layers=[("--set", changes)], data=data)
    run = pretrain_monitored(
        asked.experiment, provenance=asked.provenance, runs=tmp_path, root=tmp_path,
        options=Options(device="cpu", precision="fp32"),
    )  # fmt: skip
    summary = run.summary()
    assert summary["steps"] == 2 and summary["resolution"] == 224
    assert summary["images"]["sampled"] == 20 and summary["images"]["broken"] == 0
    scores = evaluate(run, ["knn", "linear"], root=tmp_path)
    assert {name: set(score.values) for name, score in scores.items()} == {
        "knn.v1": {"top1"}, "linear.features.v1": {"top1"},
    }  # fmt: skip
