"""A new evaluation is one file (this one: its settings and its runner) and one entry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from sslbench.cli.list import find_rows
from sslbench.data.registry import DATASETS
from sslbench.errors import UserError
from sslbench.evaluation.accuracy import Outcome, accuracies, predictions
from sslbench.evaluation.evaluate import evaluate
from sslbench.evaluation.protocols import PROTOCOLS, TOP1, Protocol, Value
from sslbench.evaluation.subject import Subject
from sslbench.recipes.specs import Shapes
from sslbench.tables.grid import plan, run
from sslbench.tables.measure import measure
from sslbench.tables.schema import Table, parse_table
from tests.evaluation.conftest import finished


@dataclass(frozen=True, kw_only=True)
class Centroid(Protocol):
    """The class whose mean training feature is nearest."""

    needs: ClassVar = frozenset({"labels"})
    values: ClassVar = (TOP1, Value(key="margin", unit="σ", better="higher"))
    runner: ClassVar = f"{__name__}:centroid"

    power: float = 2.0


def centroid(protocol: Centroid, subject: Subject) -> Outcome:
    """Distances of test features to the class means."""
    train, labels = subject.features.train, subject.train_labels
    means = torch.stack([train[labels == c].mean(0) for c in range(subject.num_classes)])  # C×D
    scores = -torch.cdist(subject.features.test, means).pow(protocol.power)  # M×C
    top2 = scores.topk(2, dim=1).values
    margin = float(((top2[:, 0] - top2[:, 1]) / scores.std()).mean())
    values = {"top1": accuracies(scores, subject.test_labels)["top1"], "margin": margin}
    return Outcome(values=values, chosen={}, heldout={}, predicted=predictions(scores))


@pytest.fixture(autouse=True)
def entry(monkeypatch: pytest.MonkeyPatch) -> Centroid:
    """The one entry."""
    protocol = Centroid(name="centroid.v1", summary="Nearest class mean.", short="mean")
    monkeypatch.setitem(PROTOCOLS, protocol.name, protocol)
    return protocol


def new_table(**parts: Any) -> Table:
    """A table of untrained encoders."""
    head = {"id": "new", "title": "New", "source": "a test", "base": "untrained"}
    return parse_table({**head, **parts}, where="new")


def test_it_scores_a_run(entry: Centroid, tmp_path: Path) -> None:
    run = finished("raw-pixels", tmp_path)
    score = evaluate(run, ["mean"], root=tmp_path)["centroid.v1"]
    assert (score.definition, set(score.values)) == (entry.definition, {"top1", "margin"})
    assert run.predictions_path("shapes", "centroid.v1").is_file()
    assert evaluate(run, ["centroid"], root=tmp_path)["centroid.v1"] == score


def test_it_fills_a_column_with_its_own_unit(tmp_path: Path) -> None:
    columns: list[dict[str, Any]] = [
        {"key": "margin", "name": "margin", "metric": "centroid.v1:margin"},
        {"key": "top1", "name": "top-1", "metric": "centroid.v1:top1"},
    ]
    rows = [{"id": "histogram", "label": "colours", "recipe": "color-histogram"}]
    claims = [
        {"id": "low", "says": "...", "words": "ours", "ours": {"near_chance": ["raw-pixels"]}}
    ]
    table = new_table(columns=columns, rows=rows, claims=claims)
    request: dict[str, Any] = {"scale": "smoke", "seeds": 1, "runs": tmp_path / "runs",
                               "data": Shapes(resolution=8, num_train=40, num_test=20),
                               "root": tmp_path}  # fmt: skip
    assert not run(plan([table], **request), root=tmp_path, device="cpu").failed
    result = measure(table, **request)
    assert result.complete
    margin, top1 = result.columns
    assert (margin.unit, margin.better, top1.unit, top1.better) == ("σ", "higher", "%", "higher")
    assert result.claims[0].detail == "chance is not defined for raw-pixels"


def test_it_is_listed() -> None:
    listed = {row["name"]: row for row in find_rows("protocols", runs=Path("runs"))}
    assert listed["centroid.v1"]["values"] == "top1, margin"
    assert listed["centroid.v1"]["needs"] == "labels"


def test_what_it_needs_is_asked_for_when_a_grid_is_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Centroid, "needs", frozenset({"labels", "boxes", "clips"}))
    column = {"key": "top1", "name": "top-1", "metric": "centroid.v1:top1"}
    table = new_table(columns=[column], rows=[{"id": "a", "label": "a"}])
    assert "boxes" in DATASETS["shapes"].annotations
    with pytest.raises(
        UserError, match=r"centroid.v1 needs clips, which .* 'shapes' lacks; .*none yet"
    ):
        plan([table], scale="smoke", seeds=1, runs=tmp_path / "runs", root=tmp_path)
    assert not (tmp_path / "runs").exists()
