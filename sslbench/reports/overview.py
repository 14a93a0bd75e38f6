"""What stands first in a report: how many claims were held, not held or undecided, by family."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from sslbench.engine.folder import NUMERICS
from sslbench.reports.display import is_measured
from sslbench.reports.outline import RULE, Entry
from sslbench.reports.sentences import MEANINGS, OUTCOMES, counted
from sslbench.reports.time_plot import has_time_plot
from sslbench.tables.estimates import Outcome
from sslbench.tables.lecture import family_order
from sslbench.tables.results import MeasuredTable
from sslbench.tables.schema import Table

ALL = ("leaderboard-all", "leaderboard")  # tables of all methods, the wider first


@dataclass(frozen=True)
class Tally:
    """Verdicts by outcome: those of current numerics, and those of older ones, which do not count.
    `tables` and `older_tables` are how many tables they come from."""

    current: Counter[Outcome] = field(default_factory=Counter)
    older: Counter[Outcome] = field(default_factory=Counter)
    tables: int = 0
    older_tables: int = 0


def tally(entries: Sequence[Entry]) -> Tally:
    """The verdicts of the heads of some tables."""
    heads = [entry.head for entry in entries if is_measured(entry.head) and entry.head.claims]
    current = [table for table in heads if not table.stale]
    older = [table for table in heads if table.stale]
    return Tally(_verdicts(current), _verdicts(older), len(current), len(older))


def _verdicts(tables: Sequence[MeasuredTable]) -> Counter[Outcome]:
    return Counter(claim.ours for table in tables for claim in table.claims)


def by_family(entries: Sequence[Entry]) -> dict[str, Tally]:
    """A tally of each family that has verdicts, in the lecture's order."""
    families: dict[str, list[Entry]] = {}
    for entry in entries:
        families.setdefault(entry.place.family, []).append(entry)
    tallies = {family: tally(families[family]) for family in sorted(families, key=family_order)}
    return {name: found for name, found in tallies.items() if found.current or found.older}


def headline(entries: Sequence[Entry], absent: Sequence[Table] = ()) -> list[str]:
    """Sentences: what was judged, what does not count, and what is not measured.

    Args:
        absent: tables that the program knows and that were not measured.
    """
    total = tally(entries)
    out = []
    if total.current:
        out.append(
            f"Of {counted(total.current.total(), 'claim')} in {counted(total.tables, 'table')}, "
            f"{in_words(total.current)}."
        )
    if total.older:
        lead = "Not counted:" if total.current else "No claim was judged with current numerics;"
        out.append(
            f"{lead} {counted(total.older.total(), 'claim')} in "
            f"{counted(total.older_tables, 'table')} measured with numerics older than this "
            f"version's ({NUMERICS}), of which {in_words(total.older)}."
        )
    if any(len(entry.tables) > 1 for entry in entries):
        out.append(RULE)
    claims = sum(len(table.claims) for table in absent)
    if absent:
        out.append(
            f"{counted(len(absent), 'further table')} with {counted(claims, 'claim')} "
            f"{'is' if len(absent) == 1 else 'are'} not measured here."
        )
    return out


def in_words(verdicts: Counter[Outcome]) -> str:
    """ "12 are held, 9 not held and 18 undecided"."""
    parts = [f"{verdicts[outcome]} {outcome}" for outcome in OUTCOMES if verdicts[outcome]]
    first, _, rest = parts[0].partition(" ")
    parts[0] = f"{first} {'is' if first == '1' else 'are'} {rest}"
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def meanings(entries: Sequence[Entry]) -> dict[Outcome, str]:
    """What each verdict that occurs means to a reader."""
    total = tally(entries)
    return {o: text for o, text in MEANINGS.items() if total.current[o] or total.older[o]}


def all_methods(entries: Sequence[Entry]) -> MeasuredTable | None:
    """The table of all methods whose accuracy and training time stand first; None without one."""
    heads = {entry.id: entry.head for entry in entries}
    found = (heads[name] for name in ALL if name in heads)
    return next((table for table in found if has_time_plot(table)), None)
