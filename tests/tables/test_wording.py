"""An audit that stays: every claim is tested in the words that it is printed in."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from sslbench.tables.claims import LENIENT, Claim
from sslbench.tables.estimates import Estimate, Values
from sslbench.tables.judging import published_values
from sslbench.tables.predicate import Predicate
from sslbench.tables.predicates import judge
from sslbench.tables.schema import BASELINES, Table, load_table, table_names

CLAIMS = [(table, claim) for table in map(load_table, table_names()) for claim in table.claims]
every_claim = pytest.mark.parametrize(
    ("table", "claim"), CLAIMS, ids=[f"{table.id}-{claim.id}" for table, claim in CLAIMS]
)

# "at most 2 points", "by more than a point", "within 30 %", "less than a fifth", "2 to 5 points".
LIMIT = re.compile(r"(?:at most|more than|within|less than) (\d+(?:\.\d+)?|a point\b)( %)?")
RANGE = re.compile(r"\b(\d+) to (\d+)(?: points|\))")
FACTORS = {"than twice": 2.0, "than three times": 3.0, "than five times": 5.0,
           "than a fifth": 5.0, "than a tenth": 10.0}  # fmt: skip
STRICT = re.compile(
    r"\b(beats?|better|best|worse|worst|above|below|falls?|hurts?|drops?|smoother|steadier|helps?"
    r"|increases?|decreases?|grows?|improves?|rescues?|loses (?:less|more)|gains (?:least|most)"
    r"|less sensitive|more (?:accurate|robust|than)|larger|smaller|shrinks?)\b"
)
VAGUE = re.compile(
    r"\b(far|well above|well below|(?<!too )much|slightly|almost|nearly|hardly|little|about|several"
    r"|a lot|match(es)?)\b"
)
COMPARISONS = {"greater", "less", "order", "best", "worst", "increasing", "decreasing",
               "argmax_inside", "less_sensitive", "steadier", "all", "any"}  # fmt: skip


def forms(claim: Claim) -> list[Predicate]:
    return [form for form in (claim.published, claim.ours) if form is not None]


def parts(predicate: Predicate) -> Iterator[Predicate]:
    """It and all within."""
    yield predicate
    for argument in predicate.arguments:
        if isinstance(argument, Predicate):
            yield from parts(argument)


def numbers(predicate: Predicate) -> set[float]:
    """All that it compares with: options, and numbers among the operands."""

    def within(value: object) -> Iterator[float]:
        if isinstance(value, (int, float)):
            yield abs(float(value))
        elif isinstance(value, (list, tuple)):
            for item in value:
                yield from within(item)

    found = [[*p.arguments, *p.options.values()] for p in parts(predicate)]
    return {number for values in found for number in within(values)}


def stated(sentence: str) -> set[float]:
    """The numbers that a sentence gives as limits; of 30 % it is 0.3, of a fifth the factor 5."""
    found = {
        1.0 if number == "a point" else float(number) / (100 if percent else 1)
        for number, percent in LIMIT.findall(sentence)
    }
    found |= {float(end) for ends in RANGE.findall(sentence) for end in ends}
    return found | {factor for words, factor in FACTORS.items() if words in sentence}


@every_claim
def test_a_strict_word_is_tested_strictly(table: Table, claim: Claim) -> None:
    """Where a margin is forgiven, only what stands beside it in the sentence may be compared."""
    lenient = [p.kind for form in forms(claim) for p in parts(form) if p.kind in LENIENT]
    bare = [clause for clause in re.split(r"[;:]", claim.says) if not stated(clause)]
    assert not lenient or not any(STRICT.search(clause) for clause in bare), lenient


@every_claim
def test_a_margin_is_said(table: Table, claim: Claim) -> None:
    for form in forms(claim):
        for p in parts(form):
            for option in ("margin", "tolerance"):
                if option in p.options:
                    assert p.options[option] in stated(claim.says), p


@every_claim
def test_a_limit_in_the_sentence_is_tested_in_both_forms(table: Table, claim: Claim) -> None:
    for form in forms(claim):
        if form.kind != "is_missing":  # printed without a number
            assert stated(claim.says) <= numbers(form), form


@every_claim
def test_a_vague_word_has_a_number(table: Table, claim: Claim) -> None:
    assert not VAGUE.search(claim.says.lower()) or stated(claim.says)


@every_claim
def test_every_set_is_not_promised_where_one_is_measured(table: Table, claim: Claim) -> None:
    assert not re.search(r"\b(every|all|each)( \w+)? (data )?sets?\b", claim.says)


def same_everywhere(table: Table, *, seeds: tuple[float, ...]) -> Values:
    """Every cell has these seeds, each in another order, so that all means are equal."""
    published = published_values(table)
    rows = [row.id for row in table.rows] + [*BASELINES]
    places = [(row, column.key) for row in rows for column in table.columns]
    n = len(seeds)
    cells = {
        place: Estimate.of(seeds[i % n :] + seeds[: i % n], points=table.column(place[1]).in_points)
        for i, place in enumerate(places)
    }
    return Values(
        cells=cells,
        first=published.first,
        chance=published.chance,
        shown=published.shown,
        alike=published.alike,
        changes=published.changes,
    )


@every_claim
@pytest.mark.parametrize("seeds", [(70.0, 70.0, 70.0), (70.0, 72.0, 68.0), (0.0, 0.0)], ids=str)
def test_no_comparison_holds_where_nothing_differs(
    table: Table, claim: Claim, seeds: tuple[float, ...]
) -> None:
    if claim.ours is None or numbers(claim.ours):
        return
    if {p.kind for p in parts(claim.ours)} <= COMPARISONS:
        assert judge(claim.ours, same_everywhere(table, seeds=seeds)).outcome == "undecided"
