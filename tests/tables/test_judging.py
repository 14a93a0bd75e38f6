"""Verdicts, the data set they were found on, and stored tables under today's claims."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sslbench.tables.grid import plan, run
from sslbench.tables.judging import judged
from sslbench.tables.measure import measure
from sslbench.tables.results import ClaimResult, MeasuredTable
from sslbench.tables.schema import TABLES, parse_table
from tests.tables.fakes import TABLE

Places = dict[str, Path]
OTHER = {"id": "other", "label": "momentum 0.5", "set": {"target.momentum": 0.5}}


def measured(places: Places, **more: Any) -> MeasuredTable:
    """As it was stored, under a definition of that time, which is not known here."""
    table = parse_table({**TABLE, **more}, where="test")
    run(plan([table], scale="smoke", seeds=3, **places), root=places["root"])
    return measure(table, scale="smoke", seeds=3, **places)


def define(monkeypatch: pytest.MonkeyPatch, **more: Any) -> None:
    monkeypatch.setitem(TABLES, "small", parse_table({**TABLE, **more}, where="test"))


@pytest.mark.parametrize(
    ("judged_on", "about", "verdict"),
    [
        ("cifar10", ("ImageNet-1k",), "held (on cifar10; the sentence is about ImageNet-1k)"),
        ("cifar10", ("cifar10", "svhn"), "held (on cifar10; the sentence is about cifar10, svhn)"),
        ("cifar10", ("CIFAR-100",), "held (on cifar10; the sentence is about CIFAR-100)"),
        ("cifar10", ("CIFAR-10 and CIFAR-100",),
         "held (on cifar10; the sentence is about CIFAR-10 and CIFAR-100)"),
        ("cifar10", ("CIFAR-10",), "held"),
        ("stl10", ("STL-10 train+unlabelled",), "held"),
        ("tiny-imagenet", ("Tiny ImageNet",), "held"),
        ("shapes", (), "held"),
    ],
)  # fmt: skip
def test_a_verdict_on_another_data_set_says_so(
    judged_on: str, about: tuple[str, ...], verdict: str
) -> None:
    result = ClaimResult("c", "...", "held", "held", "a = 1", judged_on, about)
    assert result.verdict == verdict
    assert replace(result, ours="not measured").verdict == "not measured"


def test_a_claim_is_about_the_set_of_the_tables_setting(places: Places, fake: list[str]) -> None:
    claims = measured(places, setting={"dataset": "ImageNet-1k"}).claims
    assert {(c.judged_on, c.about) for c in claims} == {("shapes", ("ImageNet-1k",))}
    assert {c.about for c in measured(places).claims} == {()}


def test_a_stored_table_is_judged_by_todays_claims(
    places: Places, fake: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(places).save(tmp_path / "small.json")
    stored = MeasuredTable.load(tmp_path / "small.json")
    assert judged(stored) is stored  # nothing else is known of it
    strict = {"id": "strict", "says": "...", "holds": {"greater": ["baseline", "fast"], "by": 60}}
    define(monkeypatch, claims=[{**strict, "published": {"less": ["fast", "baseline"]}}])
    (claim,) = judged(stored).claims
    assert (claim.id, claim.published, claim.ours) == ("strict", "held", "not held")
    assert judged(stored).rows == stored.rows


def test_what_a_stored_table_lacks_is_not_measured(
    places: Places, fake: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = measured(places)
    columns = [TABLE["columns"][0], {"key": "new", "name": "kNN", "metric": "knn.v1:top1"}]
    rows = [*(row | {"paper": {}} for row in TABLE["rows"]), OTHER]
    forms = [
        {"greater": ["baseline", "other"]},
        {"greater": ["baseline.new", "fast.new"]},
        {"best": ["baseline"]},
        {"steeper": ["top1"], "along": "target.momentum"},
        {"greater": ["baseline", "fast"]},
    ]
    claims = [{"id": f"c{i}", "says": "...", "words": "none", "ours": form}
              for i, form in enumerate(forms)]  # fmt: skip
    define(monkeypatch, columns=columns, rows=rows, claims=claims)
    assert [c.ours for c in judged(stored).claims] == ["not measured"] * 4 + ["held"]
