from __future__ import annotations

import math

import pytest

from sslbench.engine.folder import RunFolder
from sslbench.engine.pretrain import pretrain
from sslbench.errors import UserError
from sslbench.evaluation.analyses import analyze_landscape
from sslbench.evaluation.analyses.landscape import rank_correlation
from sslbench.evaluation.evaluate import evaluate
from tests.tiny import tiny


def test_rank_correlation_is_that_of_ranks():
    assert rank_correlation([1, 2, 3], [10, 20, 900]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3], [5, 4, 1]) == pytest.approx(-1)
    assert math.isnan(rank_correlation([1, 2], [1, 2]))
    assert math.isnan(rank_correlation([1, 1, 1], [1, 2, 3]))


def test_every_run_is_a_line_of_its_scores_and_an_unfinished_one_is_named(trained, tmp_path):
    root = trained.path.parent
    other = pretrain(tiny("untrained"), provenance={}, runs=tmp_path, root=root)
    unfinished = RunFolder(tmp_path / "unfinished")
    unfinished.write_experiment(trained.experiment(), {})
    result = analyze_landscape([trained, other, unfinished], protocol="knn", root=root)
    scores = evaluate(trained, ["geometry", "knn"], root=root)
    first, second = result.summary
    assert first["alignment"] == scores["geometry.v1"].values["alignment"]
    assert first["uniformity"] == scores["geometry.v1"].values["uniformity"]
    assert first["top1"] == scores["knn.v1"].values["top1"]
    assert (first["kind"], second["kind"]) == ("self-supervised", "not trained here")
    assert first["dataset"] == second["dataset"]
    agreement, left_out = result.notes
    assert "too few encoders" in agreement
    assert left_out.startswith("unfinished is left out")
    with pytest.raises(UserError, match="No run could be scored"):
        analyze_landscape([unfinished], root=root)


def test_geometry_is_no_accuracy(trained):
    with pytest.raises(UserError, match="no accuracy"):
        analyze_landscape([trained], protocol="geometry", root=trained.path)
