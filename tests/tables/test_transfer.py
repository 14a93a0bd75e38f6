"""Columns that are scored on another data set than the runs are trained on."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sslbench.data import load
from sslbench.engine.folder import RunFolder
from sslbench.errors import UserError
from sslbench.evaluation.protocols import PROTOCOLS, Linear
from sslbench.recipes.resolve import find_scale
from sslbench.recipes.specs import Shapes
from sslbench.reports.company import company, notes
from sslbench.reports.frames import long_frame
from sslbench.tables.grid import plan, run
from sslbench.tables.jobs import Job, Scoring
from sslbench.tables.measure import measure
from sslbench.tables.results import MeasuredTable
from sslbench.tables.schema import Table, parse_table
from tests.tables.fakes import TABLE
from tests.tiny import tiny

Places = dict[str, Path]
SMOKE = find_scale("smoke")
ON_CIFAR100 = SMOKE.dataset("cifar100").but(resolution=SMOKE.data.resolution)
LINEAR = PROTOCOLS["linear.features.v1"]
METRIC = "linear.features.v1:top1"


def table_of(*columns: dict[str, Any], **more: Any) -> Table:
    """The small table with further columns."""
    named = [{"name": column["key"], "metric": METRIC, **column} for column in columns]
    return parse_table({**TABLE, "columns": [*TABLE["columns"], *named], **more}, where="small")


@pytest.fixture
def table() -> Table:
    return table_of({"key": "cifar100", "on": "cifar100"}, {"key": "same", "on": "shapes"})


def test_a_run_is_trained_once_and_scored_on_both_sets(table: Table, places: Places) -> None:
    found = plan([table], scale="smoke", seeds=1, **places)
    assert len(found.runs) == len(plan([table_of()], scale="smoke", seeds=1, **places).runs)
    for item in found.runs:  # the baselines too
        assert item.scorings == (
            Scoring(protocol="knn.v1"),
            Scoring(protocol="linear.features.v1"),
            Scoring(protocol="linear.features.v1", data=ON_CIFAR100),
        )


def test_a_score_on_another_set_that_lacks_is_missing(
    table: Table, places: Places, fake: list[str]
) -> None:
    run(plan([table_of()], scale="smoke", seeds=1, **places), root=places["root"])
    left = plan([table], scale="smoke", seeds=1, **places).todo
    wanted = (Scoring(protocol="linear.features.v1", data=ON_CIFAR100),)
    assert len(left) == 5 and all(item.missing == wanted for item in left)
    run(plan([table], scale="smoke", seeds=1, **places), root=places["root"])
    assert not plan([table], scale="smoke", seeds=1, **places).todo


def test_cells_are_of_the_columns_set(table: Table, places: Places, fake: list[str]) -> None:
    run(plan([table], scale="smoke", seeds=2, **places), root=places["root"])
    result = measure(table, scale="smoke", seeds=2, **places)
    assert result.cell("baseline", "top1").values == (60.0, 60.1)
    assert result.cell("baseline", "same").values == (60.0, 60.1)
    assert result.cell("baseline", "cifar100").values == (30.0, 30.1)
    assert result.cell("raw-pixels", "cifar100").values == (15.0,)
    (on,) = [column.on for column in result.columns if column.on]
    assert (on.dataset, on.num_test, on.chance) == ("cifar100", 32, 1.0)


def test_a_claim_of_such_a_column_is_judged_by_its_own_chance(
    places: Places, fake: list[str]
) -> None:
    near = [
        {"id": k, "says": "...", "words": "ours", "ours": {"near_chance": [f"copy.{k}"]}}
        for k in ("top1", "cifar100")
    ]
    table = table_of({"key": "cifar100", "on": "cifar100"}, claims=near)
    run(plan([table], scale="smoke", seeds=2, **places), root=places["root"])
    result = measure(table, scale="smoke", seeds=2, **places)
    assert [claim.ours for claim in result.claims] == ["held", "not held"]  # 11 of 10, 5.5 of 1


def test_a_score_without_the_value_is_no_lack(places: Places, fake: list[str]) -> None:
    """An untrained encoder has no longer scratch, say: nothing is left to measure."""
    column = {"key": "spread", "metric": "fewshot.v1:spread_1"}
    table = table_of(column)
    run(plan([table], scale="smoke", seeds=1, **places), root=places["root"])
    result = measure(table, scale="smoke", seeds=1, **places)
    cell = result.cell("baseline", "spread")
    assert (cell.state, cell.note) == ("published-only", "1 of 1 runs do not say it")
    assert result.complete


def test_what_is_kept_says_the_set_of_each_value_and_reads_back(
    table: Table, places: Places, fake: list[str], tmp_path: Path
) -> None:
    run(plan([table], scale="smoke", seeds=1, **places), root=places["root"])
    result = measure(table, scale="smoke", seeds=1, **places)
    result.save(tmp_path / "table.json")
    assert MeasuredTable.load(tmp_path / "table.json") == result
    kept = {
        c["key"]: c.get("on") for c in json.loads((tmp_path / "table.json").read_text())["columns"]
    }
    assert kept["cifar100"]["dataset"] == "cifar100"
    assert kept["top1"] is kept["same"] is None
    assert "cifar100 on cifar100 (32 test images, chance 1 %)" in company(result)["data"]
    assert any("images of another set" in note for note in notes(result))
    frame = long_frame([result])
    assert set(frame[frame.column == "cifar100"].dataset) == {"cifar100"}
    assert set(frame[frame.column == "top1"].dataset) == {"shapes"}


@pytest.mark.parametrize(
    ("column", "sentence"),
    [
        (
            {"on": "cifar1000"},
            "small: column x: on: No data set 'cifar1000'; did you mean 'cifar100'",
        ),
        ({"on": "cifar100", "metric": "run:loss"}, "'on' is the data set of a score"),
        ({"on": "cifar100", "metric": None}, "'on' is the data set of a score"),
    ],
)
def test_what_cannot_be_a_column_is_refused_when_the_table_is_read(
    column: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        table_of({"key": "x", **column})


def test_a_set_without_labels_is_refused_before_anything_is_computed(places: Places) -> None:
    table = table_of({"key": "x", "on": "flat:photos"})
    with pytest.raises(UserError, match=r"linear.features.v1 needs labels, which .*'flat' lacks"):
        plan([table], scale="smoke", seeds=1, **places)


def test_a_set_that_is_not_there_is_refused_before_anything_is_computed(tmp_path: Path) -> None:
    table = table_of({"key": "x", "on": f"folder:{tmp_path / 'gone'}"})
    with pytest.raises(UserError, match="gone"):
        plan([table], scale="smoke", seeds=1, runs=tmp_path / "runs", root=tmp_path)
    assert not (tmp_path / "runs").exists()


def test_a_job_travels_with_its_data_sets() -> None:
    scorings = (Scoring(protocol="knn.v1"), Scoring(protocol="knn.v1", data=ON_CIFAR100))
    job = Job("a", tiny("byol"), {"epochs": "--set"}, scorings, "runs", "data", {"device": "cpu"})
    assert Job.from_json(job.to_json()) == job


def small_cifar100(root: Path) -> None:
    """Ninety noisy pictures of three colours under <root>/cifar100, as its archive has them."""
    folder = root / "cifar100" / "cifar-100-python"
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name, count in (("train", 60), ("test", 30)):
        labels = np.arange(count) % 3
        pixels = generator.integers(0, 120, (count, 3, 1024))
        pixels[np.arange(count), labels] += 120
        content = {
            "data": pixels.reshape(count, 3072).astype(np.uint8),
            "fine_labels": labels.tolist(),
            "coarse_labels": [0] * count,
        }
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    meta = {"fine_label_names": ["red", "green", "blue"], "coarse_label_names": ["colour"]}
    (folder / "meta").write_bytes(pickle.dumps(meta, protocol=2))


def test_a_grid_trains_on_one_set_and_scores_on_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_cifar100(tmp_path)
    assert isinstance(LINEAR, Linear)
    quick = dataclasses.replace(LINEAR, epochs=9, least_steps=0)
    monkeypatch.setitem(PROTOCOLS, LINEAR.name, quick)
    columns = [
        {"key": "top1", "name": "top-1", "metric": METRIC},
        {"key": "cifar100", "name": "CIFAR-100", "metric": METRIC, "on": "cifar100"},
    ]
    rows = [{"id": "simsiam", "label": "SimSiam"}]
    document = {**TABLE, "base": "simsiam", "columns": columns, "rows": rows, "claims": []}
    table = parse_table(document, where="transfer")
    where = {"runs": tmp_path / "runs", "root": tmp_path}
    request: dict[str, Any] = {
        "scale": "smoke", "seeds": 1, "data": Shapes(resolution=16, num_train=64, num_test=32),
        "overrides": {"epochs": 1, "batch_size": 32, "encoder.width": 4}, **where,
    }  # fmt: skip
    done = run(plan([table], **request), root=tmp_path, device="cpu")
    assert done.trained == 3 and not done.failed
    result = measure(table, **request)
    assert result.complete
    on = result.columns[1].on
    expected = load(ON_CIFAR100.but(resolution=16), root=tmp_path)
    assert on is not None and on.fingerprint == expected.fingerprint
    assert (result.num_test, on.num_test) == (32, 30)
    (name,) = result.cell("simsiam", "cifar100").runs
    kept = f"cifar100-{on.fingerprint[:12]}"
    score = json.loads(
        RunFolder(tmp_path / "runs" / name).score_path(kept, LINEAR.name).read_text()
    )
    assert score["definition"] == quick.definition
    assert result.cell("simsiam", "cifar100").values == (score["values"]["top1"],)
    assert (score["inputs"]["resolution"], score["num_train"]) == (16, 60)
    assert result.cell("raw-pixels", "cifar100").values[0] > 90  # the colours tell
    assert not plan([table], **request).todo


def test_a_column_may_ask_for_larger_images_and_never_for_smaller(places: Places) -> None:
    columns = [
        {"key": "large", "on": "cifar100", "resolution": 64},
        {"key": "small", "on": "cifar100", "resolution": 8},
    ]
    found = plan([table_of(*columns)], scale="smoke", seeds=1, **places)
    sides = {s.data.resolution for item in found.runs for s in item.scorings if s.data}
    assert sides == {64, SMOKE.data.resolution}
    with pytest.raises(UserError, match="column x: 'resolution' goes with 'on'"):
        table_of({"key": "x", "resolution": 64})
