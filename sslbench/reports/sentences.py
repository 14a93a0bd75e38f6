"""A measured table in one sentence, made from its verdicts, and what that rests on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from sslbench.engine.folder import NUMERICS
from sslbench.reports.display import is_measured, ours_text
from sslbench.tables.estimates import Outcome
from sslbench.tables.moved import moved_rows
from sslbench.tables.results import Cell, ClaimResult, MeasuredColumn, MeasuredTable

OUTCOMES: tuple[Outcome, ...] = ("held", "not held", "undecided", "not measured")
IN_WORDS = 3  # claims, of a table of which none is decided
DECIDED: tuple[Outcome, ...] = ("held", "not held")
MEANINGS: dict[Outcome, str] = {
    "held": "our numbers, with their 95 % intervals over seeds, agree with the claim",
    "not held": "our numbers, with their intervals, contradict it",
    "undecided": "the intervals allow both; more seeds may decide",
    "not measured": "what the claim compares was not run here, or cannot be",
}


def outcome_sentence(table: MeasuredTable) -> str:
    """What came out, and on which data set. One claim: its words, its verdict and the numbers;
    several: their words by verdict; none: the best row."""
    if not is_measured(table):
        return "Not measured here: published values only."
    if not table.claims:
        return _best_row(table)
    if len(table.claims) == 1:
        return _one_claim(table, table.claims[0])
    return f"On {table.dataset}, {_some_claims(table.claims)}"


def measured_facts(table: MeasuredTable) -> str:
    """Seeds, data set, scale and kind of device; which other data sets the claims are about; and
    whether numerics or settings have changed since."""
    if not is_measured(table):
        return ""
    facts = [_seeds(table), table.dataset, table.scale, table.device_class]
    if about := dict.fromkeys(name for c in table.claims if c.elsewhere for name in c.about):
        facts.append(f"the claims are about {', '.join(about)}")
    if table.stale:
        facts.append(f"measured with older numerics ({table.numerics}; now {NUMERICS})")
    elif moved := moved_rows(table):
        facts.append(f"{counted(len(moved), 'row')} had other settings than now")
    return " · ".join(filter(None, facts))


def claim_words(claim: ClaimResult) -> str:
    """A claim's sentence without its full stop, to stand inside another one."""
    return claim.says.rstrip(".")


def _some_claims(claims: Sequence[ClaimResult]) -> str:
    """The decided ones in their words, the others counted; where none is decided, up to IN_WORDS of
    them in words."""
    decided = any(claim.ours in DECIDED for claim in claims)
    word = "further claim" if decided else "claim"
    groups = []
    for outcome in OUTCOMES:
        found = [claim for claim in claims if claim.ours == outcome]
        if found and outcome not in DECIDED and (decided or len(claims) > IN_WORDS):
            groups.append(f"{outcome}: {counted(len(found), word)}")
        elif found:
            groups.append(f"{outcome}: " + ", ".join(f"“{claim_words(c)}”" for c in found))
    return "; ".join(groups) + "."


def counted(count: int, word: str) -> str:
    """ "1 claim", "2 claims"."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _one_claim(table: MeasuredTable, claim: ClaimResult) -> str:
    parts = claim.detail.split("; ") if claim.detail else []
    numbers = _readable(table, parts[0]) if parts else ""
    if len(parts) > 1:
        numbers += f", and {len(parts) - 1} more"
    verdict = f"On {table.dataset}, {claim.ours}: “{claim_words(claim)}”"
    return f"{verdict} ({numbers})." if numbers else f"{verdict}."


def _readable(table: MeasuredTable, detail: str) -> str:
    """Numbers that decided a claim, with the labels of rows in place of their ids."""
    names = dict(_operands(table))
    words = [names.get(word.rstrip(",:"), word) for word in detail.split(" ")]
    return re.sub(r"(?<!\S)-(?=[\d ]|$)", "−", " ".join(words))


def _operands(table: MeasuredTable) -> Iterator[tuple[str, str]]:
    """Every way to name a cell in a claim, with its row's label and, beyond the first column, the
    column's name."""
    for row in (*table.rows, *table.baselines):
        yield row.id, f"“{row.label}”"
        for i, column in enumerate(table.columns):
            label = (
                row.label if i == 0 and len(table.columns) == 1 else f"{row.label}, {column.name}"
            )
            yield f"{row.id}.{column.key}", f"“{label}”"


def _best_row(table: MeasuredTable) -> str:
    """For a table without claims: the best of its measured rows in the first column that has a
    direction."""
    for column in table.columns:
        found = [(r, c) for r in table.rows if (c := r.cells.get(column.key)) and c.n]
        if found and column.better != "none":
            pick = max if column.better == "higher" else min
            row, cell = pick(found, key=lambda pair: pair[1].mean or 0.0)
            return (
                f"No claim is drawn from it; the best of {len(found)} rows is “{row.label}” with "
                f"{_value(cell, column)}."
            )
    return "No claim is drawn from it."


def _value(cell: Cell, column: MeasuredColumn) -> str:
    text = ours_text(cell, column, usual=cell.n)
    return f"{text} {column.unit} ({column.name})" if column.unit else f"{text} ({column.name})"


def _seeds(table: MeasuredTable) -> str:
    """ "3 seeds", or "3 to 8 seeds" where rows have different numbers of them."""
    cells = (cell for row in table.rows for cell in row.cells.values())
    counts = {len(cell.seeds) for cell in cells if cell.n and not cell.constant}
    if not counts:
        return ""
    low, high = min(counts), max(counts)
    return counted(high, "seed") if low == high else f"{low} to {high} seeds"
