"""The run folder: whole files, a log that survives a kill, and sentences for what goes wrong."""

from __future__ import annotations

import errno
import math
import os
import signal
import time

import pytest

from sslbench.engine.folder import NUMERICS, RunFolder, run_digest
from sslbench.errors import InUse, UserError
from tests.tiny import summary, tiny


def test_an_experiment_is_read_back_with_its_provenance(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.write_experiment(tiny("byol"), {"epochs": "--set"})
    again = RunFolder.open(folder.path)
    assert again.experiment() == tiny("byol")
    assert again.provenance() == {"epochs": "--set"}


def test_another_folder_is_not_taken_for_a_run(tmp_path):
    with pytest.raises(UserError, match="not a run folder"):
        RunFolder.open(tmp_path)
    (tmp_path / "experiment.yaml").write_text("just text")
    with pytest.raises(UserError, match="damaged"):
        RunFolder.open(tmp_path).experiment()


def test_the_status_follows_the_summary(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.status() == "absent"
    folder.write_experiment(tiny("byol"), {})
    assert folder.status() == "started"
    folder.write_summary(summary())
    assert folder.status() == "finished"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"status": "fini', "no JSON at line 1"),
        ("[1]", "needs a mapping, got \\[1\\]"),
        ('{"status": "done"}', "status: 'done' is not one of"),
        ('{"status": "finished"}', "'recipe' is missing"),
        ('{"final": {"loss": "low"}}', "final.loss: needs a number, got 'low'"),
        ('{"verdict": {}}', "verdict: 'cause' is missing"),
        ('{"mean": [0.5]}', "mean: needs 3 values, got 1"),
        ("\x80", "not text in UTF-8"),
    ],
)
def test_a_damaged_summary_is_named_and_its_run_not_trained_over(tmp_path, text, words):
    folder = RunFolder(tmp_path)
    folder.write_experiment(tiny("byol"), {})
    folder.summary_path.write_bytes(text.encode("latin1"))
    with pytest.raises(UserError, match=words) as caught:
        folder.status()
    assert "run.json" in str(caught.value)


def test_a_diverged_runs_numbers_need_not_be_finite(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_summary(summary(status="failed", final={"loss": math.nan}))
    assert math.isnan(folder.summary()["final"]["loss"])


def test_a_summary_of_another_run_is_refused(tmp_path):
    folder = RunFolder(tmp_path / "byol-s0-0123456789abcdef")
    folder.write_summary(summary(digest="0123456789abcdee"))
    with pytest.raises(UserError, match="of another run"):
        folder.summary()


def test_an_experiment_edited_by_hand_is_noticed(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.write_experiment(tiny("byol"), {})
    folder.write_summary(summary(digest=run_digest(tiny("byol"), "f")))
    assert folder.experiment() == tiny("byol")
    text = folder.experiment_path.read_text()
    folder.experiment_path.write_text(text.replace("epochs: 2", "epochs: 3"))
    with pytest.raises(UserError, match=r"is not what this run trained .* it was edited"):
        folder.experiment()


def test_a_run_of_older_numerics_is_not_taken_for_edited(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.write_experiment(tiny("byol"), {})
    digest = run_digest(tiny("byol"), "f", numerics=NUMERICS - 1)
    folder.write_summary(summary(digest=digest, numerics=NUMERICS - 1))
    assert folder.experiment() == tiny("byol")


def test_an_imported_encoders_experiment_is_rechecked_by_its_own_digest(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.write_experiment(tiny("byol"), {})
    changes = {"scale": "external", "digest": "of file and recipe"}
    folder.write_summary(summary(**changes, experiment=tiny("byol").digest()))
    assert folder.experiment() == tiny("byol")
    folder.write_summary(summary(**changes, experiment=tiny("byol", seed=1).digest()))
    with pytest.raises(UserError, match="not what this run trained"):
        folder.experiment()


def test_of_a_repeated_step_the_later_line_counts_and_a_torn_line_does_not(tmp_path):
    folder = RunFolder(tmp_path)
    folder.metrics_path.write_text(
        '{"step": 1, "loss": 3}\n{"step": 2, "loss": 2}\n{"step": 2, "loss": 1}\n{"step": 3, "lo'
    )
    assert folder.metrics() == [{"step": 1, "loss": 3}, {"step": 2, "loss": 1}]


def test_lines_of_the_log_that_cannot_be_read_are_counted(tmp_path):
    folder = RunFolder(tmp_path)
    lines = [b'{"step": 2, "loss": NaN}', b'{"step": 1, "loss": "x"}', b'{"loss": 1}', b"[1]",
             b'{"step": -1}', b'{"step": true}', b"\xff", b'{"step": 1}']  # fmt: skip
    folder.metrics_path.write_bytes(b"\n".join(lines))
    assert [p["step"] for p in folder.log().points] == [1, 2]
    assert folder.log().unread == 6


def test_a_full_disk_takes_no_lock_away(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sslbench.engine.lock.os.write", full)
    folder = RunFolder(tmp_path)
    with folder.lock(), pytest.raises(InUse, match="in use by another process"), folder.lock():
        pass


def test_the_lock_goes_with_its_holder(tmp_path):
    folder = RunFolder(tmp_path / "run")
    with folder.lock(), pytest.raises(UserError, match="in use"), folder.lock():
        pass
    with folder.lock():
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_a_forked_process_does_not_hold_the_lock(tmp_path):
    folder = RunFolder(tmp_path / "run")
    reading, writing = os.pipe()
    with folder.lock():
        child = os.fork()
        if child == 0:
            os.write(writing, b"x")
            time.sleep(60)
            os._exit(0)
        os.read(reading, 1)  # until it runs
    try:
        with folder.lock():
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_the_digest_follows_recipe_data_seed_and_numerics(monkeypatch):
    base = run_digest(tiny("byol"), "data")
    assert run_digest(tiny("byol"), "data") == base
    assert run_digest(tiny("byol", seed=1), "data") != base
    assert run_digest(tiny("byol"), "other") != base
    monkeypatch.setattr("sslbench.engine.folder.NUMERICS", 99)
    assert run_digest(tiny("byol"), "data") != base
