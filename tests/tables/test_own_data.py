"""A table that names the set that its runs are trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sslbench.errors import UserError
from sslbench.recipes.specs import Scenes, Shapes
from sslbench.requests import GridRequest
from sslbench.tables.cells import Request, cells
from sslbench.tables.grid import plan, run
from sslbench.tables.jobs import Scoring
from sslbench.tables.measure import measure
from sslbench.tables.schema import Table, parse_table
from tests.tables.fakes import TABLE

Places = dict[str, Path]
LOSS = {"key": "loss", "name": "loss", "metric": "run:loss"}


def table_of(**more: Any) -> Table:
    document = {**TABLE, "columns": [LOSS], "claims": [], **more}
    document["rows"] = [{"id": "baseline", "label": "baseline"}]
    return parse_table(document, where="small")


@pytest.fixture
def own() -> Table:
    return table_of(data="scenes")


def request_of(table: Table, tmp_path: Path, **more: Any) -> GridRequest:
    given: dict[str, Any] = {
        "scale": "smoke", "seeds": 1, "rows": None, "dataset": None, "changes": None,
        "runs": tmp_path / "runs", "root": tmp_path, **more,
    }  # fmt: skip
    return GridRequest.of([table], **given)


def test_its_runs_are_trained_there_at_that_sets_resolution(own: Table) -> None:
    request = Request("laptop", (0,), data=Shapes())
    data = {resolved.experiment.data for _, resolved in cells(own, request=request)}
    assert data == {Scenes(resolution=64)}
    assert {r.experiment.data for _, r in cells(table_of(), request=request)} == {Shapes()}


def test_its_runs_are_those_of_the_set_by_name(own: Table, tmp_path: Path) -> None:
    def runs(request: GridRequest) -> set[str]:
        return {run.folder.path.name for run in request.plan().runs}

    asked = request_of(table_of(), tmp_path, dataset="scenes")
    assert runs(request_of(own, tmp_path)) == runs(asked) != runs(request_of(table_of(), tmp_path))


def test_a_set_that_is_asked_for_comes_first(own: Table, tmp_path: Path) -> None:
    request = request_of(own, tmp_path, dataset="shapes")
    assert request.dataset == "shapes" and "as asked for" in request.why
    assert {run.experiment.data.set_name for run in request.plan().runs} == {"shapes"}


def test_the_choice_is_said(own: Table, tmp_path: Path) -> None:
    request = request_of(own, tmp_path)
    assert request.dataset == "scenes"
    assert request.why == "Data: scenes, which small names; --dataset takes another."


def test_other_tables_beside_it_keep_theirs(own: Table, tmp_path: Path) -> None:
    more = {"scale": "smoke", "seeds": 1, "rows": None, "dataset": None, "changes": None}
    request = GridRequest.of(
        [own, table_of(id="other")], runs=tmp_path / "runs", root=tmp_path, **more
    )
    assert request.dataset == "scenes + shapes" and "shapes, the set of this scale" in request.why
    found = {p.table: r.experiment.data.set_name for r in request.plan().runs for p in r.places}
    assert found == {"small": "scenes", "other": "shapes"}


def test_changes_of_its_set_need_the_sets_name(own: Table, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name the set too: --dataset scenes"):
        request_of(own, tmp_path, changes={"data.num_train": 100})
    request = request_of(own, tmp_path, dataset="scenes", changes={"data.num_train": 100})
    assert {r.experiment.data.num_train for r in request.plan().runs} == {100}


def test_an_unknown_set_is_refused_when_the_table_is_read() -> None:
    with pytest.raises(UserError, match="small: data: No data set 'scens'; did you mean 'scenes'"):
        table_of(data="scens")


def test_a_set_without_labels_has_no_usual_scores(
    own: Table, places: Places, fake: list[str]
) -> None:
    assert all(not item.scorings for item in plan([own], scale="smoke", seeds=1, **places).runs)
    run(plan([own], scale="smoke", seeds=1, **places), root=places["root"])
    assert measure(own, scale="smoke", seeds=1, **places).cell("baseline", "loss").values == (0.5,)
    other = table_of()
    names = {Scoring(protocol="knn.v1"), Scoring(protocol="linear.features.v1")}
    assert all({*r.scorings} == names for r in plan([other], scale="smoke", seeds=1, **places).runs)


def test_a_column_that_needs_labels_is_refused_there_before_anything_is_computed(
    places: Places,
) -> None:
    column = {"key": "top1", "name": "top-1", "metric": "knn.v1:top1"}
    with pytest.raises(UserError, match=r"knn.v1 needs labels, which data set 'scenes' lacks"):
        plan([table_of(data="scenes", columns=[column])], scale="smoke", seeds=1, **places)
    elsewhere = table_of(data="scenes", columns=[{**column, "on": "shapes"}])
    found = plan([elsewhere], scale="smoke", seeds=1, **places)
    assert {s.data for r in found.runs for s in r.scorings if r.places} == {
        Shapes(resolution=64, num_train=2000, num_test=1000)
    }
