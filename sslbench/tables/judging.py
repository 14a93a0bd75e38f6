"""A table's claims on the published values and on ours, and how well the ranks agree."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sslbench.data.registry import DATASETS, name_and_path
from sslbench.tables.claims import Claim
from sslbench.tables.comparisons import Verdict
from sslbench.tables.estimates import ONE_LOOK, Estimate, Looks, Values
from sslbench.tables.predicates import judge
from sslbench.tables.results import ClaimResult, MeasuredRow, MeasuredTable
from sslbench.tables.schema import BASELINES, TABLES, Table, find_cell, load_table
from sslbench.tables.sequential import spent

LEAST_PAIRS = 3  # rank agreement of fewer rows says nothing


def published_values(table: Table) -> Values:
    """The published values, without uncertainty; a value that is not printed counts as missing."""
    cells: dict[tuple[str, str], Estimate] = {}
    missing: set[tuple[str, str]] = set()
    for row in table.rows:
        for key, value in row.paper.items():
            if value is None:
                missing.add((row.id, key))
            else:
                cells[row.id, key] = Estimate(float(value))
    changes = {row.id: row.set for row in table.rows}
    return _values(table, cells, _published_chance(table), changes, frozenset(missing))


def measured_values(table: Table, measured: MeasuredTable, looks: Looks = ONE_LOOK) -> Values:
    """Our means with the uncertainty over seeds, baselines included."""
    cells: dict[tuple[str, str], Estimate] = {}
    diverged: set[tuple[str, str]] = set()
    known = {column.key for column in table.columns}
    for row in (*measured.rows, *measured.baselines):
        for key, cell in row.cells.items():
            if key not in known:  # a stored table may have a column that is no more
                continue
            if cell.state == "measured":
                points = table.column(key).in_points
                numbers = [seed for seed, value in cell.seeds if value is not None]
                cells[row.id, key] = Estimate.of(
                    cell.values, constant=cell.constant, points=points, numbers=numbers
                )
            elif cell.state == "diverged":
                diverged.add((row.id, key))
    # A stored table may lack a row that its definition has by now.
    changes = {row.id: row.set for row in table.rows}
    changes |= {row.id: row.changes for row in measured.rows}
    chance = {c.key: c.on.chance if c.on else measured.chance for c in measured.columns
              if c.key in known}  # fmt: skip
    values = _values(table, cells, chance, changes, frozenset(diverged))
    return replace(values, paired=bool(table.paired), looks=looks)


def _published_chance(table: Table) -> dict[str, float]:
    """That of one guess by column, where it is known."""
    found: dict[str, float] = {}
    for column in table.columns:
        if column.on is None:
            chance = table.chance
        else:
            classes = DATASETS[name_and_path(column.on)[0]].num_classes
            chance = 100.0 / classes if classes else None
        if chance is not None:
            found[column.key] = chance
    return found


def _values(
    table: Table,
    cells: Mapping[tuple[str, str], Estimate],
    chance: Mapping[str, float],
    changes: Mapping[str, Mapping[str, Any]],
    missing: frozenset[tuple[str, str]],
) -> Values:
    shown = [c.key for c in table.columns if c.derive is None]
    first = table.columns[0]
    alike = [c.key for c in table.columns
             if c.derive is None and (c.metric, c.on) == (first.metric, first.on)]  # fmt: skip
    return Values(
        cells=cells,
        first=first.key,
        chance={key: table.column(key).value.chance(one) for key, one in chance.items()},
        shown=tuple((row.id, key) for row in table.rows for key in shown),
        alike=tuple((row.id, key) for row in table.rows for key in alike),
        # To a claim baselines are rows too; they change nothing.
        changes={**{name: {} for name in BASELINES}, **changes},
        missing=missing,
    )


def claim_results(
    table: Table, measured: MeasuredTable, looks: Looks | None = None
) -> tuple[ClaimResult, ...]:
    """Every claim of the table, judged on both: in a table of several data sets on the rows of the
    one measured, printed and ours, so that one verdict stands beside the other.

    Args:
        looks: at how many seeds ours were looked at, and with what risk each time; None: as the
            measured table says.
    """
    looks = _looks_of(measured) if looks is None else looks
    ours, published = measured_values(table, measured, looks), published_values(table)
    rename = renaming(table, measured.dataset)

    def verdict(claim: Claim) -> Verdict:
        if claim.ours is None:
            return Verdict("not measured", claim.words or "it has no form for measured values")
        if claim.dataset and claim.dataset != measured.dataset:
            return Verdict("not measured", f"it is about {claim.dataset}")
        return judge(claim.ours, ours)

    def result(claim: Claim) -> ClaimResult:
        claim = claim if claim.dataset else claim.renamed(rename)
        theirs = None if claim.published is None else judge(claim.published, published).outcome
        found, about = verdict(claim), sets_of(table, claim)
        contradicted = claim.note if theirs == "not held" else ""
        detail = ". ".join(part for part in (found.detail, contradicted) if part)
        return ClaimResult(
            claim.id, claim.says, theirs, found.outcome, detail, measured.dataset, about
        )

    return tuple(result(claim) for claim in table.claims)


def _looks_of(measured: MeasuredTable) -> Looks:
    return spent(measured.planned)[: len(measured.looks)] if measured.looks else ONE_LOOK


def open_rows(table: Table, measured: MeasuredTable, looks: Looks) -> dict[str, frozenset[str]]:
    """Of every undecided claim the rows, baselines among them, whose further seeds could decide
    it; none where the seeds are not what leaves it open."""
    ours = measured_values(table, measured, looks)
    rename = renaming(table, measured.dataset)
    found = {}
    for claim in table.claims:
        if claim.ours is None or claim.dataset not in ("", measured.dataset):
            continue
        asked = claim.ours if claim.dataset else claim.ours.renamed(rename)
        verdict = judge(asked, ours)
        if verdict.outcome == "undecided":
            found[claim.id] = _sharing({row for row, _ in verdict.open}, measured)
    return found


def _sharing(rows: set[str], measured: MeasuredTable) -> frozenset[str]:
    """The rows, and those that share a run with them: what is one run keeps one number of seeds."""
    runs = {
        row.id: {run for cell in row.cells.values() for run in cell.runs}
        for row in (*measured.rows, *measured.baselines)
    }
    wanted = set[str]().union(*(runs[row] for row in rows))
    return frozenset(row for row, own in runs.items() if row in rows or own & wanted)


def judged(measured: MeasuredTable) -> MeasuredTable:
    """A stored table with today's claims judged on its cells; as it is where its definition is
    not at hand."""
    if measured.id not in TABLES:
        return measured
    return replace(measured, claims=claim_results(load_table(measured.id), measured))


def sets_of(table: Table, claim: Claim) -> tuple[str, ...]:
    """The data sets that a claim's published values are of, as the table names them: those of the
    rows that it speaks of, or of the table's setting where these are of none. None for a table of
    our own."""
    if claim.dataset:
        return (claim.dataset,)
    form = claim.published or claim.ours
    operands = () if form is None else form.operands()
    rows = {find_cell(table, operand)[0] for operand in operands} - set(BASELINES)
    named = [row.dataset for row in table.rows if row.id in rows and row.dataset]
    setting = str(table.setting.get("dataset", ""))
    return tuple(dict.fromkeys(named)) or ((setting,) if setting else ())


def renaming(table: Table, dataset: str) -> Callable[[str], str]:
    """From an operand about a row of another data set to the same row of the one measured, or of
    the first where that is none of the table's."""
    fitting = {row.stem: row.id for row in table.rows_on(dataset) if row.dataset}
    moved = {row.id: fitting.get(row.stem, row.id) for row in table.rows if row.dataset}

    def rename(operand: str) -> str:
        row, column = find_cell(table, operand)
        return operand if moved.get(row, row) == row else f"{moved[row]}.{column}"

    return rename


def rank_agreement(table: Table, rows: Sequence[MeasuredRow]) -> dict[str, float]:
    """Kendall's tau-b of our row means against the published values, per column."""
    found = {}
    for column in table.columns:
        pairs = list(_pairs(rows, column.key))
        if len(pairs) >= LEAST_PAIRS:
            from scipy.stats import kendalltau

            tau = float(kendalltau([a for a, _ in pairs], [b for _, b in pairs]).statistic)
            if math.isfinite(tau):
                found[column.key] = tau
    return found


def _pairs(rows: Sequence[MeasuredRow], key: str) -> Iterable[tuple[float, float]]:
    for row in rows:
        cell = row.cells.get(key)
        if cell is not None and cell.difference is not None:  # both there, and comparable
            assert cell.mean is not None and cell.published is not None
            yield cell.mean, cell.published
