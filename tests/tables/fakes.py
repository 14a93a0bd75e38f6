"""A grid without training: a fake run leaves what a finished one leaves behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sslbench.engine.folder import NUMERICS, RunFolder
from sslbench.evaluation.protocols import PROTOCOLS
from sslbench.evaluation.scores import Score
from sslbench.recipes.specs import Data
from sslbench.tables.jobs import Job, Tell

Execute = Callable[[Job, Tell], None]

DATASET = "shapes"

TABLE: dict[str, Any] = {
    "id": "small",
    "title": "Three targets",
    "source": "a test",
    "base": "byol",
    "chance": 0.1,
    "columns": [
        {"key": "top1", "name": "top-1", "metric": "linear.features.v1:top1"},
        {"key": "std", "name": "std", "unit": "", "better": "none", "metric": "run:std_ratio"},
        {"key": "ap", "name": "detection", "unit": "AP"},
    ],
    "rows": [
        {"id": "baseline", "label": "baseline", "set": {}, "paper": {"top1": 72.5, "ap": 55.0}},
        {
            "id": "fast",
            "label": "fast target",
            "set": {"target.momentum": 0.9},
            "paper": {"top1": 68.4},
        },
        {
            "id": "copy",
            "label": "stop gradient",
            "set": {"target": {"kind": "Shared", "stop_gradient": True}},
            "paper": {"top1": 0.3},
        },
        {"id": "paper-only", "label": "swav", "not_trainable": "no.", "paper": {"top1": 71.8}},
    ],
    "claims": [
        {"id": "order", "says": "...", "holds": {"order": ["baseline", "fast", "copy"]}},
        {
            "id": "learns",
            "says": "...",
            "published": {"greater": ["fast", 10]},
            "ours": {"above_untrained": ["fast"]},
        },
    ],
}


def fingerprint_of(data: Data, root: Path = Path()) -> str:
    """Of further data sets, without any images."""
    return f"{data.set_name}-at-{data.resolution}"


def finish(job: Job, *, top1: float, status: str = "finished", **summary: Any) -> None:
    """Leave what a run with this accuracy would leave."""
    folder = RunFolder(job.path)
    folder.write_experiment(job.experiment, job.provenance)
    seed = job.experiment.seed
    folder.write_summary(
        {
            "status": status,
            "recipe": job.experiment.recipe.name,
            "dataset": DATASET,
            "fingerprint": "f",
            "seed": seed,
            "scale": job.experiment.scale,
            "numerics": NUMERICS,
            "epochs": job.experiment.recipe.epochs,
            "steps": 12,
            "resolution": 16,
            "elapsed_seconds": 8.0,
            "verdict": {"state": "healthy", "cause": ""},
            "final": {"loss": 0.5, "std": 0.25, "out_dim": 16},
            "device": "a CPU",
            "device_class": "cpu",
            "torch": "2",
            "commit": "abc",
        }
        | summary
    )
    if status != "finished":
        return
    for scoring in job.scorings:
        protocol, on = scoring.protocol, scoring.data
        name = on.set_name if on else DATASET
        label = f"{name}-{fingerprint_of(on)[:12]}" if on else name
        path = folder.score_path(label, protocol)
        path.parent.mkdir(parents=True, exist_ok=True)
        score = Score(
            protocol=protocol,
            definition=PROTOCOLS[protocol].definition,
            dataset=name,
            fingerprint=fingerprint_of(on) if on else "f",
            values={"top1": (top1 / 2 if on else top1) + 0.1 * seed, "top5": 99.0},
            chosen={},
            heldout={},
            num_train=64,
            num_test=32,
            encoder="",
            elapsed_seconds=4.0,
        )
        path.write_text(json.dumps(score.to_dict()))


def accuracy(job: Job) -> float:
    """What the fake runs score: the baseline best, the copy near chance."""
    recipe = job.experiment.recipe
    if recipe.name != "byol":
        return {"untrained": 20.0, "raw-pixels": 30.0}[recipe.name]
    kind = type(recipe.target).__name__
    if kind == "Shared":
        return 11.0
    return 60.0 if job.provenance["target.momentum"].startswith("scale") else 50.0


Execute = Callable[[Job, Tell], None]


def use(monkeypatch: pytest.MonkeyPatch, execute: Execute) -> None:
    """Put this in place of training and scoring."""
    monkeypatch.setattr("sslbench.tables.worker.execute", execute)
