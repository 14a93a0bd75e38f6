from __future__ import annotations

import dataclasses

from sslbench.engine.folder import NUMERICS
from sslbench.reports.company import company, company_line, digests, not_measured, notes
from sslbench.tables.results import MeasuredTable


def test_every_number_has_company(stop_grad: MeasuredTable) -> None:
    line = company_line(stop_grad)
    for fact in ("laptop", "shapes", "linear.features.v1", "knn.v1", "5 seeds", "cpu-x86", "min"):
        assert fact in line
    facts = company(stop_grad)
    assert facts["fingerprint"] == stop_grad.fingerprint
    assert facts["seeds"] == "5 (0, 1, 2, 3, 4)"


def test_overrides_are_said_on_the_line(stop_grad: MeasuredTable) -> None:
    changed = dataclasses.replace(stop_grad, overrides={"epochs": 3})
    assert "set epochs=3" in company_line(changed)


def test_a_published_only_table_says_so(published_only: MeasuredTable) -> None:
    assert company(published_only) == {}
    assert "not measured here" in company_line(published_only)
    assert len(not_measured(published_only)) == 1


def test_stale_numbers_are_marked(stop_grad: MeasuredTable) -> None:
    stale = dataclasses.replace(stop_grad, numerics=NUMERICS - 1)
    assert "(stale)" in company(stale)["numerics"]
    assert any(note.startswith("Stale") for note in notes(stale))
    assert not any(note.startswith("Stale") for note in notes(stop_grad))


def test_what_was_not_measured_is_listed_with_its_reason(awkward: MeasuredTable) -> None:
    text = "\n".join(not_measured(awkward))
    assert "not run: not run yet" in text
    assert "too large: failed; out of memory at batch 4096" in text
    assert "published only: published only" in text
    assert "every seed diverged" in text
    assert "lr_base" not in text


def test_recalled_values_are_explained(awkward: MeasuredTable, stop_grad: MeasuredTable) -> None:
    assert any("†" in note for note in notes(awkward))
    assert not any("†" in note for note in notes(stop_grad))


def test_the_legend_fits_the_layout(stop_grad: MeasuredTable, augmentations: MeasuredTable) -> None:
    assert any("(number of seeds)" in note for note in notes(stop_grad))
    assert any("over 5 seeds" in note for note in notes(augmentations))


def test_runs_are_named_once(stop_grad: MeasuredTable) -> None:
    assert len(digests(stop_grad.rows[0])) == 5


def test_another_protocol_is_explained(stop_grad: MeasuredTable) -> None:
    columns = [dataclasses.replace(c, protocol="online probe") for c in stop_grad.columns[:1]]
    table = dataclasses.replace(stop_grad, columns=(*columns, *stop_grad.columns[1:]))
    assert any("another protocol than ours (online probe)" in note for note in notes(table))
    assert not any("another protocol" in note for note in notes(stop_grad))


def test_rows_without_a_number_for_one_reason_share_a_sentence(awkward: MeasuredTable) -> None:
    rows = [dataclasses.replace(awkward.rows[-1], id=n, label=n) for n in ("x", "y")]
    table = dataclasses.replace(awkward, rows=(awkward.rows[0], *rows))
    assert not_measured(table) == ["x; y: published only."]
