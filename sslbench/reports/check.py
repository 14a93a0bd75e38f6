"""The gate on reported numbers: measured tables against committed ones, beyond the seeds' spread.

A cell fails when a one-sided Welch test gives p < 0.01 and the drop exceeds both a floor and one
standard deviation of the reference's seeds. Seeds are samples, not pairs: another machine gives
other last digits and must pass. The same test upwards flags a cell that is suspiciously better.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from sslbench.errors import UserError
from sslbench.evaluation.protocols import POINTS, PROTOCOLS
from sslbench.reports.display import decimals, number
from sslbench.reports.welch import Sample, p_drop
from sslbench.tables.metrics import OF_MACHINE, protocol_of
from sslbench.tables.results import Cell, MeasuredColumn, MeasuredTable

P_VALUE = 0.01
FLOOR_POINTS = 0.3  # least drop that counts, of a percentage
FLOOR_SHARE = 0.01  # least change that counts for other units, as a share of the reference

Verdict = Literal["same", "regression", "better", "moved", "undecided", "missing", "skipped"]
FAILURES: tuple[Verdict, ...] = ("regression", "missing")
WARNINGS: tuple[Verdict, ...] = ("better", "moved", "undecided")


@dataclass(frozen=True, kw_only=True)
class CellCheck:
    """One cell's verdict. `drop` is positive where the measured cell is worse; `threshold` is what
    it had to exceed; `sentence` says it for a reader."""

    table: str
    row: str
    column: str
    verdict: Verdict
    sentence: str
    reference: float | None = None
    measured: float | None = None
    reference_n: int = 0
    measured_n: int = 0
    drop: float | None = None
    threshold: float | None = None
    p: float | None = None


@dataclass(frozen=True, kw_only=True)
class ClaimFlip:
    """A claim whose outcome differs from the reference's. A held claim that no longer holds fails
    only where a cell of its table failed the gate: claims near a tie flip by chance."""

    table: str
    claim: str
    before: str
    after: str
    failure: bool
    sentence: str


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What a check found, and the exit code it means."""

    cells: tuple[CellCheck, ...]
    flips: tuple[ClaimFlip, ...]

    @property
    def compared(self) -> int:
        """How many cells were tested: the gate lets P_VALUE of them fail by chance."""
        return sum(cell.p is not None for cell in self.cells)

    @property
    def failures(self) -> tuple[CellCheck, ...]:
        """Cells that regressed or are missing."""
        return tuple(cell for cell in self.cells if cell.verdict in FAILURES)

    @property
    def warnings(self) -> tuple[CellCheck, ...]:
        """Cells to look at: suspiciously better, moved either way, or not decidable."""
        return tuple(cell for cell in self.cells if cell.verdict in WARNINGS)

    @property
    def ok(self) -> bool:
        """Whether the gate is open."""
        return not self.failures and not any(flip.failure for flip in self.flips)

    @property
    def exit_code(self) -> int:
        """0 when the gate is open, 1 otherwise (2 is a refusal: UserError)."""
        return 0 if self.ok else 1

    @property
    def sentence(self) -> str:
        """The outcome in one sentence."""
        chance = P_VALUE * self.compared
        return (
            f"{'Passed' if self.ok else 'Failed'}: {self.compared} cells compared, "
            f"{len(self.failures)} failed (new seeds fail up to {chance:.2g} by chance), "
            f"{len(self.warnings)} to look at, {len(self.flips)} claims changed."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "ok": self.ok,
            "exit_code": self.exit_code,
            "sentence": self.sentence,
            "p_value": P_VALUE,
            "compared": self.compared,
            "cells": [asdict(cell) for cell in self.cells],
            "claims": [asdict(flip) for flip in self.flips],
        }


