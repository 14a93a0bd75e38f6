"""How a run is executed: nothing here changes what is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sslbench.errors import UserError
from sslbench.typed import require_seconds

MONITOR_POINTS = 20  # of a run's kNN curve, at most one an epoch, unless more are asked for


def monitored_epochs(epochs: int) -> int:
    """Every how many epochs the kNN monitor looks, where no other points are asked for."""
    return max(1, math.ceil(epochs / MONITOR_POINTS))


@dataclass(frozen=True)
class Options:
    """How a run is executed; nothing here changes what is trained.

    `precision`: auto, fp32 or bf16. `compile`: auto, on or off. `graph`: replay steps as a CUDA
    graph where that can be (`engine.graph`). `checkpoint_seconds`: least time between two
    checkpoints (0: at every log point). `monitor_points`: of the kNN curve, evenly over the steps,
    inside epochs too; None is 20, and at most one an epoch. `until_epoch`: stop there and save, as
    an interrupted run; None is to the end.
    """

    device: str = "auto"
    precision: str = "auto"
    compile: str = "auto"
    graph: bool = False
    threads: int | None = None
    checkpoint_seconds: float = 60.0
    tensorboard: bool = False
    monitor_points: int | None = None
    until_epoch: int | None = None

    def __post_init__(self) -> None:
        for name in ("monitor_points", "until_epoch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"{name} {value}: needs at least 1.")
        require_seconds(self.checkpoint_seconds, "checkpoint_seconds")
