"""Studies: a recipe's settings searched with the budget that every recipe gets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslbench.api.names import PathLike, data_root, runs_folder
from sslbench.recipes.specs import Data
from sslbench.requests import Changes, split_changes, wanted_data

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["tune"]


def tune(
    recipe: str,
    *,
    scale: str = "laptop",
    dataset: str | Data | None = None,
    trials: int = 40,
    seeds: int = 3,
    seed: int = 0,
    changes: Changes | None = None,
    jobs: int = 1,
    threads: int = 1,
    runs: PathLike | None = None,
    root: PathLike | None = None,
    results: PathLike = "results",
    device: str = "auto",
    progress: bool = True,
) -> pd.DataFrame:
    """Search a recipe's settings on the held-out part of its training images, as `sslbench tune`
    does; a study that was stopped is gone on with, and one that is complete is read.

    Args:
        trials: settings that are tried, the present one among them.
        seeds: of the best few and of the present setting.
        seed: of the sampler.
        changes: of every trial; the search leaves these fields alone.
        jobs: worker processes, which change no result; 1 trains in this one.
        threads: CPU threads of each run.
        dataset, runs, root, device, progress: as `TableHandle.measure` takes them.
        results: where the study is kept, under `tuning/<scale>/<data set>/<recipe>.json`.
    Returns:
        A line a trial: `state` (finished, stopped, diverged, refused), `linear` and `knn` on the
        first seed in percent, the `mean` of linear over the further seeds, `minutes`, and a column
        for each dimension that is searched (NaN where it is the present value). `attrs` has the
        `winner`, its `changes`, the `gain` in points with `half` of its interval, `minutes`,
        `trials` (a parent's counted), `digest`, and the `file`.
    Raises:
        UserError: an unknown name or field, nothing to tune, or another study in its place.
        RunFailed: every trial diverged, or a run failed for another reason than its numbers.
        Interrupted: stopped by a signal; the same call goes on from there.
    """
    import torch

    from sslbench.reports.progress import study_progress, watched
    from sslbench.reports.tuning_frame import trial_frame
    from sslbench.tuning.request import TuneRequest

    fixed, of_data = split_changes(changes)
    request = TuneRequest.of(
        [recipe],
        scale=scale,
        data=wanted_data(dataset, scale, of_data),
        fixed=fixed,
        trials=trials,
        seeds=seeds,
        seed=seed,
        runs=runs_folder(runs),
        root=data_root(root),
        results=Path(results),
        jobs=jobs,
        threads=threads,
        device=device,
    )
    more: dict[str, Any] = {"on_progress": study_progress} if progress and watched() else {}
    with torch.random.fork_rng(devices=[]):
        record = request.run(recipe, **more)
    frame = trial_frame(record)
    frame.attrs["file"] = str(request.path(recipe))
    return frame