def check(measured: Sequence[MeasuredTable], reference: Sequence[MeasuredTable]) -> CheckReport:
    """Compare every cell of the reference with the measured one.

    Tables are matched by id and scale. A reference table that was not measured counts as missing
    in all its cells; a measured table without reference is not looked at.

    Raises:
        UserError: nothing to compare, or the two sides are not comparable (stale or different
            numerics, other data, another protocol definition, other overrides).
    """
    ours = {(table.id, table.scale): table for table in measured}
    if not reference:
        raise UserError(
            "There is no reference to check against; measure one with `sslbench ablate`, and "
            "commit it under results/."
        )
    cells: list[CellCheck] = []
    flips: list[ClaimFlip] = []
    for old in reference:
        new = ours.get((old.id, old.scale))
        if new is not None:
            _refuse_incomparable(new, old)
        found = list(_check_cells(new, old))
        cells += found
        flips += _flips(new, old, found) if new else []
    return CheckReport(cells=tuple(cells), flips=tuple(flips))


def check_cell(measured: Cell, reference: Cell, column: MeasuredColumn) -> dict[str, Any]:
    """The verdict on one cell and the numbers behind it, as fields of a `CellCheck`.

    One seed on both sides leaves no spread to judge by: beyond the floor, that is undecided.
    """
    state = _by_state(measured, reference)
    if state is not None:
        return {"verdict": state}
    old, new = Sample.of(reference), Sample.of(measured)
    higher, lower = (old, new) if old.mean >= new.mean else (new, old)
    p = p_drop(higher, lower)
    drop = (new.mean - old.mean) if column.better == "lower" else (old.mean - new.mean)
    threshold = max(_floor(old, column), _std(old, new))
    verdict: Verdict = "same"
    if abs(drop) > threshold and p is None:
        verdict = "undecided"
    elif abs(drop) > threshold and p is not None and p < P_VALUE:
        verdict = "regression" if drop > 0 else "better"
        verdict = "moved" if column.better == "none" else verdict
    numbers = {"reference": old.mean, "measured": new.mean, "drop": drop, "threshold": threshold}
    return {"verdict": verdict, **numbers, "p": p}


def _by_state(measured: Cell, reference: Cell) -> Verdict | None:
    """The verdict where one side has no number to test; a seed that newly diverges regresses."""
    if not reference.n:
        return "better" if measured.n and reference.state == "diverged" else "skipped"
    if measured.state in ("missing", "failed", "published-only"):
        return "missing"
    lost = len(measured.seeds) - measured.n
    if not measured.n or (lost and reference.n == len(reference.seeds)):
        return "regression"
    return None


def _floor(reference: Sample, column: MeasuredColumn) -> float:
    return FLOOR_POINTS if column.unit in POINTS else FLOOR_SHARE * abs(reference.mean)


def _std(reference: Sample, measured: Sample) -> float:
    """The reference's standard deviation over seeds, or ours where it has one seed only."""
    variance = measured.variance if reference.variance is None else reference.variance
    return float((variance or 0.0) ** 0.5)


def require_same_request(
    reference: MeasuredTable, overrides: Mapping[str, Any], fingerprint: str
) -> None:
    """Whether a table measured now, with these `--set` changes on this data, could be compared.

    Raises:
        UserError: the reference is of older numerics, of protocols defined otherwise, of other
            data, or other fields were set in it.
    """
    _refuse_stale(reference, "reference")
    _same(reference.id, "the data's fingerprint", fingerprint, reference.fingerprint)
    _same(reference.id, "what --set changed", _text(overrides), _text(reference.overrides))
    for column in reference.columns:
        protocol = PROTOCOLS.get(protocol_of(column.metric) or "")
        if protocol is not None and column.definition:
            what = f"the protocol of column {column.key}"
            _same(reference.id, what, protocol.definition, column.definition)


def _refuse_incomparable(new: MeasuredTable, old: MeasuredTable) -> None:
    _refuse_stale(new, "measured table")
    _refuse_stale(old, "reference")
    for what, ours, theirs in (
        ("the numerics version", new.numerics, old.numerics),
        ("the data set", new.dataset, old.dataset),
        ("the data's fingerprint", new.fingerprint, old.fingerprint),
        ("the number of test images", new.num_test, old.num_test),
        ("what --set changed", _text(new.overrides), _text(old.overrides)),
    ):
        _same(new.id, what, ours, theirs)
    found = {column.key: column for column in new.columns}
    for column in old.columns:
        if mine := found.get(column.key):
            where = f"of column {column.key}"
            _same(new.id, f"the metric {where}", mine.metric, column.metric)
            _same(new.id, f"the protocol {where}", mine.definition, column.definition)
            sets = (c.on.fingerprint if c.on else "the table's" for c in (mine, column))
            _same(new.id, f"the data {where}", *sets)


