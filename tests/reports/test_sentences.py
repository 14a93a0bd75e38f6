from __future__ import annotations

import dataclasses
from collections.abc import Callable

from sslbench.engine.folder import NUMERICS
from sslbench.reports.sentences import measured_facts, outcome_sentence
from sslbench.tables.results import Cell, MeasuredTable
from tests.reports.conftest import KNN, LOSS, STD, TOP1, cell, row

Build = Callable[..., MeasuredTable]


def test_one_claim_has_its_words_its_verdict_and_its_numbers(measured: Build) -> None:
    assert outcome_sentence(measured("t", "not held")) == (
        "On shapes, not held: “Claim 0” (“the only row” − 3 = −1.25 ± 0.5, needs < 0)."
    )


def test_one_claim_with_several_comparisons_says_how_many_more(measured: Build) -> None:
    table = measured("t", "held")
    (claim,) = table.claims
    detail = f"{claim.detail}; only = 2 ± 1, needs > 0; only = 3 ± 1, needs > 0"
    table = dataclasses.replace(table, claims=(dataclasses.replace(claim, detail=detail),))
    assert outcome_sentence(table).endswith("needs < 0, and 2 more).")


def test_a_claim_without_numbers_has_no_brackets(measured: Build) -> None:
    table = measured("t", "not measured")
    claims = (dataclasses.replace(table.claims[0], detail=""),)
    sentence = outcome_sentence(dataclasses.replace(table, claims=claims))
    assert sentence == "On shapes, not measured: “Claim 0”."


def test_decided_claims_are_in_words_and_the_others_counted(measured: Build) -> None:
    table = measured("t", "undecided", "held", "not held", "undecided", "held", "not measured")
    assert outcome_sentence(table) == (
        "On shapes, held: “Claim 1”, “Claim 4”; not held: “Claim 2”; undecided: 2 further claims; "
        "not measured: 1 further claim."
    )


def test_where_nothing_is_decided_the_claims_are_in_words(measured: Build) -> None:
    sentence = outcome_sentence(measured("t", "undecided", "undecided"))
    assert sentence == "On shapes, undecided: “Claim 0”, “Claim 1”."
    many = measured("t", *["undecided"] * 4, "not measured")
    assert outcome_sentence(many) == "On shapes, undecided: 4 claims; not measured: 1 claim."


def test_cells_of_a_claim_go_by_their_labels(measured: Build) -> None:
    """Also where an id has dots, or is the start of another."""
    table = measured("t", "held", columns=[TOP1, KNN])
    rows = tuple(
        row(name, f"tau {name[1:]}", {"top1": cell([1.0]), "knn": cell([1.0])})
        for name in ("t0.1", "t0.10")
    )
    detail = "t0.10.knn - 0.5 t0.1.top1 - untrained.top1 = 1 ± 2, needs > -2"
    claims = (dataclasses.replace(table.claims[0], detail=detail),)
    sentence = outcome_sentence(dataclasses.replace(table, rows=rows, claims=claims))
    assert (
        "“tau 0.10, kNN” − 0.5 “tau 0.1, linear” − untrained.top1 = 1 ± 2, needs > −2" in sentence
    )


def test_a_table_without_claims_names_its_best_row(measured: Build) -> None:
    rows = [
        row("a", "a", {"std": cell([9.0]), "loss": cell([3.0, 3.0])}),
        row("b", "b", {"std": cell([1.0]), "loss": cell([2.0, 2.0])}),
        row("c", "c", {"std": cell([1.0]), "loss": Cell(state="diverged")}),
    ]
    sentence = outcome_sentence(measured("t", columns=[STD, LOSS], rows=rows))
    assert (
        sentence
        == "No claim is drawn from it; the best of 2 rows is “b” with 2.00 ± 0.00 (final loss)."
    )
    undirected = measured("t", columns=[STD], rows=rows[:1])
    assert outcome_sentence(undirected) == "No claim is drawn from it."


def test_nothing_measured_is_said(published_only: MeasuredTable) -> None:
    assert outcome_sentence(published_only) == "Not measured here: published values only."
    assert measured_facts(published_only) == ""


def test_facts_say_seeds_data_scale_device_and_older_numerics(measured: Build) -> None:
    assert measured_facts(measured("t", "held")) == "3 seeds · shapes · laptop · cpu-x86"
    older = measured("t", "held", numerics=NUMERICS - 1)
    assert "older numerics" in measured_facts(older)


def test_claims_about_another_data_set_are_said(measured: Build) -> None:
    table = measured("t", "held", "held")
    first, second = table.claims
    claims = (
        dataclasses.replace(first, judged_on="shapes", about=("ImageNet-1k",)),
        dataclasses.replace(second, judged_on="shapes", about=("shapes",)),
    )
    facts = measured_facts(dataclasses.replace(table, claims=claims))
    assert facts.endswith("cpu-x86 · the claims are about ImageNet-1k")


def test_rows_with_further_seeds_are_said(measured: Build) -> None:
    rows = [
        row("a", "a", {"top1": cell([1.0] * 3)}),
        row("b", "b", {"top1": cell([1.0] * 8)}),
        row("raw", "raw pixels", {"top1": cell([1.0], constant=True)}),
    ]
    assert measured_facts(measured("t", "held", rows=rows)).startswith("3 to 8 seeds · ")
