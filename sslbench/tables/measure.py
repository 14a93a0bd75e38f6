"""From finished runs to a measured table: cells over seeds, claims, rank agreement."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sslbench.engine.folder import NUMERICS
from sslbench.engine.monitors import knn_dips
from sslbench.evaluation.scores import Score
from sslbench.files import exists, read_text
from sslbench.plugins import described
from sslbench.recipes.specs import Data, DrawnSpec
from sslbench.tables.cells import Place, baselines, is_constant, scoring_of
from sslbench.tables.derive import fill_derived
from sslbench.tables.estimates import ONE_LOOK, Looks
from sslbench.tables.grid import Plan, PlannedRun, plan, score_of
from sslbench.tables.jobs import ERROR_FILE, Scoring
from sslbench.tables.judging import claim_results, rank_agreement
from sslbench.tables.metrics import protocol_of
from sslbench.tables.results import (
    Cell,
    CellState,
    MeasuredColumn,
    MeasuredRow,
    MeasuredTable,
    ScoredOn,
)
from sslbench.tables.schema import Column, Row, Table

BASELINE_LABELS = {"untrained": "untrained encoder", "raw-pixels": "raw pixels"}


def measure(
    table: Table,
    *,
    scale: str,
    seeds: int | Sequence[int],
    runs: Path,
    root: Path,
    data: Data | None = None,
    overrides: Mapping[str, Any] | None = None,
    fewer: Mapping[str, int] | None = None,
    looks: Looks = ONE_LOOK,
) -> MeasuredTable:
    """Read what has been run of a table; cells without a finished run are `missing`.

    Args: as `grid.plan`, and
        looks: at how many seeds the claims were looked at, and with what risk each time.
    Raises:
        UserError: as `grid.plan`.
    """
    planned = plan(
        [table], scale=scale, seeds=seeds, runs=runs, root=root, data=data, overrides=overrides,
        fewer=fewer,
    )  # fmt: skip
    trained_on = planned.request.trained_on(table)
    reader = _Reader(table, planned, root)
    rows = fill_derived(table, [reader.row(row) for row in table.rows])
    beside = [reader.baseline(name) for name in baselines(table)]
    unjudged = MeasuredTable(
        id=table.id,
        title=table.title,
        source=table.source,
        arxiv=table.arxiv,
        setting=dict(table.setting),
        notes=(
            *table.notes,
            *_stand_in(table, trained_on.set_name),
            *reader.sparse_curves(),
            *_pairing(table),
        ),
        scale=scale,
        chance=_chance(trained_on, root),
        seeds=planned.request.seeds,
        overrides=dict(overrides or {}),
        columns=tuple(reader.column(column) for column in table.columns),
        rows=tuple(rows),
        baselines=tuple(beside),
        claims=(),
        rank_agreement=rank_agreement(table, rows),
        **reader.company(),
    )
    return replace(unjudged, claims=claim_results(table, unjudged, looks))


class _Reader:
    """Reads the run folders of one table; each file once."""

    def __init__(self, table: Table, planned: Plan, root: Path) -> None:
        self.table, self.plan, self.root = table, planned, root
        self.scorings = {
            c.key: scoring_of(table, c, request=planned.request) for c in table.columns
        }
        self.scores: dict[tuple[str, Scoring], Score] = {}
        self.definitions: dict[str, str] = {}
        self.summaries = {run.folder.path.name: run.folder.summary() for run in planned.runs}

    def row(self, row: Row) -> MeasuredRow:
        """A row of the table, with every column's cell."""
        cells = {c.key: self._cell(row.id, c, row) for c in self.table.columns}
        runs = self._runs(row.id)
        elsewhere = f"its values are of {row.dataset}" if row.dataset and not runs else ""
        why = row.not_trainable or elsewhere
        note = "; ".join(n for n in (row.note, why, self._twin(row)) if n)
        return MeasuredRow(
            id=row.id,
            label=row.label,
            cells=cells,
            key=dict(row.key),
            changes=_changes(row, runs),
            certain=row.certain,
            source=row.source,
            note=note,
            verdicts=self._verdicts(runs),
            minutes=self._minutes(runs),
        )

    def baseline(self, name: str) -> MeasuredRow:
        """The untrained encoder or raw pixels, in the columns that score an encoder."""
        columns = [c for c in self.table.columns if protocol_of(c.metric)]
        runs = self._runs(name)
        return MeasuredRow(
            id=name,
            label=BASELINE_LABELS[name],
            cells={c.key: self._cell(name, c, None) for c in columns if c.derive is None},
            baseline=True,
            minutes=self._minutes(runs),
        )

    def column(self, column: Column) -> MeasuredColumn:
        """A column's heading; call it after the rows, when the definitions are known."""
        scoring = self.scorings[column.key]
        return MeasuredColumn(
            key=column.key,
            name=column.name,
            unit=column.value.unit,
            better=column.value.better,
            metric=column.metric,
            definition=self.definitions.get(scoring.protocol, "") if scoring else "",
            protocol=column.protocol,
            on=self._scored_on(scoring.data) if scoring and scoring.data else None,
        )

    def _scored_on(self, data: Data) -> ScoredOn:
        return ScoredOn(
            dataset=data.set_name,
            resolution=data.resolution,
            fingerprint=self.plan.fingerprints[data],
            num_test=self._num_test(data),
            chance=_chance(data, self.root),
        )

    def _num_test(self, data: Data | None) -> int:
        """Of the data set of some columns (None: the runs' own); 0 before anything is scored."""
        counts = (score.num_test for (_, s), score in self.scores.items() if s.data == data)
        return max(counts, default=0)

    def company(self) -> dict[str, Any]:
        """Where the runs were measured; several devices or commits are named together."""
        done = [s for s in self.summaries.values() if s.get("status") == "finished"]

        def joined(key: str) -> str:
            return " + ".join(sorted({str(s.get(key)) for s in done if s.get(key)}))

        return {
            "dataset": joined("dataset"),
            "fingerprint": joined("fingerprint"),
            "num_test": self._num_test(None),
            "numerics": min((int(s["numerics"]) for s in done), default=NUMERICS),
            "device": joined("device"),
            "device_class": joined("device_class"),
            "commit": joined("commit"),
            "torch": joined("torch"),
            "plugins": tuple(described(s.get("plugins", {}) for s in done)),
            "minutes": self._minutes(list(self.plan.runs)),
        }

    def _cell(self, name: str, column: Column, row: Row | None) -> Cell:
        printed: dict[str, Any] = {
            "published": row.paper.get(column.key) if row else None,
            "spread": row.spread.get(column.key) if row else None,
            "comparable": not column.protocol,
        }
        runs = self._places(name, column.key)
        if not runs or column.metric is None:
            return Cell(state="published-only", **printed)
        seeds: list[tuple[int, float | None]] = []
        errors, unfinished, without = [], 0, 0
        for seed, run in runs:
            value = self._value(run, column)
            value = -value if column.negative and value is not None else value
            if value is not None or run.diverged:
                seeds.append((seed, value if value is not None and math.isfinite(value) else None))
            elif error := self._error(run):
                errors.append(error)
            elif run.finished:  # and it has no such value
                without += 1
            else:
                unfinished += 1
        finite = any(value is not None for _, value in seeds)
        state: CellState = "missing"
        if seeds:
            state = "measured" if finite else "diverged"
        elif errors:
            state = "failed"
        elif without == len(runs):
            state = "published-only"
        counts = [f"{len(errors)} failed: {errors[0]}"] if errors else []
        counts += [f"{without} of {len(runs)} runs do not say it"] if without else []
        counts += [f"{unfinished} of {len(runs)} seeds not run"] if unfinished else []
        return Cell(
            state=state,
            seeds=tuple(seeds),
            **printed,
            constant=is_constant(runs[0][1].experiment.recipe),
            runs=tuple(run.folder.path.name for _, run in runs),
            note="; ".join(counts),
        )

    def _places(self, name: str, key: str) -> list[tuple[int, PlannedRun]]:
        places = [(s, Place(self.table.id, name, key, s)) for s in self.plan.request.seeds_of(name)]
        return [(s, self.plan.by_place[p]) for s, p in places if p in self.plan.by_place]

    def _runs(self, name: str) -> list[PlannedRun]:
        """The row's runs, each once."""
        places = (item for c in self.table.columns for item in self._places(name, c.key))
        return list({run.folder.path.name: run for _, run in places}.values())

    def _value(self, run: PlannedRun, column: Column) -> float | None:
        summary = self.summaries[run.folder.path.name]
        if summary.get("status") != "finished":
            return None
        name, scoring = column.value.key, self.scorings[column.key]
        if scoring is None and name == "knn_dips":
            return knn_dips([knn for _, knn in run.folder.knn_curve()])
        if scoring is None:
            return _run_value(summary, name)
        score = self._score(run, scoring)
        value = None if score is None else score.values.get(name)
        return None if value is None else float(value)

    def _score(self, run: PlannedRun, scoring: Scoring) -> Score | None:
        key = (run.folder.path.name, scoring)
        if key not in self.scores:
            score = score_of(run.folder, scoring, self.plan.fingerprints)
            if score is None:
                return None
            self.definitions[scoring.protocol] = score.definition
            self.scores[key] = score
        return self.scores[key]

    def _error(self, run: PlannedRun) -> str:
        """Why the run's last attempt failed, in a sentence; "" when it did not."""
        path = run.folder.path / ERROR_FILE
        lines = read_text(path).splitlines() if exists(path) else []
        sentence = lines[0] if lines else self.summaries[run.folder.path.name].get("error", "")
        return str(sentence)

    def _verdicts(self, runs: list[PlannedRun]) -> dict[str, int]:
        verdicts = (self.summaries[r.folder.path.name].get("verdict") for r in runs)
        return dict(Counter(v["state"] for v in verdicts if v is not None))

    def _minutes(self, runs: list[PlannedRun]) -> float:
        names = {run.folder.path.name for run in runs}
        seconds = sum(self.summaries[n].get("elapsed_seconds") or 0.0 for n in names)
        seconds += sum(s.elapsed_seconds for (n, _), s in self.scores.items() if n in names)
        return float(seconds) / 60

    def sparse_curves(self) -> list[str]:
        """How many finished runs have fewer points of the kNN curve than the table asks for."""
        wanted = self.table.monitor_points
        if wanted is None:
            return []
        finished = [
            (len(run.folder.knn_curve()), summary["steps"])
            for run in self.plan.runs
            if (summary := self.summaries[run.folder.path.name]).get("status") == "finished"
        ]
        sparse = [points for points, steps in finished if points < min(wanted, steps)]
        if not sparse:
            return []
        return [
            f"{len(sparse)} of {len(finished)} finished runs have fewer points of the kNN curve "
            f"than the {wanted} that the table asks for: they were trained before it did."
        ]

    def _twin(self, row: Row) -> str:
        """A row above that is the same run at this scale, in words."""
        own = {run.folder.path.name for run in self._runs(row.id)}
        for other in self.table.rows:
            if other.id == row.id or not own:
                return ""
            if {run.folder.path.name for run in self._runs(other.id)} == own:
                return f"the same run as '{other.label}' at this scale"
        return ""