def _refuse_stale(table: MeasuredTable, side: str) -> None:
    if table.stale:
        raise UserError(
            f"{table.id}: the {side} has numerics {table.numerics}, older than this version's; "
            f"measure it again with `sslbench ablate {table.id} --scale {table.scale} "
            f"--dataset {table.dataset}`."
        )


def _same(name: str, what: str, ours: object, theirs: object) -> None:
    if ours != theirs:
        raise UserError(
            f"{name}: {what} differs (measured {ours}, reference {theirs}), so the two are not "
            "comparable; measure the table and its reference the same way."
        )


def _text(overrides: Mapping[str, Any]) -> str:
    """As JSON: a table just measured has tuples where one read from its file has lists."""
    return json.dumps(dict(overrides), sort_keys=True)


def _check_cells(new: MeasuredTable | None, old: MeasuredTable) -> Iterator[CellCheck]:
    found = {row.id: row.cells for row in (*new.rows, *new.baselines)} if new else {}
    for row in (*old.rows, *old.baselines):
        for column in old.columns:
            before = row.cells.get(column.key)
            if before is None or column.metric in OF_MACHINE:
                continue
            after = found.get(row.id, {}).get(column.key, Cell(state="missing"))
            fields = check_cell(after, before, column)
            yield CellCheck(
                table=old.id,
                row=row.id,
                column=column.key,
                reference_n=before.n,
                measured_n=after.n,
                sentence=_sentence(
                    f"{old.id}, {row.id}, {column.key}", after, before, column, fields
                ),
                **fields,
            )


def _sentence(
    where: str, new: Cell, old: Cell, column: MeasuredColumn, fields: dict[str, Any]
) -> str:
    verdict: Verdict = fields["verdict"]
    if verdict == "missing":
        reason = new.note or "it was not measured"
        return f"{where}: the reference has a number, but {reason}."
    if verdict == "skipped":
        return f"{where}: the reference has no number."
    if fields.get("drop") is None:
        counts = f"{len(new.seeds) - new.n} of {len(new.seeds)} seeds diverged"
        return f"{where}: {counts}, in the reference {len(old.seeds) - old.n} of {len(old.seeds)}."
    digits = decimals(old, column) + 1
    size = number(abs(fields["drop"]), digits)
    p = "no spread known from one seed a side" if fields["p"] is None else f"p = {fields['p']:.2g}"
    change = f"{number(fields['reference'], digits)} to {number(fields['measured'], digits)}"
    more = f"{change}, {size} {'worse' if fields['drop'] > 0 else 'better'} ({p}"
    if column.better == "none":
        more = f"{change}, a change of {size} ({p}"
    limit = f"limit {number(fields['threshold'], digits)}, n = {old.n} and {new.n})"
    return f"{where}: {verdict}: {more}, {limit}."


def _flips(new: MeasuredTable, old: MeasuredTable, cells: list[CellCheck]) -> Iterator[ClaimFlip]:
    before = {claim.id: claim for claim in old.claims}
    for claim in new.claims:
        was = before.get(claim.id)
        if was is None or was.ours == claim.ours:
            continue
        failure = was.ours == "held" and claim.ours == "not held"
        failure = failure and any(c.verdict in FAILURES for c in cells)
        yield ClaimFlip(
            table=old.id,
            claim=claim.id,
            before=was.ours,
            after=claim.ours,
            failure=failure,
            sentence=f"{old.id}, claim {claim.id}: {was.ours} before, {claim.ours} now"
            + (f" ({claim.detail})." if claim.detail else "."),
        )
