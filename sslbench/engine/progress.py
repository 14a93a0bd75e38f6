"""What the engine tells whoever watches: plain callables, so that it prints nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

Progress = Callable[[int, int, Mapping[str, float]], None]
"""progress(step, total_steps, latest_metrics): called at every log point."""

Monitor = Callable[[nn.Module], float]
"""monitor(encoder) -> kNN accuracy on the held-out part, percent; handed in by evaluation."""
