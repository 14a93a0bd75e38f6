from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree

from sslbench.engine.folder import NUMERICS
from sslbench.reports.outline import outline
from sslbench.reports.overview import all_methods, by_family, headline, meanings, tally
from sslbench.reports.verdict_bars import verdict_bars
from sslbench.tables.results import MeasuredTable
from sslbench.tables.schema import load_table
from tests.reports.conftest import MINUTES, TOP1, cell, row

Build = Callable[..., MeasuredTable]
OLD = NUMERICS - 1


def test_a_table_of_two_scales_counts_once(measured: Build) -> None:
    tables = [
        measured("byol-beta", "undecided", "held", scale="laptop"),
        measured("byol-beta", "held", "held", scale="smoke"),
    ]
    total = tally(outline(tables))
    assert total.current == {"undecided": 1, "held": 1}
    assert total.tables == 1
    assert any("counts once" in sentence for sentence in headline(outline(tables)))
    assert not any("counts once" in sentence for sentence in headline(outline(tables[:1])))


def test_older_numerics_are_said_and_do_not_count(measured: Build) -> None:
    tables = [
        measured("byol-beta", "held", "not held", "undecided"),
        measured("barlow-loss", "held", "held", numerics=OLD),
    ]
    first, second = headline(outline(tables))
    assert first == "Of 3 claims in 1 table, 1 is held, 1 not held and 1 undecided."
    assert second.startswith("Not counted: 2 claims in 1 table measured with numerics older than ")
    assert second.endswith("of which 2 are held.")


def test_only_older_numerics_is_no_current_verdict(measured: Build) -> None:
    (sentence,) = headline(outline([measured("byol-beta", "held", numerics=OLD)]))
    assert sentence.startswith("No claim was judged with current numerics; 1 claim in 1 table ")


def test_a_table_without_a_measurement_adds_no_verdict(published_only: MeasuredTable) -> None:
    entries = outline([published_only])
    assert headline(entries) == []
    assert by_family(entries) == {}
    assert verdict_bars(by_family(entries)) == ""
    absent = load_table("byol-beta")
    (sentence,) = headline(entries, absent=[absent])
    assert sentence == f"1 further table with {len(absent.claims)} claims is not measured here."


def test_families_stand_in_the_lectures_order(measured: Build) -> None:
    names = ["mine", "leaderboard", "barlow-loss", "byol-beta", "simclr-temperature"]
    families = by_family(outline([measured(name, "held") for name in names]))
    assert list(families) == [
        "contrastive", "distillation", "redundancy reduction", "all methods", "other"
    ]  # fmt: skip


def test_only_verdicts_that_occur_are_explained(measured: Build) -> None:
    entries = outline([measured("byol-beta", "held", "undecided")])
    assert list(meanings(entries)) == ["held", "undecided"]


def test_the_plot_of_all_methods_is_of_the_widest_table_that_has_one(measured: Build) -> None:
    assert all_methods(outline([measured("leaderboard", "held")])) is None
    rows = [row(n, n, {"top1": cell([50.0]), "minutes": cell([2.0])}) for n in "ab"]
    timed = measured("leaderboard", "held", columns=[TOP1, MINUTES], rows=rows)
    without = measured("leaderboard-all", "held")
    assert all_methods(outline([timed, without])) is timed


def test_bars_show_every_count_and_say_it_in_words(measured: Build) -> None:
    tables = [
        measured("byol-beta", *["held"] * 12, *["undecided"] * 7, "not held"),
        measured("byol-target", "held", numerics=OLD),
        measured("barlow-loss", "not measured"),
    ]
    svg = verdict_bars(by_family(outline(tables)))
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    spoken = "distillation: 12 held, 1 not held, 7 undecided · older: 1 held"
    assert spoken in (root.get("aria-label") or "")
    assert {"✓ 12", "? 7"} <= {node.text for node in root.iter() if node.text}
    bars = [node for node in root.iter() if node.tag.endswith("rect")]
    assert [bar.get("fill") for bar in bars].count("none") == 1
    widest = max(float(bar.get("x", 0)) + float(bar.get("width", 0)) for bar in bars)
    assert widest <= float(root.get("width", 0))
    assert len(bars) == 5
    assert "hollow: older numerics" in svg and re.search("– not measured", svg)
