from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sslbench.cli.report import load_results, tables_without
from sslbench.errors import UserError
from sslbench.reports.readme import BEGIN, END, readme_part, update_readme
from sslbench.tables.results import MeasuredTable

ROOT = Path(__file__).parents[2]
Build = Callable[..., MeasuredTable]


def test_the_readme_says_what_the_results_say() -> None:
    """After a change of results, or of words: `sslbench report --format markdown --out results
    --readme README.md`."""
    measured = load_results(ROOT / "results", tables=None, scale=None)
    part = readme_part(measured, absent=tables_without(measured), folder="results/")
    text = (ROOT / "README.md").read_text()
    assert f"{BEGIN}\n\n{part}\n\n{END}" in text


def test_pictures_and_links_of_the_readme_exist() -> None:
    part = (ROOT / "README.md").read_text().partition(BEGIN)[2].partition(END)[0]
    page = (ROOT / "results/report.md").read_text()
    pictures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", part)
    assert pictures
    assert all((ROOT / file).is_file() for file in pictures)
    anchors = re.findall(r"\]\(results/report.md#([^)]+)\)", part)
    assert anchors
    assert all(f'<a id="{anchor}"></a>' in page for anchor in anchors)


def test_only_the_part_between_the_markers_changes(measured: Build, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"# Mine\n{BEGIN}\nold\n{END}\nThe end.\n")
    for _ in range(2):
        update_readme(path, [measured("byol-beta", "held")], absent=[], out=tmp_path / "out/here")
        text = path.read_text()
        assert text.startswith(f"# Mine\n{BEGIN}\n\nOf 1 claim in 1 table, 1 is held.")
        assert text.endswith(f"{END}\nThe end.\n")
        assert "(out/here/report.md#byol-beta)" in text and "old" not in text


@pytest.mark.parametrize(
    "text", ["", BEGIN, END, f"{END}\n{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"],
    ids=["none", "begin", "end", "turned", "twice"],
)  # fmt: skip
def test_a_readme_without_its_two_markers_is_left_as_it_is(
    measured: Build, tmp_path: Path, text: str
) -> None:
    path = tmp_path / "README.md"
    path.write_text(text)
    with pytest.raises(UserError, match="needs these two lines, once each"):
        update_readme(path, [measured("byol-beta", "held")], absent=[], out=tmp_path)
    assert path.read_text() == text
