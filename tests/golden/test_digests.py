"""Golden digests pin what a run is: the experiments of every recipe and every cell, at each scale.

A digest that moves makes finished runs strangers to their tables. A refactoring leaves all of them
alone; a recipe or a table that changes moves its own, and only `make golden` writes them anew. What
studies found is left out: it moves with every study, and is held against their records elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sslbench.recipes import RECIPES
from sslbench.recipes.resolve import resolve
from sslbench.recipes.scales import SCALES, Scale
from sslbench.tables.cells import Request, cells
from sslbench.tables.schema import load_table, table_names

FOLDER = Path(__file__).parent / "digests"
TABLES = table_names()  # as imported: other tests add leaderboards of their own
DATASETS = (None, "cifar10")  # the scale's own set, and the one that tables are measured on


def of_recipes(scale: str) -> dict[str, str]:
    """The recipe as the scale makes it, by name."""
    return {name: resolve(name, scale=scale).experiment.digest()[:8] for name in RECIPES}


def of_tables(scale: str) -> dict[str, dict[str, str]]:
    """The experiment of every cell, by table and by row and column."""
    return {
        table.id + (f" on {dataset}" if dataset else ""): dict(_of_cells(table, scale, dataset))
        for table in map(load_table, TABLES)
        for dataset in DATASETS
    }


def _of_cells(table, scale: str, dataset: str | None) -> Iterator[tuple[str, str]]:
    data = SCALES[scale].dataset(dataset) if dataset else None
    request = Request(scale=scale, seeds=(0,), data=data)
    rows = set()
    for place, resolved in cells(table, request=request):
        rows.add(place.row)
        yield f"{place.row}/{place.column}", resolved.experiment.digest()[:8]
    fitting = table.rows_on(dataset or SCALES[scale].data.set_name)
    assert {row.id for row in fitting if not row.not_trainable} <= rows


@pytest.fixture(autouse=True)
def _without_studies(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = Scale.layers
    monkeypatch.setattr(
        Scale, "layers", lambda *a, **k: [x for x in layers(*a, **k) if ", study of " not in x[0]]
    )


@pytest.mark.parametrize("scale", SCALES)
def test_digests_are_the_golden_ones(scale, request):
    found = {"recipes": of_recipes(scale), **of_tables(scale)}
    path = FOLDER / f"{scale}.json"
    if request.config.getoption("--update-golden"):
        FOLDER.mkdir(exist_ok=True)
        lines = [f"{json.dumps(name)}: {json.dumps(part)}" for name, part in found.items()]
        path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
        return
    golden = json.loads(path.read_text())
    assert set(found) == set(golden)
    for name, part in found.items():
        known = golden[name]
        moved = {k for k in known.keys() | part.keys() if known.get(k) != part.get(k)}
        assert not moved, f"{name}: {sorted(moved)}"
