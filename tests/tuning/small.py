"""Studies of a few seconds: 192 images of 16 px, four epochs, networks 4 wide."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from sslbench.recipes.specs import Shapes
from sslbench.tuning.record import Record
from sslbench.tuning.request import TuneRequest

DATA = Shapes(resolution=16, num_train=192, num_test=32)
FIXED: dict[str, Any] = {
    "epochs": 4,
    "encoder": {"kind": "NarrowResNet", "width": 4, "blocks": [1, 1], "stem_stride": 2},
}


def request(folder: Path, *recipes: str, **more: Any) -> TuneRequest:
    """Studies whose runs and results lie in a folder."""
    given = {
        "scale": "smoke", "data": DATA, "fixed": FIXED, "trials": 5, "seeds": 2,
        "runs": folder / "runs", "root": folder, "results": folder / "results", "device": "cpu",
    }  # fmt: skip
    return TuneRequest.of(recipes or ("simclr",), **{**given, **more})


def content(record: Record) -> Record:
    """A record without what two equal studies may differ in: times."""
    trials = tuple(
        replace(t, minutes=0.0, seeds=tuple(replace(s, minutes=0.0) for s in t.seeds))
        for t in record.trials
    )
    parent = record.parent and replace(record.parent, minutes=0.0)
    return replace(record, trials=trials, parent=parent, minutes=0.0)
