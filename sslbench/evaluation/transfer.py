"""Transfer by classification: one encoder, other data sets, the same protocols."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sslbench.engine.folder import RunFolder
from sslbench.engine.progress import Progress
from sslbench.evaluation.evaluate import evaluate
from sslbench.evaluation.protocols import DEFAULTS
from sslbench.evaluation.scores import Score
from sslbench.recipes.specs import Data


def transfer(
    folder: RunFolder,
    sets: Sequence[Data],
    protocols: Sequence[str] = DEFAULTS,
    *,
    resolution: int | None = None,
    root: Path,
    device: str = "cpu",
    force: bool = False,
    progress: Progress | None = None,
) -> dict[str, dict[str, Score]]:
    """Score a run on each of some data sets, by their own training and test images.

    The images are resized to the run's resolution, or to `resolution`.

    Args: as `evaluate`.
    Returns:
        Data set name to protocol name to score; a name that comes twice is numbered.
    Raises:
        UserError: as `evaluate`.
    """
    found: dict[str, dict[str, Score]] = {}
    for data in sets:
        scores = evaluate(folder, protocols, data=data, resolution=resolution, root=root,
                          device=device, force=force, progress=progress)  # fmt: skip
        name = data.set_name
        same = sum(key.partition(" #")[0] == name for key in found)
        found[f"{name} #{same + 1}" if same else name] = scores
    return found
