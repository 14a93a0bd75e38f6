"""A small table, and a grid whose runs take no time."""

from __future__ import annotations

from pathlib import Path

import pytest

from sslbench.tables.jobs import Job, Tell
from sslbench.tables.schema import Table, parse_table
from tests.tables.fakes import TABLE, accuracy, fingerprint_of, finish, use


@pytest.fixture
def table() -> Table:
    """Three rows of one field each, and one that is published only."""
    return parse_table(TABLE, where="small")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs take no time; the list has the name of every run that was executed."""
    executed: list[str] = []

    def execute(job: Job, tell: Tell) -> None:
        executed.append(job.name)
        finish(job, top1=accuracy(job))

    use(monkeypatch, execute)
    return executed


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Folders of a grid; the data's fingerprint is given, so that none are made."""
    monkeypatch.setattr("sslbench.engine.place.fingerprint", lambda data, root: "f")
    monkeypatch.setattr("sslbench.tables.grid.fingerprint", fingerprint_of)
    return {"runs": tmp_path / "runs", "root": tmp_path / "data"}
