"""Studies in reports: the budget beside what it gained, and the best so far."""

from __future__ import annotations

from pathlib import Path

import pytest

from sslbench.recipes.scales import SCALES
from sslbench.reports.tuning import gain_words
from sslbench.reports.tuning_figures import best_so_far, budget_line, load_records, studies
from sslbench.reports.write import write_reports
from sslbench.tables.results import MeasuredTable
from sslbench.tuning.record import Record
from tests.tuning.made import record, trial
from tests.tuning.small import request


@pytest.fixture
def found(tmp_path: Path) -> list[Record]:
    """SimCLR's study and DCL's, which begins at it."""
    made = request(tmp_path, data=SCALES["smoke"].data, fixed={}, trials=8)
    trials = [trial(0, (20.0, 20.0, 22.0)), trial(1), trial(2, (30.0, 26.0, 28.0), {"rate": 0.05}),
              *(trial(n) for n in range(3, 8))]  # fmt: skip
    record(made.definition("simclr"), *trials, winner=2).save(made.path("simclr"))
    own = [trial(0, (31.0, 31.0, 31.0)), trial(1, (25.0, 24.0, 24.0)), trial(2), trial(3)]
    record(made.definition("dcl"), *own, winner=0).save(made.path("dcl"))
    return load_records(tmp_path / "results", tell=pytest.fail)


def test_the_best_so_far_rises_and_counts_what_was_taken_over(found: list[Record]) -> None:
    dcl, simclr = found
    assert [s.best for s in best_so_far(simclr)] == [20.0, 20.0, *[30.0] * 6]
    assert [s.trials for s in best_so_far(dcl)] == [5, 6, 7, 8]
    assert best_so_far(dcl)[0].minutes == 5.0


def test_a_line_has_budget_means_and_gain(found: list[Record]) -> None:
    dcl, simclr = map(budget_line, found)
    assert simclr[:5] == ("simclr", "8", "8", "21.0", "27.0")
    assert simclr[5].startswith("+6.0 ± ")
    assert dcl[:6] == ("dcl", "8 (4 of simclr)", "8", "31.0", "31.0", "0")
    assert "the best mean of a few is still a little high" in gain_words(found[1].gain)
    assert gain_words(found[0].gain) == "The present setting has the best mean."


def test_reports_show_them_at_their_end(
    found: list[Record], stop_grad: MeasuredTable, tmp_path: Path
) -> None:
    write_reports([stop_grad], out=tmp_path, formats=["html", "markdown"], tuning=found)
    page, text = ((tmp_path / f"report.{kind}").read_text() for kind in ("html", "md"))
    for shown in (page, text):
        assert "Studies at smoke on shapes" in shown and "8 (4 of simclr)" in shown
    assert page.count("Best so far against") == 2
    for against in ("trials", "minutes"):
        name = f"studies-smoke-shapes-{against}.svg"
        assert f"({name})" in text and (tmp_path / name).read_text().startswith("<svg")
    write_reports([stop_grad], out=tmp_path, formats=["html"])
    assert "Studies" not in (tmp_path / "report.html").read_text()


def test_a_damaged_study_is_told_and_the_rest_is_shown(found: list[Record], tmp_path: Path) -> None:
    (tmp_path / "results/tuning/smoke/shapes/simclr.json").write_text("{}")
    told: list[str] = []
    rest = load_records(tmp_path / "results", tell=told.append)
    assert [r.recipe for r in rest] == ["dcl"]
    assert len(told) == 1 and "simclr.json is damaged" in told[0]
    assert len(studies(rest)) == 1
