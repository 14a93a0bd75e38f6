"""`sslbench report` of measured tables: which are meant, and what is said of what is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from sslbench.cli.report import Report, find_runs, load_results, tables_without
from sslbench.errors import UserError
from sslbench.reports.readme import BEGIN, END
from sslbench.tables.lecture import table_order
from sslbench.tables.results import result_path
from tests.reports.conftest import measured_table


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two tables, of which the first was measured on two sets, and is the start of the other's
    name; benchmarks and studies beside them."""
    for name, dataset in (("leaderboard", "shapes"), ("leaderboard", "cifar10"),
                          ("leaderboard-all", "cifar10")):  # fmt: skip
        found = measured_table(name, "held", dataset=dataset)
        found.save(result_path(tmp_path, found))
    for folder in ("benchmarks/cpu", "tuning/laptop"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "simclr.json").write_text("{}")
    return tmp_path


def test_a_tables_name_means_it_on_every_set(results: Path) -> None:
    found = load_results(results, tables=["leaderboard"], scale=None)
    assert {(t.id, t.dataset) for t in found} == {
        ("leaderboard", "shapes"), ("leaderboard", "cifar10")
    }  # fmt: skip
    (one,) = load_results(results, tables=["leaderboard-cifar10"], scale=None)
    assert one.dataset == "cifar10"
    assert find_runs(["leaderboard-all"], results=results, runs=results / "runs") is None


def test_studies_and_benchmarks_are_no_tables(results: Path) -> None:
    told: list[str] = []
    assert len(load_results(results, tables=None, scale=None, tell=told.append)) == 3
    assert told == []


def test_what_was_not_measured_is_known(results: Path) -> None:
    absent = tables_without(load_results(results, tables=None, scale=None))
    names = [table.id for table in absent]
    assert names == [n for n in table_order() if n not in ("leaderboard", "leaderboard-all")]


def test_an_empty_folder_says_how_to_measure(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="measure one with `sslbench ablate TABLE`"):
        load_results(tmp_path, tables=None, scale=None)


def test_a_damaged_table_is_named_and_the_others_are_reported(results: Path) -> None:
    (results / "laptop/cpu-x86/leaderboard.json").write_text("{")
    told: list[str] = []
    assert len(load_results(results, tables=None, scale=None, tell=told.append)) == 2
    assert len(told) == 1 and "leaderboard.json" in told[0]


def test_a_readme_is_written_with_the_markdown_that_it_links_to(results: Path) -> None:
    readme, out = results / "README.md", results / "pages"
    readme.write_text(f"{BEGIN}\n{END}\n")
    places = {"results": results, "runs": results / "runs", "out": out, "readme": readme}
    with pytest.raises(UserError, match="--format markdown"):
        Report(format_="html", **places)()
    assert not out.exists()
    Report(format_="markdown", **places)()
    assert (out / "report.md").is_file() and (out / "verdicts.svg").is_file()
    assert "(pages/report.md#leaderboard-all)" in readme.read_text()


def test_the_terminal_ends_with_the_verdicts_of_several_tables(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Report(results=results, runs=results / "runs")()
    text = " ".join(capsys.readouterr().out.split())
    assert text.index("Table leaderboard-all") < text.index(" in 2 tables, ")
    assert text.index("cifar10 (2000") < text.index("shapes (2000")
