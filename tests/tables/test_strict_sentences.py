"""Strict sentences fail by a loss of less than a point, and are open where nothing differs.

Every claim here once read "held" on such measurements.
"""

from __future__ import annotations

import pytest

from sslbench.tables.schema import load_table
from tests.tables.test_sentences import outcomes

LOWERED = [  # table, claim, and the cells whose being lower contradicts it
    ("mocov3-ablation", "momentum-and-predictor-help", ["default"]),
    ("mocov3-batch-size", "large-batch-unstable", ["b6144.dips"]),
    ("mocov3-frameworks", "mocov3-best-on-vit", ["moco-v3-vits"]),
    ("mocov3-patch-projection", "random-projection-helps", ["moco-v3-1.0e-4.random"]),
    ("mocov3-patch-projection", "random-projection-smoother", ["moco-v3-1.5e-4.learned_dips"]),
    ("barlow-asymmetric", "asymmetry-not-needed", ["baseline"]),
    ("barlow-asymmetric", "both-asymmetries-hurt-most", ["stop-gradient"]),
    ("barlow-linear", "barlow-competitive", ["barlow-twins"]),
    ("byol-augmentations", "byol-above-simclr-everywhere", ["no-color.byol"]),
    ("byol-linear-r50", "byol-best-without-negatives", ["byol"]),
    ("byol-target", "middle-decay-best", ["ema-0.99"]),
    ("dino-linear-knn", "dino-best-knn-on-vit", ["dino.knn"]),
    ("directclr-projector", "directclr-beats-linear-projector", ["directclr"]),
    ("moco-v2-vs-simclr", "moco-v2-beats-simclr-small-batch", ["moco-v2-200-256"]),
    ("moco-v2-vs-simclr", "moco-v2-beats-simclr-large-batch", ["moco-v2-200-256"]),
    ("simsiam-cifar10", "simsiam-above-simclr-cifar", ["simsiam"]),
    ("simsiam-epochs", "simsiam-best-at-100", ["simsiam.ep100"]),
    ("simsiam-epochs", "simsiam-beats-simclr", ["simsiam.ep400"]),
    ("simsiam-output-dim", "simsiam-wants-wide-output", ["dim-1024"]),
    ("simsiam-predictor", "constant-pred-lr-better", ["constant-lr"]),
    ("swav-linear", "swav-best", ["swav"]),
]


def everywhere(table: str, value: float) -> dict[str, float]:
    found = load_table(table)
    return {f"{row.id}.{column.key}": value for row in found.rows for column in found.columns}


def first_column(table: str, cells: list[str]) -> list[str]:
    """Cells as "row.column"."""
    found = load_table(table)
    rows = {row.id for row in found.rows}
    return [f"{cell}.{found.columns[0].key}" if cell in rows else cell for cell in cells]


@pytest.mark.parametrize(("table", "claim", "cells"), LOWERED, ids=lambda v: str(v)[:40])
def test_less_than_a_point_below_is_below(table: str, claim: str, cells: list[str]) -> None:
    means = everywhere(table, 70.0) | dict.fromkeys(first_column(table, cells), 69.3)
    assert outcomes(table, means, spread=0.1)[claim] == "not held"


@pytest.mark.parametrize(("table", "claim", "cells"), LOWERED, ids=lambda v: str(v)[:40])
@pytest.mark.parametrize("value", [0.0, 70.0])
def test_what_does_not_differ_is_undecided(
    table: str, claim: str, cells: list[str], value: float
) -> None:
    assert outcomes(table, everywhere(table, value), spread=0.0)[claim] == "undecided"


def test_simclrs_loss_at_small_batch_says_nothing_of_barlow_twins() -> None:
    columns = ("simclr_byol_repro", "barlow")
    means = {f"batch-256.{column}": -5.0 for column in columns}
    assert outcomes("barlow-batch-size", means, spread=0.1) == {
        "simclr-loses-at-small-batch": "held",
        "barlow-robust-to-small-batch": "undecided",
        "barlow-flat-down-to-256": "not held",
    }


def test_a_worse_accuracy_is_no_instability() -> None:
    means = {"all": 40.0, "default": 60.0, "all.loss_std": 0.01, "default.loss_std": 0.01}
    found = outcomes("simsiam-bn", means, spread=0.01)
    assert found["bn-on-predictor-output-unstable"] == "not held"


def test_a_collapse_to_two_points_is_no_constant_output() -> None:
    means = {"no-stop-grad": 12.0, "no-stop-grad.std": 0.42}
    found = outcomes("simsiam-stop-grad", means, spread=0.01)
    assert found["no-stopgrad-collapses"] == "held"
    assert found["no-stopgrad-output-constant"] == "not held"
