"""Measured tables with made-up numbers, as the grid runner writes them."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from sslbench.engine.folder import NUMERICS, RunFolder
from sslbench.tables.estimates import Outcome
from sslbench.tables.results import Cell, ClaimResult, MeasuredColumn, MeasuredRow, MeasuredTable
from tests.tiny import summary

SEEDS = (0, 1, 2, 3, 4)
TOP1 = MeasuredColumn(
    key="top1",
    name="linear",
    unit="%",
    better="higher",
    metric="linear.features.v1:top1",
    definition="3fa9c21b77d0",
)
KNN = MeasuredColumn(
    key="knn",
    name="kNN",
    unit="%",
    better="higher",
    metric="knn.v1:top1",
    definition="91bc02aa41ee",
)
STD = MeasuredColumn(key="std", name="output std", unit="", better="none", metric="run:std")
LOSS = MeasuredColumn(
    key="loss", name="final loss", unit="", better="lower", metric="run:final_loss"
)

MINUTES = MeasuredColumn(
    key="minutes", name="training", unit="min", better="lower", metric="run:minutes"
)


def cell(values: Sequence[float | None], published: float | None = None, **more: Any) -> Cell:
    """A measured cell, seeds counted from 0."""
    return Cell(
        **{"state": "measured", "seeds": tuple(enumerate(values)), "published": published, **more}
    )


def draw(name: str, mean: float, std: float = 0.5, n: int = 5) -> list[float]:
    """Seed values that are the same on every call."""
    generator = random.Random(name)
    return [mean + generator.gauss(0, std) for _ in range(n)]


def row(name: str, label: str, cells: Mapping[str, Cell], **more: Any) -> MeasuredRow:
    """A row with healthy runs, one per seed."""
    runs = tuple(f"{name}-s{seed}-{abs(hash_of(name)) % 16**8:08x}" for seed in SEEDS)
    cells = {
        key: dataclasses.replace(value, runs=runs) if value.n else value
        for key, value in cells.items()
    }
    return MeasuredRow(
        **{"id": name, "label": label, "cells": cells, "verdicts": {"healthy": 5}, "minutes": 4.2}
        | more
    )


def hash_of(name: str) -> int:
    """A hash that does not change with the process."""
    return random.Random(name).getrandbits(32)


def table(
    name: str,
    title: str,
    columns: Sequence[MeasuredColumn],
    rows: Sequence[MeasuredRow],
    **more: Any,
) -> MeasuredTable:
    """A table at laptop scale."""
    fields: dict[str, Any] = {
        "id": name,
        "title": title,
        "source": "Chen and He 2021, Exploring Simple Siamese Representation Learning, Fig. 2",
        "arxiv": "2011.10566",
        "setting": {"dataset": "ImageNet-1k", "arch": "ResNet-50", "epochs": 100},
        "notes": (),
        "scale": "laptop",
        "dataset": "shapes",
        "fingerprint": "5d41402abc4b2a76",
        "num_test": 2000,
        "chance": 10.0,
        "seeds": SEEDS,
        "overrides": {},
        "columns": tuple(columns),
        "rows": tuple(rows),
        "baselines": (),
        "claims": (),
        "rank_agreement": {},
        "numerics": NUMERICS,
        "device": "2 cores of an Intel Xeon at 2.1 GHz",
        "device_class": "cpu-x86",
        "commit": "0123456789ab",
        "torch": "2.11.0",
        "minutes": 21.5,
    }
    return MeasuredTable(**fields | more)


@pytest.fixture
def stop_grad() -> MeasuredTable:
    """With and without stop-gradient: one row collapsed, baselines beside, two claims."""
    rows = [
        row(
            "with",
            "w/ stop-grad",
            {
                "top1": cell(draw("with", 61.2), 67.7, spread=0.1),
                "knn": cell(draw("withknn", 55.0)),
                "std": cell(draw("withstd", 0.0603, 0.001), 0.0221),
            },
        ),
        row(
            "without",
            "w/o stop-grad",
            {
                "top1": cell(draw("without", 10.4, 0.02), 0.1),
                "knn": cell(draw("withoutknn", 10.1, 0.2)),
                "std": cell([0.0, 0.0, 0.0, 0.0, 0.0], 0.0),
            },
            verdicts={"collapsed": 5},
            changes={"target.stop_gradient": False},
        ),
    ]
    untrained = row(
        "untrained", "untrained encoder", {"top1": cell(draw("un", 31.0))}, baseline=True
    )
    pixels = row(
        "raw-pixels",
        "raw pixels",
        {"top1": cell([24.45], constant=True)},
        baseline=True,
        minutes=0.1,
    )
    return table(
        "simsiam-stop-grad",
        "SimSiam with and without stop-gradient",
        [TOP1, KNN, STD],
        rows,
        baselines=(untrained, pixels),
        claims=(
            ClaimResult(
                id="stop-grad-needed",
                says="Without stop-gradient SimSiam collapses: accuracy is within twice chance.",
                published="held",
                ours="held",
                detail="- without + 20 = 9.61 ± 0.3",
            ),
            ClaimResult(
                id="std-zero",
                says="The std of the output is 1/√d with stop-gradient.",
                published=None,
                ours="undecided",
                detail="with.std - 0.0625 = -0.0022 ± 0.004",
            ),
        ),
        rank_agreement={"top1": 1.0},
        notes=("The output's std is measured on the last batch.",),
    )


@pytest.fixture
def timed(stop_grad: MeasuredTable) -> MeasuredTable:
    """The same with the minutes that each row trained, and a row that needs no training."""
    rows = [
        dataclasses.replace(line, cells={**line.cells, "minutes": cell([minutes] * 5)})
        for line, minutes in zip(stop_grad.rows, (4.0, 3.5), strict=True)
    ]
    pixels = {"top1": cell([24.4]), "minutes": cell([0.0])}
    rows.append(row("raw-pixels", "raw pixels", pixels))
    columns = (*stop_grad.columns, MINUTES)
    return dataclasses.replace(stop_grad, rows=tuple(rows), columns=columns, baselines=())


@pytest.fixture
def awkward() -> MeasuredTable:
    """Labels with every special character, and a cell of every state."""
    rows = [
        row("a", "lr_base < 0.1 & wd > 5%", {"top1": cell(draw("a", 50.0), 66.6)}, certain=False),
        row("b", "no_pred. {x} $y$ #1 | *z*", {"top1": cell([None] * 5, 0.1, state="diverged")}),
        row("c", "<script>alert(1)</script>", {"top1": cell([48.0, None, 49.0], 60.0)}),
        row("d", "not run", {"top1": Cell(state="missing", published=61.0)}),
        row(
            "e",
            "too large",
            {"top1": Cell(state="failed", published=62.0, note="out of memory at batch 4096")},
        ),
        row("f", "published only", {"top1": Cell(state="published-only", published=63.0)}),
    ]
    claim = ClaimResult(
        id="c",
        says="A & B beats <C> by 5%_",
        published="held",
        ours="not held",
        detail="a - b = -3 ± 1",
    )
    return table("awkward", "Rows & columns: <5%> of a_b", [TOP1], rows, claims=(claim,))


@pytest.fixture
def augmentations() -> MeasuredTable:
    """The 7×7 grid of augmentation pairs with a row average: the widest table."""
    names = ("crop", "cutout", "color", "sobel", "noise", "blur", "rotate")
    columns = [
        dataclasses.replace(TOP1, key=n, name=f"second transform: {n}") for n in (*names, "average")
    ]
    rows = []
    for i, first in enumerate(names):
        cells = {}
        for j, second in enumerate((*names, "average")):
            published = 55.8 - 6 * max(i, j) - (22 if i == j else 0)
            published = round(max(3.1, published), 1)
            cells[second] = cell(draw(first + second, 18 + 0.6 * published), published)
        rows.append(row(first, first, cells, key={"first": first}, certain=False))
    return table("simclr-augmentation-pairs", "SimCLR: pairs of augmentations", columns, rows)


@pytest.fixture
def published_only() -> MeasuredTable:
    """A table that cannot be measured here."""
    cells = {"top1": Cell(state="published-only", published=73.2)}
    rows = [row("barlow", "Barlow Twins", cells, verdicts={}, minutes=0.0)]
    return table("barlow-linear", "Linear evaluation on ImageNet", [TOP1], rows, minutes=0.0)


@pytest.fixture
def runs(tmp_path: Path, stop_grad: MeasuredTable) -> Path:
    """Run folders of `stop_grad` with logs of 40 points, every fourth with the kNN monitor."""
    folder = tmp_path / "runs"
    for line in stop_grad.rows:
        for seed, name in enumerate(line.cells["top1"].runs):
            _write_log(RunFolder(folder / name), collapsed=line.id == "without", seed=seed)
    return folder


def _write_log(run: RunFolder, *, collapsed: bool, seed: int) -> None:
    generator = random.Random(seed)
    points = []
    for step in range(10, 410, 10):
        decay = math.exp(-step / (20 if collapsed else 120))
        std = 0.0625 * decay if collapsed else 0.0625 * (1 - 0.6 * decay)
        loss = -1 + decay if collapsed else -0.9 + 0.9 * decay
        point = {"step": step, "loss": loss + generator.gauss(0, 0.01), "std": std}
        if step % 40 == 0:
            point["knn"] = 10.0 if collapsed else 55 - 30 * decay + generator.gauss(0, 0.5)
        points.append(json.dumps(point))
    run.path.mkdir(parents=True)
    run.metrics_path.write_text("\n".join(points) + "\n")
    run.write_summary(summary(final={"out_dim": 256}))


@pytest.fixture
def make_cell() -> Callable[..., Cell]:
    """`cell` for tests."""
    return cell


@pytest.fixture
def make_table() -> Callable[[Mapping[str, Cell]], MeasuredTable]:
    """A table of one column from cells by row id."""

    def make(cells: Mapping[str, Cell], **more: Any) -> MeasuredTable:
        column = more.pop("column", TOP1)
        rows = [row(name, name, {column.key: value}) for name, value in cells.items()]
        return table("gate", "A table for the gate", [column], rows, **more)

    return make


@pytest.fixture
def loss_column() -> MeasuredColumn:
    """A column where lower is better."""
    return LOSS


@pytest.fixture
def std_column() -> MeasuredColumn:
    """A column without a better direction."""
    return STD


def measured_table(name: str, *outcomes: Outcome, **more: Any) -> MeasuredTable:
    """A table of one row, by id and the outcomes of its claims; claims are "Claim 0." and so on."""
    detail = "only - 3 = -1.25 ± 0.5, needs < 0"
    claims = tuple(
        ClaimResult(f"c{i}", f"Claim {i}.", "held", outcome, detail)
        for i, outcome in enumerate(outcomes)
    )
    only = row("only", "the only row", {"top1": cell([60.0, 61.0, 62.0])})
    fields: dict[str, Any] = {"title": f"Table {name}", "columns": [TOP1], "rows": [only]}
    return table(name, **fields | {"claims": claims} | more)


@pytest.fixture
def measured() -> Callable[..., MeasuredTable]:
    """`measured_table`."""
    return measured_table
