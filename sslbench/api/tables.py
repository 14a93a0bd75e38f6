"""Tables: planned, measured, and read as pandas frames."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslbench.api.names import PathLike, data_root, runs_folder
from sslbench.errors import UserError
from sslbench.recipes.specs import Data
from sslbench.requests import Changes, GridRequest
from sslbench.tables.schema import Table, load_table, table_names

if TYPE_CHECKING:
    import pandas as pd

    from sslbench.tables.grid import Plan
    from sslbench.tables.results import MeasuredTable

__all__ = ["TableHandle", "leaderboard", "table", "table_names"]


class TableHandle:
    """A table, and what was measured of it last.

    Attributes:
        table: its definition: rows, columns, claims, source.
        measured: every seed of every cell; None before `measure`.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self.measured: MeasuredTable | None = None

    def __repr__(self) -> str:
        table = self.table
        return f"<Table {table.id}: {table.title} ({len(table.rows)} rows, {table.source})>"

    @property
    def rows(self) -> pd.DataFrame:
        """The rows by id: `label`, `recipe`, the `changes` that make each, and the published value
        of every column by its key."""
        import pandas as pd

        table = self.table
        lines = [
            {
                "row": row.id,
                "label": row.label,
                "recipe": row.recipe or table.base,
                "changes": dict(row.set),
                **{column.key: row.paper.get(column.key) for column in table.columns},
            }
            for row in table.rows
        ]
        published = {column.key: float for column in table.columns}
        return pd.DataFrame(lines).set_index("row").astype(published)

    def plan(
        self,
        *,
        scale: str = "laptop",
        seeds: int | Sequence[int] | None = None,
        rows: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        dataset: str | Data | None = None,
        changes: Changes | None = None,
        runs: PathLike | None = None,
        root: PathLike | None = None,
    ) -> pd.DataFrame:
        """The runs that `measure` would take, each once: `run`, the cells that it `feeds`, its
        `status`, and about how many `seconds` are left. Trains nothing.

        Args: as `measure`.
        Raises:
            UserError: as `measure`.
        """
        import pandas as pd

        request = self._request(scale, seeds, rows, columns, dataset, changes, runs, root)
        lines = [
            {
                "run": run.folder.path.name,
                "feeds": run.label,
                "status": "finished" if run.finished else run.status,
                "seconds": run.seconds,
            }
            for run in request.plan().runs
        ]
        return pd.DataFrame(lines).set_index("run")

    def measure(
        self,
        *,
        scale: str = "laptop",
        seeds: int | Sequence[int] | None = None,
        until_decided: bool = False,
        max_seeds: int | None = None,
        budget_minutes: float | None = None,
        rows: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        dataset: str | Data | None = None,
        jobs: int = 1,
        changes: Changes | None = None,
        runs: PathLike | None = None,
        root: PathLike | None = None,
        results: PathLike = "results",
        device: str = "auto",
        progress: bool = True,
    ) -> pd.DataFrame:
        """Train and score what is lacking, and keep the result as `sslbench ablate` does.

        Args:
            scale: smoke, laptop, desktop, cifar or paper.
            seeds: how many (0, 1, ...), or which; None: as many as the scale takes.
            until_decided: add seeds, look by look, to the rows of claims that are undecided;
                `seeds` is then the number of the first look (None: 3).
            max_seeds: of the last such look; None: 12.
            budget_minutes: no such look is begun that takes longer than is left of these.
            rows: ids of the only rows wanted; None: all. Baselines come with them.
            columns: keys of the only columns to measure; None: all.
            dataset: a name, "folder:PATH", or a spec; None: the set that the scale is measured on
                (CIFAR-10 at `laptop`) where it lies under `root`, else the scale's own.
            jobs: worker processes; 1 trains in this one.
            changes: of every row that has the field, as `sslbench.pretrain` takes them.
            runs, root: as `sslbench.pretrain` takes them.
            results: where measured tables are kept.
            progress: show bars in a terminal, and lines in a notebook; elsewhere it is quiet.
        Returns:
            A line a row, baselines last. Of each column `mean`, `interval` (half-width of the 95 %
            interval of the mean over seeds; NaN for one seed), `n` seeds, and the `published`
            value. `attrs` has `scale`, `dataset`, `seeds`, `chance` (percent), `device`, `minutes`,
            `commit` and more; the `file` of the result; and in `failed` a sentence for each run
            that failed for another reason than its numbers, of which a warning tells too.
        Raises:
            UserError: an unknown row, scale or field, bad data, or looks that decide nothing.
            Interrupted: stopped by a signal; the same call goes on from there.
        """
        from sslbench.reports.frames import number_frame
        from sslbench.tables.adaptive import Budget, decide
        from sslbench.tables.results import result_path

        request = self._request(scale, seeds, rows, columns, dataset, changes, runs, root)

        sizes = []

        def train(plan: Plan) -> list[str]:
            sizes.append(len(plan.runs))
            return _train(plan, root=request.root, jobs=jobs, device=device, progress=progress)

        def keep(measured: MeasuredTable) -> None:
            self.measured = measured
            measured.save(result_path(Path(results), measured))

        if until_decided:
            [growing] = request.growing(
                first=_count(seeds), most=max_seeds, results=Path(results), device=device
            )
            budget = Budget(budget_minutes, time.monotonic)
            failed = decide(growing, budget=budget, jobs=jobs, train=train, tell=_tell(progress),
                            keep=keep)  # fmt: skip
        else:
            _refuse_looks(max_seeds, budget_minutes)
            failed = train(request.plan())
            [measured] = request.measure()
            keep(measured)
        assert self.measured is not None
        if failed:
            text = f"{len(failed)} of {sizes[-1]} runs failed: " + "; ".join(failed)
            warnings.warn(text, RuntimeWarning, stacklevel=2)
        file = result_path(Path(results), self.measured)
        frame = number_frame(self.measured, rows=request.rows)
        frame.attrs |= {"file": str(file), "failed": failed}
        return frame

    def claims(self) -> pd.DataFrame:
        """What became of the claims, by id: what each `says`, whether it held on the `published`
        values and on `ours` (held, not held, undecided, not measured), in `detail` why, and which
        data set it was `judged_on` and the sentence is `about`.

        Raises:
            UserError: nothing was measured yet.
        """
        import pandas as pd

        if self.measured is None:
            raise UserError(f"Table {self.table.id} is not measured yet; call measure() first.")
        columns = ["says", "published", "ours", "detail", "judged_on", "about"]
        found = self.measured.claims
        lines = [[getattr(claim, name) for name in columns] for claim in found]
        index = pd.Index([claim.id for claim in found], name="claim")
        return pd.DataFrame(lines, index=index, columns=columns)

    def _request(
        self,
        scale: str,
        seeds: int | Sequence[int] | None,
        rows: Sequence[str] | None,
        columns: Sequence[str] | None,
        dataset: str | Data | None,
        changes: Changes | None,
        runs: PathLike | None,
        root: PathLike | None,
    ) -> GridRequest:
        return GridRequest.of(
            [self.table],
            scale=scale,
            seeds=seeds,
            rows=[rows] if isinstance(rows, str) else rows,
            columns=[columns] if isinstance(columns, str) else columns,
            dataset=dataset,
            changes=changes,
            runs=runs_folder(runs),
            root=data_root(root),
        )


