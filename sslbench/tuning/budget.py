"""The budget of a study: how many trials, how they are stopped early, and how they are confirmed.

It is the same for every recipe that is tuned with the same options; nothing of it is a recipe's.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from sslbench.engine.options import monitored_epochs
from sslbench.errors import UserError

MAX_TRIALS = 10_000


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What every recipe of a table gets alike.

    Attributes:
        trials: settings that are tried on one seed, the present one among them.
        seeds: of the best few and of the present setting, the first one among them.
        batch: trials that are drawn together, whatever runs side by side.
        rungs: shares of training at which a trial is looked at, and may be stopped.
        best: how many trials get the further seeds.
        own, rate: shares of the trials that a recipe with a parent has for itself: with dimensions
            of its own, and with the learning rate alone.
    """

    trials: int = 40
    seeds: int = 3
    batch: int = 8
    rungs: tuple[float, ...] = (0.25, 0.5)
    best: int = 3
    own: float = 0.5
    rate: float = 0.25

    def __post_init__(self) -> None:
        if not 1 <= self.trials <= MAX_TRIALS:
            raise UserError(f"--trials must be 1 to {MAX_TRIALS}; it is {self.trials}.")
        if self.seeds < 1:
            raise UserError(f"--seeds must be at least 1; it is {self.seeds}.")

    def epochs(self, epochs: int) -> tuple[int, ...]:
        """The rungs in epochs of a run of so many: where its kNN monitor looks, before its end."""
        every = monitored_epochs(epochs)
        found = dict.fromkeys(math.ceil(share * epochs / every) * every for share in self.rungs)
        return tuple(epoch for epoch in found if epoch < epochs)

    def plain(self) -> dict[str, Any]:
        """Plain data for a record and the digest."""
        return {**asdict(self), "rungs": list(self.rungs)}
