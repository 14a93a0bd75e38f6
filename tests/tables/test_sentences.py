"""Sentences of claims are not wider than their tests: made-up measurements on which each fails.

Every case here once read "held" under a sentence that it contradicts, or that nothing tested.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from sslbench.engine.folder import NUMERICS
from sslbench.tables.estimates import Outcome
from sslbench.tables.judging import claim_results
from sslbench.tables.results import Cell, ClaimResult, MeasuredColumn, MeasuredRow, MeasuredTable
from sslbench.tables.schema import Table, load_table

SPREAD = (-0.1, 0.0, 0.1)  # of three seeds about their mean


def judged(
    name: str, means: Mapping[str, float], *, on: str = "cifar10", spread: float = 1.0
) -> dict[str, ClaimResult]:
    """The claims of a table by id, on cells of these means ("row" or "row.column")."""
    table = load_table(name)
    return {claim.id: claim for claim in claim_results(table, measured(table, means, on, spread))}


def outcomes(name: str, means: Mapping[str, float], **more: str) -> dict[str, Outcome]:
    return {key: claim.ours for key, claim in judged(name, means, **more).items()}


def measured(table: Table, means: Mapping[str, float], on: str, spread: float) -> MeasuredTable:
    known = {row.id for row in table.rows}
    cells: dict[str, dict[str, Cell]] = {}
    for name, mean in means.items():
        row, column = name, table.columns[0].key
        if name not in known:
            row, _, column = name.rpartition(".")
        assert row in known, name
        seeds = tuple(enumerate(mean + spread * change for change in SPREAD))
        cells.setdefault(row, {})[column] = Cell(state="measured", seeds=seeds)
    return MeasuredTable(
        id=table.id, title=table.title, source="", arxiv="", setting={}, notes=(), scale="laptop",
        dataset=on, fingerprint="f", num_test=2000, chance=10.0, seeds=(0, 1, 2), overrides={},
        columns=tuple(
            MeasuredColumn(key=c.key, name=c.name, unit="%", better="higher", metric=c.metric)
            for c in table.columns
        ),
        rows=tuple(MeasuredRow(id=row, label=row, cells=own) for row, own in cells.items()),
        baselines=(), claims=(), rank_agreement={}, numerics=NUMERICS, device="a CPU",
        device_class="cpu", commit="", torch="", minutes=1.0,
    )  # fmt: skip


def series(row: str, *values: float) -> dict[str, float]:
    """The seven teacher temperatures of a row of ressl-temperature."""
    return {f"{row}.t00{i}": value for i, value in enumerate(values, 1)}


def test_ressls_best_teacher_is_the_printed_one_and_no_neighbour() -> None:
    found = outcomes(
        "ressl-temperature",
        series("s0.1-cifar10", 41, 42, 45, 43, 43, 43, 42)
        | series("s0.2-cifar10", 40, 40, 40, 44, 40, 40, 40),
    )
    assert found == {
        "student-0.1-beats-0.2": "not held",  # at tau_t 0.04, which was not looked at
        "student-0.1-beats-0.2-best-against-best": "held",
        "teacher-best-at-0.04-or-0.05": "not held",
        "teacher-neither-sharpest-nor-softest": "held",
        "too-soft-teacher-hurts": "held",
    }


def test_ressls_softest_teacher_is_below_the_middle_not_just_below_the_best() -> None:
    means = series("s0.1-cifar10", 41, 42, 42, 45, 44, 43, 43.5)
    assert outcomes("ressl-temperature", means)["too-soft-teacher-hurts"] == "not held"


def test_ressls_end_of_the_sweep_is_no_middle() -> None:
    means = series("s0.1-cifar10", 46, 42, 43, 44, 43, 42, 41)
    found = outcomes("ressl-temperature", means)
    assert found["teacher-neither-sharpest-nor-softest"] == "not held"
    assert found["teacher-best-at-0.04-or-0.05"] == "not held"


@pytest.mark.parametrize(("other", "outcome"), [(45.1, "undecided"), (45.5, "not held")])
def test_ressl_a_little_behind_is_not_the_best(other: float, outcome: Outcome) -> None:
    means = dict.fromkeys(("simclr-cifar10", "byol-cifar10", "simsiam-cifar10"), 40.0)
    means |= {"moco-v2-cifar10": other, "ressl-cifar10": 45.0}
    assert outcomes("ressl-small", means)["ressl-best"] == outcome


def test_every_method_without_labels_is_looked_at_on_stl10() -> None:
    rows = ("simclr", "byol", "simsiam", "moco-v2", "ressl")
    means = {f"{row}-stl10": 80.0 for row in rows} | {"supervised-stl10": 75.0}
    assert outcomes("ressl-small", means, on="stl10")["ssl-beats-supervised-on-stl10"] == "held"
    means["byol-stl10"] = 70.0
    found = outcomes("ressl-small", means, on="stl10")
    assert found["ssl-beats-supervised-on-stl10"] == "not held"


BATCHES = (32, 64, 128, 256, 512)


def gains(*values: float, dataset: str = "cifar10", base: float = 60.0) -> dict[str, float]:
    """SimCLR at one accuracy at every batch, DCL with these gains."""
    means = {f"b{batch}-{dataset}.simclr": base for batch in BATCHES}
    return means | {f"b{b}-{dataset}.dcl": base + v for b, v in zip(BATCHES, values, strict=True)}


def test_dcls_gain_shrinks_at_every_step_or_between_the_ends() -> None:
    found = outcomes("dcl-batch-size", gains(5, 4, 3, 2, 1))
    assert found["gap-shrinks-with-batch"] == found["gap-shrinks-at-every-step"] == "held"
    found = outcomes("dcl-batch-size", gains(5, 7, 3, 2, 1))
    assert found["gap-shrinks-with-batch"] == "held"
    assert found["gap-shrinks-at-every-step"] == "not held"


def test_a_table_of_several_sets_is_judged_on_the_one_measured_on_both_sides() -> None:
    """On CIFAR-100 the printed values themselves contradict the sentences of DCL."""
    printed = gains(1.7, 4.0, 2.8, 2.9, 2.6, dataset="cifar100")
    found = judged("dcl-batch-size", printed, on="cifar100")
    for claim in ("dcl-steadier", "gap-shrinks-with-batch", "gap-shrinks-at-every-step"):
        assert (found[claim].published, found[claim].ours) == ("not held", "not held"), claim
        assert "CIFAR-100" in found[claim].detail  # the claim's note
    assert found["dcl-helps-small-batch"].ours == "held"
    found = judged("dcl-batch-size", gains(5, 4, 3, 2, 1))
    assert {claim.published for claim in found.values()} == {"held"}


def test_another_set_stands_in_for_the_first() -> None:
    found = judged("dcl-batch-size", gains(5, 4, 3, 2, 1), on="shapes")
    assert {claim.published for claim in found.values()} == {"held"}
    verdict = found["dcl-helps-small-batch"].verdict
    assert verdict == "held (on shapes; the sentence is about cifar10)"


def test_a_set_of_the_table_is_judged_as_itself() -> None:
    means = {"svhn.contrastive": 80.0, "svhn.simple": 79.0}
    (claim,) = judged("behaviour-simple", means, on="svhn").values()
    assert (claim.published, claim.verdict, claim.about) == ("held", "held", ("svhn",))


@pytest.mark.parametrize("dcl", [60.0, 59.6])
def test_dcl_is_better_only_where_it_is_above(dcl: float) -> None:
    means = {f"b{batch}-cifar10.simclr": 60.0 for batch in (32, 128, 512)}
    means |= {f"b{batch}-cifar10.dcl": 65.0 for batch in (32, 128)} | {"b512-cifar10.dcl": dcl}
    assert outcomes("dcl-batch-size-r50", means)["dcl-better-at-every-batch"] != "held"


def test_dcl_gains_most_at_the_smallest_batch_of_all() -> None:
    means = {f"b{batch}-cifar10.ce": 60.0 for batch in BATCHES[:4]}
    dcl = {32: 64.0, 64: 66.0, 128: 63.0, 256: 62.0}
    means |= {f"b{batch}-cifar10.dcl": value for batch, value in dcl.items()}
    found = outcomes("dcl-reimplementation-cifar", means)
    assert found["dcl-over-ce-reimpl"] == "held"
    assert found["dcl-gains-most-at-the-smallest-batch"] == "not held"


def test_each_part_of_moco_v2_has_its_own_verdict() -> None:
    means = {"v1": 40.0, "a": 45.0, "b": 42.0, "c": 47.0, "d": 46.0, "e": 50.0}
    found = outcomes("moco-v2-ablation", means)
    parts = {key: value for key, value in found.items() if key.endswith(("helps", "-head"))}
    assert parts == {
        "projection-head-helps": "held",
        "augmentation-helps": "held",
        "augmentation-helps-with-the-head": "held",
        "cosine-helps": "not held",  # was not looked at
        "longer-training-helps": "held",
    }


def test_every_row_of_moco_is_above_supervised_in_detection() -> None:
    (claim,) = (c for c in load_table("moco-v2-ablation").claims if c.id.startswith("moco-beats"))
    rows = {row.id for row in load_table("moco-v2-ablation").rows} - {"supervised"}
    named = {f"{row}.{key}" for row in (*rows, "supervised") for key in ("voc_ap", "det_ap")}
    assert claim.operands() == named


def test_hard_negatives_are_compared_with_debiased_sampling() -> None:
    means = {"biased": 40.0, "debiased": 50.0, "hard-0.5": 48.0, "hard-1": 47.0, "hard-2": 46.0,
             "hard-6": 42.0}  # fmt: skip
    assert outcomes("hcl-stl10", means) == {
        "hard-beats-debiased": "not held",
        "debiased-beats-biased": "held",
        "best-beta-inside": "not held",  # the best is beta 0
        "too-hard-hurts": "held",
    }
    found = outcomes("hcl-stl10", {**means, "debiased": 39.0})
    assert found["debiased-beats-biased"] == "not held"
    assert found["hard-beats-debiased"] == found["best-beta-inside"] == "held"


def test_each_correction_of_the_sampling_bias_has_its_own_verdict() -> None:
    found = outcomes("debiased-stl10", {"biased": 40.0, "prior-0.05": 43.0, "prior-0.1": 42.0})
    assert found == {
        "debiasing-helps": "held",
        "half-the-correction-helps": "held",
        "whole-correction-is-better": "not held",
    }


def test_feature_transformation_is_judged_on_moco_v1_too() -> None:
    found = outcomes(
        "feature-transformation",
        {"moco-v1": 45.0, "moco-v1-ft": 42.0, "moco-v2": 45.0, "moco-v2-ft": 47.0},
    )
    assert found["ft-improves-moco-v1"] == "not held"
    assert found["ft-improves-moco-v2"] == "held"


@pytest.mark.parametrize(("gain", "outcome"), [(1.0, "not held"), (3.5, "held"), (7.0, "not held")])
def test_a_gain_of_two_to_five_points_is_one(gain: float, outcome: Outcome) -> None:
    found = outcomes("ring", {"moco-v2": 50.0, "ring-annealed": 50.0 + gain})
    assert found["ring-improves"] == "held"
    assert found["ring-improves-by-2-to-5"] == outcome
    assert found["ring-improves-instdisc"] == "not measured"


def test_rings_sentences_are_strict() -> None:
    """A fixed ring half a point ahead of an annealed one, and none that harms."""
    means = {"moco-v2": 50.0, "ball": 51.0, "ring-fixed": 53.5, "ring-annealed": 53.0}
    found = outcomes("ring", {**means, "instdisc": 45.0, "instdisc-ring": 44.0})
    assert found["annealing-beats-fixed"] == "not held"
    assert found["hard-from-the-start-hurts"] == "not held"
    assert found["ring-improves-instdisc"] == "not held"


def test_behaviours_temperatures_are_judged_at_every_step() -> None:
    temperatures = ("0.07", "0.1", "0.2", "0.3", "0.7", "1")
    tolerance = (0.1, 0.2, 0.3, 0.4, 0.5, 0.4)
    means = {f"c-{t}-cifar10.tolerance": v for t, v in zip(temperatures, tolerance, strict=True)}
    found = judged("behaviour-temperature", means, spread=0.01)
    assert found["tolerance-grows-with-temperature"].ours == "not held"


def test_the_best_temperature_is_the_printed_one_or_a_neighbour() -> None:
    taus = ("0.05", "0.07", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8")
    means = {f"tau-{tau}": 50.0 for tau in taus} | {"tau-0.2": 55.0}
    found = outcomes("behaviour-temperature-cifar100", means)
    assert (found["best-at-0.3"], found["best-between-0.2-and-0.4"]) == ("not held", "held")


def test_printed_gaps_of_simclrs_heads_are_tested() -> None:
    found = outcomes("simclr-projection-head", {"nonlinear": 60.0, "linear": 59.0, "none": 55.0})
    assert (found["nonlinear-beats-linear"], found["projector-beats-none"]) == ("held", "held")
    assert found["nonlinear-beats-linear-by-about-3"] == "not held"
    assert found["projector-beats-none-by-10"] == "not held"


def test_simclrs_normalisation_is_tested() -> None:
    means = {"l2-0.05": 50.0, "l2-0.1": 55.0, "l2-0.2": 56.0, "l2-0.5": 54.0, "l2-1": 52.0}
    found = outcomes("simclr-temperature", {**means, "dot-10": 57.0, "dot-100": 50.0})
    assert found["intermediate-temperature-best"] == "held"
    assert found["normalisation-needed"] == "not held"


def test_colour_strength_is_judged_for_each_kind_of_training() -> None:
    means = {"simclr.s0125": 50.0, "simclr.s025": 52.0, "simclr.s05": 54.0, "simclr.s1": 53.0}
    means |= {f"supervised.{s}": 80.0 + i for i, s in enumerate(("s0125", "s025", "s05", "s1"))}
    found = outcomes("simclr-color-strength", means)
    assert found["contrastive-gains-with-colour"] == "not held"
    assert found["supervised-loses-with-colour"] == "not held"


def test_comparable_or_better_has_a_margin_and_better_has_none() -> None:
    found = outcomes(
        "align-uniform-stl10-nyu", {"align-uniform.fc7_lin": 59.5, "contrastive.fc7_lin": 60.0}
    )
    assert found["align-uniform-at-least-as-good"] == "held"
    assert found["align-uniform-better"] == "not held"
