"""Grids on a real cluster of two nodes; skipped where the `ray` extra is not installed."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sslbench.engine.folder import RunFolder
from sslbench.engine.place import run_folder
from sslbench.errors import UserError
from sslbench.tables import ray_backend
from sslbench.tables.jobs import Job, JobResult, Scoring
from sslbench.tables.ray_backend import run_on_ray
from tests.tiny import tiny

SCORINGS = (Scoring(protocol="knn.v1"),)
OPTIONS = {"device": "cpu", "precision": "fp32", "compile": "off", "checkpoint_seconds": 0.0}

ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A cluster with a head that computes nothing and two nodes of one core each."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    cluster.add_node(num_cpus=1)
    cluster.add_node(num_cpus=1)
    os.environ["RAY_ADDRESS"] = cluster.address
    yield cluster
    ray.shutdown()
    cluster.shutdown()
    del os.environ["RAY_ADDRESS"]


def job(folder: Path, **changes: Any) -> Job:
    experiment = tiny("simsiam", **changes)
    name = run_folder(experiment, runs=folder, root=folder).path.name
    return Job(name, experiment, {}, SCORINGS, str(folder), str(folder), OPTIONS)


@contextlib.contextmanager
def killed(pick: Callable[[], int], when: Callable[[], bool]) -> Iterator[None]:
    """A process ends without warning within the block, once something is so."""
    ended, over = threading.Event(), threading.Event()

    def watch() -> None:
        while not over.wait(0.005):
            with contextlib.suppress(OSError, ValueError):  # not there yet
                if when():
                    os.kill(pick(), signal.SIGKILL)
                    ended.set()
                    return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert ended.is_set()


def test_finished_and_failed_runs_are_told_apart(nodes: Any, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    good, bad = job(Path("runs")), job(Path("runs"), batch_size=97)
    told: list[JobResult] = []
    run_on_ray([good, bad], told.append, threads=1, gpus=0)
    by_name = {result.name: result for result in told}
    assert by_name[good.name].kind == "done"
    assert by_name[bad.name].kind == "failed"
    assert "97" in by_name[bad.name].error
    assert [r.kind for r in told if r.name == good.name][:2] == ["start", "progress"]
    # A relative folder is this process's, wherever the nodes were started.
    assert any((tmp_path / "runs" / good.name).rglob("*knn*"))


def test_a_run_whose_worker_is_killed_goes_on_from_its_checkpoint(
    nodes: Any, tmp_path: Path
) -> None:
    plain, broken = (job(tmp_path / name, epochs=20) for name in ("plain", "broken"))
    run_on_ray([plain], lambda result: None, threads=1, gpus=0)
    whole, folder = RunFolder(plain.path), RunFolder(broken.path)
    lock = folder.path / ".lock"
    told: list[JobResult] = []
    with killed(lambda: int(lock.read_text()), lambda: len(folder.metrics()) > 5):
        run_on_ray([broken], told.append, threads=1, gpus=0)
    steps = [result.step for result in told if result.kind == "progress"]
    starts = [i for i, result in enumerate(told) if result.kind == "start"]
    assert len(starts) == 2 and told[-1].kind == "done"
    again = [result.step for result in told[starts[1] :] if result.kind == "progress"]
    assert again[0] > min(steps)  # not from the first step
    assert [m["loss"] for m in folder.metrics()] == [m["loss"] for m in whole.metrics()]
    assert folder.encoder_path.read_bytes() == whole.encoder_path.read_bytes()


def test_a_node_that_is_gone_costs_no_run(nodes: Any, tmp_path: Path) -> None:
    third = nodes.add_node(num_cpus=1)
    pid = third.all_processes["raylet"][0].process.pid
    jobs = [job(tmp_path, seed=seed, epochs=60) for seed in range(3)]
    begun = [RunFolder(j.path) for j in jobs]
    told: list[JobResult] = []
    with killed(lambda: pid, lambda: sum(len(f.metrics()) > 2 for f in begun) == 3):
        run_on_ray(jobs, told.append, threads=1, gpus=0)
    assert sorted(r.name for r in told if r.kind == "done") == sorted(j.name for j in jobs)
    assert not any(result.kind == "failed" for result in told)
    assert sum(result.kind == "start" for result in told) == 4


def test_what_no_node_has_is_refused_at_once(nodes: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="asks for --threads 64, which no node"):
        run_on_ray([job(tmp_path)], print, threads=64, gpus=0)
    with pytest.raises(UserError, match="--threads 1 and GPUs: 1, which no node"):
        run_on_ray([job(tmp_path)], print, threads=1, gpus=1)


def test_where_no_cluster_answers_it_is_said_soon(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(UserError, match="No Ray cluster answers at RAY_ADDRESS"):
        run_on_ray([job(tmp_path)], print, threads=1, gpus=0)


def test_a_node_with_another_version_is_named(nodes: Any, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(ray_backend, "versions", lambda: {"torch": "1.0"})
    told: list[JobResult] = []
    run_on_ray([job(tmp_path)], told.append, threads=1, gpus=0)
    assert told[-1].kind == "failed" and "for 1.0; install the same" in told[-1].error
