from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from sslbench.engine.folder import RunFolder
from sslbench.engine.gradients import MAXIMUM, MEAN
from sslbench.engine.monitors import knn_dips
from sslbench.errors import UserError
from sslbench.evaluation.analyses import analyze_stability
from sslbench.evaluation.analyses.stability import Dip, Spike, find_dips, find_spikes, overlaps

LAYERS = ["patch_embed", "block0"]


def windows(**maxima: list[float]) -> list[tuple[int, dict[str, float]]]:
    """Windows of ten steps with some maxima by layer."""
    count = len(next(iter(maxima.values())))
    return [
        (10 * i, {"step": 10 * (i + 1), **{MAXIMUM + n: v[i] for n, v in maxima.items()}})
        for i in range(count)
    ]


def test_a_spike_is_above_three_times_the_running_median():
    calm = [1.0, 1.1, 0.9, 1.0, 1.0]
    first = [*calm, 3.5, 1.0, 2.9, 1.0]
    later = [*calm, 1.0, 6.0, 1.0, 1.0]
    spikes = find_spikes(windows(patch_embed=first, block0=later), LAYERS)
    assert spikes == [Spike(50, 70, ("patch_embed", "block0"), 6.0)]  # neighbours are one


def test_the_first_windows_are_no_spikes_and_a_slow_rise_is_none():
    assert find_spikes(windows(a=[1.0, 9.0, 1.0, 9.0, 1.0]), ["a"]) == []
    assert find_spikes(windows(a=[1.05**i for i in range(40)]), ["a"]) == []
    assert find_spikes(windows(a=[0.0] * 8 + [1.0]), ["a"]) == []  # frozen until then


def test_a_dip_is_a_fall_in_a_row_of_a_point_at_least():
    curve = [(10, 50.0), (20, 49.5), (30, 48.0), (40, 52.0), (50, 51.5), (60, 53.0)]
    assert find_dips(curve) == [Dip(10, 30, 2.0)]
    assert knn_dips([value for _, value in curve]) == pytest.approx(2.5)
    assert knn_dips([1.0]) is None


def test_a_spike_matches_a_dip_that_it_shares_a_step_with():
    dip = Dip(20, 30, 5.0)
    found = [overlaps(Spike(a, b, ("a",), 4.0), dip) for a, b in
             ((10, 20), (10, 21), (25, 26), (29, 40), (30, 40))]  # fmt: skip
    assert found == [False, True, True, True, False]


def test_a_run_with_a_spike_and_a_dip(tmp_path: Path):
    folder = RunFolder(tmp_path / "run-s0")
    folder.path.mkdir()
    lines = []
    for i in range(1, 13):
        height = 8.0 if i == 8 else 1.0
        layers = {MEAN + "stem": 1.0, MAXIMUM + "stem": height}
        lines.append({"step": 10 * i, "loss": 1.0, "knn": 50.0 - 6 * (i == 8), **layers})
        lines.append({"step": 10 * i + 5, "knn": 50.0})  # a monitor point between two log points
    folder.metrics_path.write_text("\n".join(map(json.dumps, lines)))
    result = analyze_stability(folder)
    (line,) = result.summary
    assert (line["windows"], line["knn_points"]) == (12, 24)
    assert (line["spikes"], line["dips"], line["spikes_in_dips"]) == (1, 1, 1)
    assert (line["in_first_layer"], line["highest"], line["knn_dips"]) == (1, 8.0, 6.0)
    assert line["dips_percent"] == pytest.approx(100 * 5 / 115)
    assert result.notes == ["run-s0: steps 71 to 80, 8.0 times the median, stem; kNN falls."]
    kinds = [p["kind"] for p in result.points]
    assert [kinds.count(k) for k in ("mean", "maximum", "knn", "spike", "dip")] == [
        12,
        12,
        24,
        1,
        1,
    ]


def test_a_trained_run_has_its_layers(trained):
    result = analyze_stability(trained)
    layers = dict.fromkeys(p["layer"] for p in result.points if p["kind"] == "maximum")
    assert list(layers) == ["stem", "stage1", "stage2", "projector"]
    (line,) = result.summary
    assert line["windows"] == 12 and line["knn_points"] == 0
    assert math.isnan(line["knn_dips"])


def test_a_run_without_gradients_is_refused_in_a_sentence(vit):
    with pytest.raises(UserError, match="no gradients in its log"):
        analyze_stability(vit.folder)


def test_damaged_points_of_the_log_are_left_out_and_counted(tmp_path: Path):
    folder = RunFolder(tmp_path / "run-s0")
    folder.path.mkdir()
    whole = {MEAN + "stem": 1.0, MAXIMUM + "stem": 1.0}
    lines = [json.dumps({"step": i, "loss": 1.0, **whole}) for i in range(1, 5)]
    lines += [json.dumps({"step": 5, "loss": 1.0, MAXIMUM + "stem": 1.0}), '{"step": 6, "lo']
    folder.metrics_path.write_text("\n".join(lines))
    result = analyze_stability(folder)
    assert result.summary[0]["windows"] == 4
    assert result.notes == ["run-s0: 2 points of the log are damaged and left out."]
