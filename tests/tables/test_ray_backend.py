"""A grid on a real local cluster; skipped where the `ray` extra is not installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from sslbench.tables.jobs import Job, JobResult, Scoring
from sslbench.tables.ray_backend import run_on_ray
from tests.tiny import tiny

SCORINGS = (Scoring(protocol="knn.v1"),)

ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def cluster(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def test_finished_and_failed_runs_are_told_apart(cluster, tmp_path: Path) -> None:
    options = {"device": "cpu", "precision": "fp32", "compile": "off"}
    runs = {"good": tiny("simsiam"), "bad": tiny("simsiam", batch_size=97)}
    jobs = [
        Job(
            name,
            run,
            {},
            (Scoring(protocol="knn.v1"),),
            str(tmp_path / name),
            str(tmp_path),
            options,
        )
        for name, run in runs.items()
    ]
    told: list[JobResult] = []
    run_on_ray(jobs, told.append, threads=1, gpus=0)
    by_name = {result.name: result for result in told}
    assert by_name["good"].kind == "done"
    assert by_name["bad"].kind == "failed"
    assert "97" in by_name["bad"].error
    assert any((tmp_path / "good").rglob("*knn*"))
