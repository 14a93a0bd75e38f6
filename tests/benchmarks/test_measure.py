"""What benchmarks/measure.py takes on: each table once, on its own data; nothing is trained."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sslbench.tables.schema import TABLES as KNOWN

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
STORED = BENCHMARKS.parent / "results"


@pytest.fixture(autouse=True)
def _on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_every_table_is_known_and_there_once() -> None:
    from measure import TABLES

    for names in TABLES.values():
        assert max(Counter(names).values()) == 1
        assert set(names) <= set(KNOWN)


def test_a_table_that_names_its_data_keeps_them() -> None:
    from measure import work

    commands = {item.name: item.command for item in work("laptop", (), 1) if item.kind == "table"}
    assert "--dataset" not in commands["pixpro-voc"]
    assert "cifar10" in commands["simsiam-transfer"]


def test_a_column_that_is_new_is_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs are there, and a column of theirs is not."""
    import measure

    [path] = sorted(STORED.glob("laptop/*/simsiam-stop-grad-cifar10.json"))[:1]
    table = json.loads(path.read_text())
    row = table["rows"][0]
    run = next(cell["runs"][0] for cell in row["cells"].values() if cell["runs"])
    known = next(key for key, cell in row["cells"].items() if run in cell["runs"])

    def planned(*columns: str) -> Any:
        feeds = [{"row": row["id"], "column": column} for column in columns]
        text = json.dumps({"runs": [{"run": run, "feeds": feeds}]})
        return lambda *_, **__: subprocess.CompletedProcess([], 0, text)

    item = measure.Work("table", "simsiam-stop-grad", ())
    for columns, there in (((known,), True), ((known, "new"), False)):
        monkeypatch.setattr(measure, "sslbench", planned(*columns))
        assert measure.done(item, "laptop", (), STORED) == there
