from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from sslbench.errors import UserError
from sslbench.tables.schema import (
    DATA,
    Column,
    find_cell,
    load_table,
    parse_table,
    read_table,
    table_names,
)
from tests.tables.fakes import TABLE


@pytest.fixture
def document() -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((DATA / "byol-target.yaml").read_text())
    return data


def test_a_table_reads_as_its_file_says() -> None:
    table = load_table("byol-target")
    assert table.base == "byol" and table.arxiv == "2006.07733"
    row = table.row("ema-0.9")
    assert row.set == {"target.momentum": 0.9}
    assert row.paper == {"top1": 68.4} and row.source == "lecture"


def test_an_unknown_table_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'byol-target'"):
        load_table("byol-targt")


def test_a_curve_needs_a_point() -> None:
    with pytest.raises(UserError, match="monitor_points 0 must be at least 1"):
        parse_table({**TABLE, "monitor_points": 0}, where="small")


def test_an_unknown_row_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"no row 'ema-0\.98'; did you mean 'ema-0\.9"):
        load_table("byol-target").row("ema-0.98")


def test_an_operand_is_a_row_or_a_row_and_a_column() -> None:
    table = load_table("byol-target")
    assert find_cell(table, "ema-0.99") == ("ema-0.99", "top1")
    assert find_cell(table, "ema-0.99.knn") == ("ema-0.99", "knn")
    assert find_cell(table, "untrained.knn") == ("untrained", "knn")
    with pytest.raises(UserError, match="no column 'kn'; did you mean 'knn'"):
        find_cell(table, "ema-0.99.kn")


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (("rows", 0, "labell"), "x", "did you mean 'label'"),
        (("rows", 0, "paper"), {"top2": 1.0}, "did you mean 'top1'"),
        (("rows", 1, "id"), "constant-random", "occurs twice"),
        (("columns", 0, "key"), "knn", "occurs twice"),
        (("claims", 0, "ours"), {"greater": ["ema-0.99", "copy"]}, "no row 'copy'"),
        (("sweeps",), [{"id": "a", "title": "", "x": "b", "columns": ["z"]}], "no column 'z'"),
        (("bases",), "byol", "did you mean 'base'"),
        (("columns", 1, "derive"), "difference", "column knn needs 'derive: difference' together"),
        (("columns", 1, "of"), ["top1", "knn"], "column knn needs 'derive: difference' together"),
        (("claims", 0, "dataset"), "svhn", "no row is of svhn"),
        (("rows",), ["a"], "needs a mapping"),
        (("rows", 0, "dataset"), "svhn", "constant-random must end in 'svhn'"),
        (("published_at",), "laptop", "not one of paper, cifar"),
        (("kind",), "ablatoin", "did you mean 'ablation'"),
        (("rows",), None, "rows: needs a list, not null"),
        (("rows",), [], "needs a column and a row"),
        (("rows", 0, "set"), [1], r"rows\[0\].set: needs a mapping"),
        (("rows", 0, "set"), {1: 2}, "a key must be text, not 1"),
        (("rows", 0, "paper"), {"top1": "72.5"}, r"paper.top1: needs a finite number, got '72"),
        (("rows", 0, "paper"), {"top1": float("nan")}, "needs a finite number"),
        (("rows", 0, "key"), {"lr": 10**400}, "larger than any number that fits"),
        (("rows", 0, "label"), 256, "label: needs text, got 256"),
        (("id",), "../up", "is no name"),
        (("columns", 0, "metric"), "knn.v9:top1", "no protocol 'knn.v9'.* mean 'knn.v1'"),
        (("columns", 0, "metric"), "knn:top1", "did you mean 'knn.v1'"),
        (("columns", 0, "metric"), "knn.v1:tpo1", "measures no 'tpo1'; did you mean 'top1'"),
        (("columns", 0, "metric"), "run:minuets", "did you mean 'minutes'"),
        (("columns", 0, "metric"), "knn.v1", "measures no ''"),
        (("claims",), {}, "claims: needs a list"),
        (("claims", 0, "ours"), {"greater": ["a", "b"], "by": "x"}, "by: needs a finite number"),
        (("claims", 0, "ours"), {"order": ["ema-0.99"]}, "needs 2 operands or more"),
    ],
)
def test_a_broken_table_is_refused_with_a_sentence(
    document: dict[str, Any], path: tuple[Any, ...], value: Any, sentence: str
) -> None:
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(UserError, match=sentence):
        parse_table(document, where="test")


def test_a_missing_field_is_named(document: dict[str, Any]) -> None:
    del document["base"]
    with pytest.raises(UserError, match="'base' is missing"):
        parse_table(document, where="test")


def test_a_row_and_a_column_cannot_both_name_a_recipe(document: dict[str, Any]) -> None:
    document["rows"][0]["recipe"] = "byol"
    document["columns"][0]["recipe"] = "simclr"
    with pytest.raises(UserError, match="both name a recipe"):
        parse_table(document, where="test")


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    for text, words in {
        "[1, 2]": "not a mapping",
        "": "not a mapping",
        "a: [": "line 2, column 1: ",
        "id: a\nid: b": "line 2, column 1: the key 'id' stands twice",
    }.items():
        path = tmp_path / "t.yaml"
        path.write_text(text)
        with pytest.raises(UserError, match=words) as caught:
            read_table(path)
        assert "t.yaml" in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no such file"):
        read_table(tmp_path / "none.yaml")


def test_reading_tables_imports_neither_torch_nor_pandas() -> None:
    code = (
        "import sys; from sslbench.tables.schema import load_table; load_table('byol-target'); "
        "import sslbench.tables.grid, sslbench.tables.results; "
        "assert not {'torch', 'pandas', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_rows_on_a_set_are_its_own_or_those_it_stands_in_for(document: dict[str, Any]) -> None:
    rows = [{"id": f"{name}{dataset}", "label": name, "dataset": dataset}
            for name in ("a-", "b-") for dataset in ("cifar10", "svhn")]  # fmt: skip
    rows.append({"id": "c", "label": "c"})
    document |= {"rows": rows, "claims": []}
    table = parse_table(document, where="test")
    assert table.datasets == ("cifar10", "svhn")
    assert [row.id for row in table.rows_on("svhn")] == ["a-svhn", "b-svhn", "c"]
    assert [row.id for row in table.rows_on("shapes")] == ["a-cifar10", "b-cifar10", "c"]
    assert [row.stem for row in table.rows_on("svhn")] == ["a-", "b-", "c"]


def test_a_column_takes_unit_and_direction_from_its_metric() -> None:
    def value(**column: Any) -> tuple[str, str]:
        found = Column(key="a", name="a", **column).value
        return found.unit, found.better

    assert value(metric="run:minutes") == ("min", "lower")
    assert value(metric="geometry.v1:alignment") == ("", "lower")
    assert value(metric="geometry.v1:alignment", negative=True) == ("", "higher")
    assert value(metric="knn.v1:top1", unit="points", better="none") == ("points", "none")
    assert value() == ("%", "higher")


@pytest.mark.parametrize("name", table_names())
def test_no_table_repeats_what_the_metric_says(name: str) -> None:
    for column in load_table(name).columns:
        if column.metric is not None:
            usual = replace(column, unit=None, better=None).value
            assert column.unit is None or column.unit != usual.unit
            assert column.better is None or column.better != usual.better
