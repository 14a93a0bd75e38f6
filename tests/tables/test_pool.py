from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sslbench.engine.folder import RunFolder
from sslbench.errors import Interrupted
from sslbench.tables.jobs import Job, JobResult, Scoring, Tell
from sslbench.tables.pool import run_jobs
from sslbench.tables.worker import attempt_text
from tests.tables.fakes import use
from tests.tiny import tiny

SCORINGS = (Scoring(protocol="knn.v1"),)


def job(folder: Path, name: str) -> Job:
    options = {"device": "cpu", "precision": "fp32", "compile": "off"}
    return Job(name, tiny("byol"), {}, SCORINGS, str(folder), str(folder), options)


def script(monkeypatch: pytest.MonkeyPatch, folder: Path, body: str) -> None:
    """A worker whose answer to each job is this code (with `name`, `folder`, `say`)."""
    code = f"""
    import json, os, pathlib, sys
    folder = pathlib.Path({str(folder)!r})
    def say(kind, **more):
        print(json.dumps({{"kind": kind, "name": name, **more}}), flush=True)
    for line in sys.stdin:
        name = json.loads(line)["name"]
    """
    text = textwrap.dedent(code) + textwrap.indent(textwrap.dedent(body).strip(), "    ")
    command = (sys.executable, "-c", text)
    monkeypatch.setattr("sslbench.tables.pool.COMMAND", command)


def do(folder: Path, names: str) -> list[JobResult]:
    results: list[JobResult] = []
    jobs = [job(folder, name) for name in names]
    run_jobs(jobs, jobs=2, threads=1, tell=results.append)
    return results


def test_a_job_survives_the_way_to_a_worker(tmp_path: Path) -> None:
    sent = job(tmp_path, "a")
    assert Job.from_json(sent.to_json()) == sent


def test_a_job_whose_plugin_has_changed_since_fails_with_a_sentence(
    plugin_file: Callable[..., Path], tmp_path: Path
) -> None:
    carried = {str(plugin_file("")): "0" * 16}
    told: list[JobResult] = []
    assert attempt_text(replace(job(tmp_path, "a"), plugins=carried).to_json(), told.append)
    assert [(result.kind, result.name) for result in told] == [("failed", "a")]
    assert "mine.py has changed since this command began; run it again" in told[0].error


def test_every_job_is_done_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, tmp_path, 'print("noise of a library", flush=True); say("done")')
    assert sorted(r.name for r in do(tmp_path, "abcde") if r.kind == "done") == list("abcde")


def test_a_dead_worker_loses_no_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = """
    mark = folder / name
    if name == "b" and not mark.exists():
        mark.touch()
        os._exit(9)
    say("done")
    """
    script(monkeypatch, tmp_path, body)
    assert sorted(r.name for r in do(tmp_path, "abc") if r.kind == "done") == list("abc")


def test_a_job_that_kills_two_workers_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, tmp_path, 'os._exit(9) if name == "b" else say("done")')
    results = {r.name: r for r in do(tmp_path, "abc")}
    assert {name: r.kind for name, r in results.items()} == {
        "a": "done",
        "b": "failed",
        "c": "done",
    }
    assert "died twice (exit code 9" in results["b"].error
    assert "died twice" in (tmp_path / "b" / "error.txt").read_text()


def test_a_worker_stopped_by_a_signal_stops_the_grid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, tmp_path, "os._exit(130)")
    with pytest.raises(Interrupted, match="same command again"):
        do(tmp_path, "abc")


def test_threads_are_divided_among_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, tmp_path, 'say("done", error=os.environ["OMP_NUM_THREADS"])')
    assert {r.error for r in do(tmp_path, "ab")} == {"1"}


def test_a_run_that_another_process_has_is_put_off_and_taken_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sslbench.tables.pool.PAUSE", 0.0)
    body = """
    mark = folder / name
    if name == "a" and not mark.exists():
        mark.touch()
        say("waiting", error="process 7 has it")
    else:
        say("done")
    """
    script(monkeypatch, tmp_path, body)
    results = do(tmp_path, "abcd")
    assert sorted(r.name for r in results if r.kind == "done") == list("abcd")
    assert [r.name for r in results if r.kind == "waiting"] == ["a"]


def test_one_process_too_does_the_other_runs_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sslbench.tables.pool.PAUSE", 0.0)
    held = ["a", "a"]

    def execute(job: Job, tell: Tell) -> None:
        if job.name in held:
            held.remove(job.name)
            with RunFolder(job.path).lock(), RunFolder(job.path).lock():
                pass

    use(monkeypatch, execute)
    results: list[JobResult] = []
    run_jobs([job(tmp_path, n) for n in "abc"], jobs=1, threads=None, tell=results.append)
    assert [r.name for r in results if r.kind != "start"] == ["a", "b", "c", "a", "a"]
    (said, _) = [r.error for r in results if r.kind == "waiting"]
    assert said == f"process {os.getpid()} has it; its result is taken when it is there"


def test_an_error_file_that_cannot_be_written_costs_no_grid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_text("a file where the run folder would be")

    def execute(job: Job, tell: Tell) -> None:
        if job.name == "a":
            raise OSError(errno.ENOSPC, "No space left on device", "a/metrics.jsonl")

    use(monkeypatch, execute)
    results: list[JobResult] = []
    run_jobs([job(tmp_path, n) for n in "ab"], jobs=1, threads=None, tell=results.append)
    ends = [(r.name, r.kind, r.error) for r in results if r.kind != "start"]
    assert ends == [
        ("a", "failed", "a/metrics.jsonl: No space left on device; what was finished is kept."),
        ("b", "done", ""),
    ]


def test_a_fault_of_whoever_watches_stops_the_grid_and_is_not_swallowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, tmp_path, 'say("done")')

    def fail(result: JobResult) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_jobs([job(tmp_path, n) for n in "abc"], jobs=2, threads=1, tell=fail)


@pytest.mark.slow
def test_a_real_worker_trains_and_scores(tmp_path: Path) -> None:
    sent = job(tmp_path, "unused")
    worker = subprocess.run(
        [sys.executable, "-m", "sslbench.tables.worker", "1"],
        input=sent.to_json() + "\n",
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    kinds = [json.loads(line)["kind"] for line in worker.stdout.splitlines()]
    assert worker.returncode == 0, worker.stderr
    assert kinds[0] == "start" and "progress" in kinds and kinds[-1] == "done", worker.stderr
    assert list(tmp_path.glob("byol-*/scores/shapes.knn.v1.json"))
