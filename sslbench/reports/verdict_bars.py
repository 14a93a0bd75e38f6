"""Verdicts by family as stacked bars: an SVG of phone width that is read without its colours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from html import escape

from sslbench.reports.display import MARKS
from sslbench.reports.overview import Tally
from sslbench.reports.sentences import OUTCOMES
from sslbench.tables.estimates import Outcome

WIDTH, ROW, BAR, TOP = 440, 46, 18, 26
FILLS: dict[Outcome, tuple[str, str]] = {  # with the colour of the text on it
    "held": ("#1a7f4b", "#ffffff"),
    "not held": ("#cc3a40", "#ffffff"),
    "undecided": ("#b8860b", "#1b1f24"),
    "not measured": ("#8b949e", "#1b1f24"),
}
LEAST = 20  # the width of a part that has room for its number


def verdict_bars(tallies: Mapping[str, Tally]) -> str:
    """Bars of equal scale, a family each; filled are verdicts that count, hollow those of older
    numerics. "" without verdicts.

    Args:
        tallies: by family, in the order to show them.
    """
    most = max((t.current.total() + t.older.total() for t in tallies.values()), default=0)
    if not most:
        return ""
    rows = [
        line
        for i, (family, found) in enumerate(tallies.items())
        for line in _row(family, found, TOP + i * ROW, WIDTH / most)
    ]
    height = TOP + len(tallies) * ROW
    spoken = "; ".join(f"{family}: {_words(found)}" for family, found in tallies.items())
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" font-size="13" role="img" aria-label="{escape(spoken)}">'
    )
    return "\n".join([head, _legend(tallies), *rows, "</svg>"])


def _legend(tallies: Mapping[str, Tally]) -> str:
    shown = sum((found.current + found.older for found in tallies.values()), Counter())
    words = [f"{MARKS[outcome]} {outcome}" for outcome in OUTCOMES if shown[outcome]]
    words += ["hollow: older numerics"] if any(t.older for t in tallies.values()) else []
    return f'<text x="0" y="13" fill="currentColor" font-size="12">{" · ".join(words)}</text>'


def _row(family: str, found: Tally, top: int, unit: float) -> Iterator[str]:
    line = f'<text y="{top + 13}" fill="currentColor"'
    yield f'{line} x="0" font-weight="600">{escape(family)}</text>'
    yield f'{line} x="{WIDTH}" text-anchor="end" font-size="12">{_beside(found)}</text>'
    place = 0.0
    for verdicts, hollow in ((found.current, False), (found.older, True)):
        for outcome in OUTCOMES:
            if width := verdicts[outcome] * unit:
                yield from _part(outcome, verdicts[outcome], place, width, top + 19, hollow)
                place += width


def _part(
    outcome: Outcome, count: int, place: float, width: float, top: int, hollow: bool
) -> Iterator[str]:
    fill, ink = FILLS[outcome]
    paint = f'fill="none" stroke="{fill}" stroke-width="2"' if hollow else f'fill="{fill}"'
    yield (
        f'<rect x="{place + 1:.1f}" y="{top + 1}" width="{max(width - 2, 1):.1f}" '
        f'height="{BAR - 2}" {paint}/>'
    )
    if width >= LEAST:
        text = f"{MARKS[outcome]} {count}" if width >= 2 * LEAST else f"{count}"
        yield (
            f'<text x="{place + width / 2:.1f}" y="{top + 13}" text-anchor="middle" '
            f'font-size="12" fill="{"currentColor" if hollow else ink}">{text}</text>'
        )


def _beside(found: Tally) -> str:
    """`_words`, the older ones by their marks alone: the line has the family's name too."""
    older = " ".join(f"{MARKS[o]} {found.older[o]}" for o in OUTCOMES if found.older[o])
    parts = [_counts(found.current)] if found.current else []
    return " · ".join([*parts, f"older: {older}"] if older else parts)


def _words(found: Tally) -> str:
    parts = [_counts(found.current)] if found.current else []
    if found.older:
        parts.append(f"older: {_counts(found.older)}")
    return " · ".join(parts)


def _counts(verdicts: Counter[Outcome]) -> str:
    return ", ".join(f"{verdicts[o]} {o}" for o in OUTCOMES if verdicts[o])
