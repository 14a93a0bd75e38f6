"""The budget curve's bookkeeping: which runs it takes, and what it counts; nothing is trained."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest

from sslbench.requests import resolved

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def experiment(point):
    return resolved(
        point.recipe, scale="laptop", dataset="cifar10", changes=point.changes
    ).experiment


def test_every_point_is_a_run_of_its_own_and_drawn_once() -> None:
    from budget import KINDS, points

    every = list(points())
    assert max(Counter(experiment(point).digest() for point in every).values()) == 1
    for point in every:
        assert sum(belongs(point) for _, belongs in KINDS.values()) == 1, point


def test_a_point_changes_lengths_and_sizes_and_keeps_the_shares_of_laptop() -> None:
    from budget import Point, points

    usual = {name: resolved(name, scale="laptop", dataset="cifar10").experiment.recipe
             for name in ("simclr", "byol", "swav")}  # fmt: skip
    for point in points():
        recipe, before = experiment(point).recipe, usual[point.recipe]
        share = before.schedule.warmup_epochs / before.epochs
        assert recipe.schedule.warmup_epochs / recipe.epochs == pytest.approx(share, abs=1e-4)
        assert recipe.optimizer == before.optimizer  # whose rate follows the batch by itself
        if point.recipe == "swav":
            share = before.prototypes.frozen_epochs / before.epochs
            assert recipe.prototypes.frozen_epochs / recipe.epochs == pytest.approx(share, abs=1e-4)
    # A target that is followed in half as many steps forgets twice as much in each.
    double = experiment(Point("byol", 50_000, 2, batch=128)).recipe.target.momentum
    assert double == pytest.approx(usual["byol"].target.momentum ** 2)


def test_what_is_spent_before_a_stop_is_counted_too(tmp_path: Path) -> None:
    from budget import Ledger

    def work() -> None:
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass

    def stopped() -> None:
        work()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Ledger(tmp_path / "l.json").training("a"):
        stopped()
    ledger = Ledger(tmp_path / "l.json")  # as another process finds it
    with ledger.training("a"):
        work()
    assert ledger.known["a"]["training"] >= 0.1
    ledger.keep("a", linear=50.0)
    assert set(json.loads((tmp_path / "l.json").read_text())["a"]) == {"training", "linear"}


def test_the_picture_shows_each_recipe_and_each_point(tmp_path: Path) -> None:
    from budget import RECIPES, Measured, Point, cells, picture

    made = [
        Measured(Point(recipe, 50_000, epochs, batch=batch), "run", epochs / 2, 0.1, 40.0 + epochs,
                 41.0, 39.0, 1.0)
        for recipe in RECIPES for epochs in (2, 4) for batch in (64, 128)
    ]  # fmt: skip
    svg = picture(made)
    assert svg.startswith("<svg") and all(recipe in svg for recipe in RECIPES)
    assert cells(made[0]) == ["simclr", "50,000", "2", "16", "64", "1.00", "0.10", "42.0", "41.0"]
