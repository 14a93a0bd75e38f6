"""The losses between two log points."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import torch

from sslbench import distributed


@dataclass
class LossWindow:
    """Losses since the last log point, and the recent ones that the summary's spread is from."""

    losses: list[torch.Tensor] = field(default_factory=list)
    recent: deque[float] = field(default_factory=deque)

    def flush(self) -> float:
        """The mean since the last log point; the window is empty afterwards."""
        values = self.pending()
        self.losses = []
        self.recent.extend(values)
        return sum(values) / len(values)

    def pending(self) -> list[float]:
        """Losses of the steps since the last log point, each the mean over processes."""
        if not self.losses:
            return []
        # Losses wait on the device: one transfer a log point, not one a step.
        values: list[float] = distributed.mean(torch.stack(self.losses).float()).tolist()
        return values
