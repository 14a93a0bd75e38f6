from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from sslbench.engine.folder import RunFolder
from sslbench.reports import fit_curves as module
from sslbench.reports.fit_curves import fit_curves
from sslbench.reports.html import html_report
from sslbench.tables.results import MeasuredTable, ScoredOn

ON = ScoredOn(dataset="people", fingerprint="0123456789abcdef", num_test=9, chance=50.0)


@pytest.fixture
def tuned(stop_grad: MeasuredTable) -> MeasuredTable:
    """The table with its accuracy by fine-tuning, on another set than the runs'."""
    columns = tuple(
        dataclasses.replace(c, metric="finetune.v1:top1", on=ON) if c.key == "top1" else c
        for c in stop_grad.columns
    )
    return dataclasses.replace(stop_grad, columns=columns)


def keep(runs: Path, name: str, losses: list[float], label: str = "people-0123456789ab") -> Path:
    path = RunFolder(runs / name).predictions_path(label, "finetune.v1")
    path.parent.mkdir(exist_ok=True)
    steps = 10 * np.arange(1, len(losses) + 1)
    np.savez_compressed(path, curve=np.stack([steps, losses], axis=1).astype(np.float32))
    return path


def test_a_line_a_row_over_the_seeds_that_kept_one(tuned: MeasuredTable, runs: Path) -> None:
    first, second = (row.cells["top1"].runs for row in tuned.rows[:2])
    keep(runs, first[0], [4.0, 2.0])
    keep(runs, first[1], [2.0, 1.0])
    keep(runs, second[0], [5.0, 4.0, 3.0])
    keep(runs, second[1], [9.0, 9.0], label="shapes")  # of another set
    ((name, lines),) = fit_curves(tuned, runs).items()
    assert name == "finetune.v1 on people: loss"
    assert [line.label for line in lines] == [row.label for row in tuned.rows[:2]]
    assert [line.x for line in lines] == [(10.0, 20.0), (10.0, 20.0, 30.0)]
    assert (lines[0].y, lines[0].low, lines[0].high) == ((3.0, 1.5), (2.0, 1.0), (4.0, 2.0))
    text = html_report([tuned], runs=runs)
    assert "Training by protocols" in text and f"<figcaption>{name}" in text


def test_what_was_not_kept_or_is_damaged_is_left_out(tuned: MeasuredTable, runs: Path) -> None:
    assert fit_curves(tuned, runs) == {}
    assert "Training by protocols" not in html_report([tuned], runs=runs)
    names = tuned.rows[0].cells["top1"].runs
    keep(runs, names[0], [1.0, 0.5])
    keep(runs, names[1], [1.0, 0.5]).write_bytes(b"PK")
    (lines,) = fit_curves(tuned, runs).values()
    assert [line.high for line in lines] == [(1.0, 0.5)]


def test_more_lines_than_can_be_told_apart_are_left_out(
    tuned: MeasuredTable, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for row in tuned.rows[:2]:
        keep(runs, row.cells["top1"].runs[0], [1.0, 0.5])
    monkeypatch.setattr(module, "MAX_LINES", 1)
    assert fit_curves(tuned, runs) == {}