def _count(seeds: int | Sequence[int] | None) -> int | None:
    """How many seeds the first look has. Raises UserError for a list of them."""
    if seeds is None or isinstance(seeds, int):
        return seeds
    raise UserError("until_decided takes the seeds 0, 1, ...; give in `seeds` how many, no list.")


def _refuse_looks(max_seeds: int | None, budget_minutes: float | None) -> None:
    if max_seeds is not None or budget_minutes is not None:
        raise UserError("max_seeds and budget_minutes go with until_decided=True; give both.")


def _tell(progress: bool) -> Callable[[str], None]:
    """Where looks are told of: on standard error where it is seen, else nowhere."""
    from sslbench.reports.progress import told, watched

    return told if progress and watched() else lambda sentence: None


def _train(plan: Plan, *, root: Path, jobs: int, device: str, progress: bool) -> list[str]:
    """Run a plan; the sentences of failures that are no result."""
    import torch

    from sslbench.reports.progress import grid_progress, watched
    from sslbench.tables.grid import run

    shown: Any = grid_progress(plan) if progress and watched() else nullcontext()
    with torch.random.fork_rng(devices=[]), shown as on_event:
        finished = run(plan, root=root, jobs=jobs, device=device, on_event=on_event)
    return plan.faults(finished)


def table(name: PathLike) -> TableHandle:
    """A table by its id, or a YAML file of one's own. Raises UserError with the nearest names."""
    return TableHandle(load_table(str(name)))


def leaderboard(*recipes: str) -> TableHandle:
    """Some recipes side by side under the same protocols. Raises UserError for an unknown one."""
    from sslbench.tables.leaderboards import leaderboard

    return TableHandle(leaderboard(recipes))