def _run_value(summary: Mapping[str, Any], name: str) -> float | None:
    """A metric of the run itself: one of its last log point; `std_ratio`, the output's std times
    sqrt(d), 1 when spread; or `minutes`, the wall time of training, and what else it cost.
    `knn_dips` is of the log, not of the summary: see `engine.monitors.knn_dips`."""
    if name == "minutes":
        return float(summary["elapsed_seconds"]) / 60
    final: Mapping[str, Any] = summary.get("final", {})
    names = {"final_loss": "loss"}
    if name == "std_ratio":
        std, width = final.get("std"), final.get("out_dim")
        return None if std is None or not width else float(std) * math.sqrt(width)
    value = final.get(names.get(name, name), summary.get("cost", {}).get(name))
    return None if value is None else float(value)


def _stand_in(table: Table, dataset: str) -> list[str]:
    """Which data set the rows' runs stand for, where the table has several."""
    if not table.datasets or dataset in table.datasets:
        return []
    others = f", and those of {', '.join(table.datasets[1:])} are published only"
    return [
        f"Measured on {dataset}, which stands in for {table.datasets[0]}: the rows of "
        f"{table.datasets[0]} have our values{others if table.datasets[1:] else ''}."
    ]


def _pairing(table: Table) -> list[str]:
    """How claims compare rows, where it is not as independent samples."""
    return [f"Claims compare rows seed by seed: {table.paired}"] if table.paired else []


def _changes(row: Row, runs: list[PlannedRun]) -> dict[str, Any]:
    """The row's changes as they were run: the scale maps published values to its own."""
    leaves = dict(runs[0].experiment.recipe.leaves()) if runs else {}
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in leaves.items()}
    return {path: plain.get(path, value) for path, value in row.set.items()}


def _chance(data: Data, root: Path) -> float:
    """Chance accuracy of one guess, in percent."""
    if isinstance(data, DrawnSpec):
        return 100.0 / data.num_classes
    from sslbench.data import load
    from sslbench.data.registry import DATASETS

    known = DATASETS[data.name].num_classes if data.name in DATASETS else None
    return 100.0 / (known or len(load(data, root=root).classes))
