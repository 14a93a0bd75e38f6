"""Rank correlation of columns over rows: its interval, and what a claim makes of it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from sslbench.errors import UserError
from sslbench.tables.claims import Claim, parse
from sslbench.tables.correlation import LEAST_ROWS, interval
from sslbench.tables.estimates import Estimate, Outcome, Values
from sslbench.tables.leaderboards import leaderboard
from sslbench.tables.predicates import judge
from sslbench.tables.schema import parse_table
from sslbench.tables.sequential import planned_looks, spent
from tests.tables.fakes import TABLE

CLAIM: dict[str, Any] = {"correlated": ["acc"], "with": {"align": -1, "uniform": -1}, "above": 0.5}


def values(columns: dict[str, Any]) -> Values:
    """Columns of rows: a number is exact, a tuple its seeds, None is not measured."""
    cells = {}
    for key, column in columns.items():
        for n, value in enumerate(column):
            if value is not None:
                seeds = isinstance(value, tuple)
                found = Estimate.of(value, points=False) if seeds else Estimate(float(value))
                cells[f"r{n}", key] = found
    rows = [f"r{n}" for n in range(max(map(len, columns.values())))]
    shown = tuple((row, key) for row in rows for key in columns)
    return Values(
        cells=cells, first="acc", chance={}, shown=shown, alike=shown, changes={r: {} for r in rows}
    )


def outcome(columns: dict[str, Any], **options: Any) -> Outcome:
    return judge(parse({**CLAIM, **options}, where="test"), values(columns)).outcome


UP = list(range(12))


def test_the_coefficient_is_spearmans_of_the_column_and_the_weighted_sum() -> None:
    rng = np.random.default_rng(0)
    acc, align, uniform = rng.normal(size=(3, 9)).round(1)  # with ties
    verdict = judge(
        parse({"correlated": ["acc"], "with": {"align": -1, "uniform": 0.5}, "above": 0}, where=""),
        values({"acc": acc, "align": align, "uniform": uniform}),
    )
    found = spearmanr(acc, -align + 0.5 * uniform).statistic
    assert f"of acc with - align + 0.5 uniform = {found:.2f}, 95 % " in verdict.detail
    assert "over 9 rows, needs > 0" in verdict.detail


def test_losses_that_fall_where_accuracy_rises_agree_with_it() -> None:
    down = [-x for x in UP]
    assert outcome({"acc": UP, "align": down, "uniform": down}) == "held"
    assert outcome({"acc": UP, "align": UP, "uniform": UP}) == "not held"
    # Each alone says nothing here, the sum does.
    align, uniform = [(-1) ** x * 50 for x in UP], [-((-1) ** x) * 50 - x for x in UP]
    assert outcome({"acc": UP, "align": align, "uniform": uniform}) == "held"
    assert outcome({"acc": UP, "align": align}, **{"with": {"align": -1}}) != "held"


def test_only_rows_with_all_columns_count_and_a_run_that_two_rows_share_counts_once() -> None:
    few = [*UP[:4], None]
    assert outcome({"acc": few, "align": UP, "uniform": UP}) == "not measured"
    assert outcome({"acc": [*UP[:4]] * 4, "align": UP[:4] * 4, "uniform": UP[:4] * 4}) == (
        "not measured"
    )
    assert outcome({"acc": [3] * 12, "align": UP, "uniform": UP}) == "not measured"


def test_the_interval_narrows_with_rows_and_five_in_perfect_order_decide_little() -> None:
    low, high = interval(0.8, 12)
    # tanh(atanh(0.8) -+ 1.96 sqrt((1 + 0.8^2 / 2) / 9)), by hand
    assert (low, high) == pytest.approx((0.335, 0.952), abs=1e-3)
    assert interval(0.8, 100)[0] > low
    assert 0 < interval(1.0, LEAST_ROWS)[0] < 0.3
    assert interval(1.0, 20)[0] > 0.9
    assert interval(-1.0, 20) == pytest.approx([-x for x in reversed(interval(1.0, 20))])
    assert interval(0.8, 12, noise=math.inf) == (-1.0, 1.0)


def test_noise_of_seeds_widens_and_one_seed_decides_nothing() -> None:
    down = [-x for x in UP]
    rest = {"align": down, "uniform": down}
    quiet = [(x - 0.1, x, x + 0.1) for x in UP]
    loud = [(x - 9.0, x, x + 9.0) for x in UP]
    assert outcome({"acc": quiet, **rest}) == "held"
    assert outcome({"acc": loud, **rest}) == "undecided"
    verdict = judge(parse(CLAIM, where=""), values({"acc": [(x,) for x in UP], **rest}))
    assert verdict.outcome == "undecided" and "? (one seed)" in verdict.detail


def test_seeds_are_asked_for_where_their_noise_leaves_it_open_and_not_where_rows_do() -> None:
    down = [-x for x in UP]
    loud = values({"acc": [(x - 9.0, x, x + 9.0) for x in UP], "align": down, "uniform": down})
    assert {column for _, column in judge(parse(CLAIM, where=""), loud).open} == {"acc"}
    mixed = [5, 0, 3, 1, 8, 2, 9, 4, 11, 6, 10, 7]
    quiet = values({"acc": [(x, x + 0.1) for x in mixed], "align": down, "uniform": down})
    verdict = judge(parse(CLAIM, where=""), quiet)
    assert verdict.outcome == "undecided" and not verdict.open


def test_several_looks_are_stricter_and_the_first_that_decides_counts() -> None:
    down = [-x for x in UP]
    seeds = [(x - 0.1, x, x + 0.1, x + 60.0 - 9 * x, x) for x in UP]  # the fourth turns it round
    given = values({"acc": seeds, "align": down, "uniform": down})
    asked = parse(CLAIM, where="")
    assert judge(asked, given).outcome != "held"
    looked = judge(asked, dataclasses.replace(given, looks=spent(planned_looks(3, 5))))
    assert looked.outcome == "held" and "97 %" in looked.detail


def test_the_same_cells_give_the_same_verdict() -> None:
    noisy = values({k: [(x - 1.0, x + 1.5) for x in UP] for k in ("acc", "align", "uniform")})
    first, again = (judge(parse(CLAIM, where=""), noisy) for _ in range(2))
    assert first == again


@pytest.mark.parametrize(("true", "rows"), [(0.0, 6), (0.5, 12), (0.5, 30)])
def test_a_coefficient_at_the_threshold_is_rarely_called_above_or_below(
    true: float, rows: int
) -> None:
    """Normal pairs whose Spearman coefficient is the threshold, with three noisy seeds each."""
    rng = np.random.default_rng(1)
    pearson = 2 * math.sin(math.pi * true / 6)
    trials, wrong = 120, {"held": 0, "not held": 0}
    for _ in range(trials):
        x = rng.normal(size=rows)
        y = pearson * x + math.sqrt(1 - pearson**2) * rng.normal(size=rows)
        seeds = [tuple(v + 0.1 * rng.normal(size=3)) for v in y]
        found = outcome({"acc": seeds, "align": x}, above=true, **{"with": {"align": 1}})
        if found in wrong:
            wrong[found] += 1
    # 2.5 % a side are allowed; a wider bound, as 120 trials have a standard error of 1.4 %.
    assert max(wrong.values()) <= 0.06 * trials, wrong


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"above": "much"}, "above: needs a finite number"),
        ({"with": ["align"]}, "with: needs a mapping"),
        ({"with": {}}, "correlated speaks of one column and those that its options name"),
        ({"correlated": ["acc", "align"]}, "correlated speaks of one column"),
        ({"by": 0.5}, "correlated has no option 'by'"),
    ],
)
def test_a_claim_that_cannot_be_judged_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        parse({**CLAIM, **change}, where="test")
    for needed in ("with", "above"):
        with pytest.raises(UserError, match=f"correlated needs '{needed}'"):
            parse({k: v for k, v in CLAIM.items() if k != needed}, where="test")


@pytest.mark.parametrize(
    "holds",
    [
        {"correlated": ["top1"], "with": {"stdd": 1}, "above": 0},
        {"correlated": ["topp1"], "with": {"std": 1}, "above": 0},
        {"any": [{"steeper": ["top1"], "than": "stdd", "along": "epochs"}]},
    ],
)
def test_an_unknown_column_is_refused_when_the_table_is_read(holds: dict[str, Any]) -> None:
    claim = {"id": "x", "says": "...", "words": "...", "ours": holds}
    with pytest.raises(UserError, match=r"has no column '(stdd|topp1)'; did you mean"):
        parse_table({**TABLE, "claims": [claim]}, where="test")


def test_it_can_be_asked_of_any_leaderboard() -> None:
    table = leaderboard(["simclr", "byol", "simsiam", "moco-v2", "barlow-twins", "swav"])
    form = {"correlated": ["linear"], "with": {"knn": 1}, "above": 0.5}
    claim = Claim.from_dict({"id": "x", "says": "...", "words": "...", "ours": form}, where="")
    asked = dataclasses.replace(table, claims=(claim,))
    assert asked.claims[0].columns() == {"linear", "knn"} and not claim.operands()
