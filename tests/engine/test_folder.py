"""The run folder: whole files, a log that survives a kill, and sentences for what goes wrong."""

from __future__ import annotations

import pytest

from sslbench.engine.folder import RunFolder, run_digest
from sslbench.errors import UserError
from tests.tiny import tiny


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


def test_the_status_follows_the_summary_and_survives_a_torn_one(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.status() == "absent"
    folder.write_experiment(tiny("byol"), {})
    assert folder.status() == "started"
    folder.write_summary({"status": "finished"})
    assert folder.status() == "finished"
    folder.summary_path.write_text('{"status": "fini')
    assert folder.status() == "started"


def test_of_a_repeated_step_the_later_line_counts_and_a_torn_line_does_not(tmp_path):
    folder = RunFolder(tmp_path)
    folder.metrics_path.write_text(
        '{"step": 1, "loss": 3}\n{"step": 2, "loss": 2}\n{"step": 2, "loss": 1}\n{"step": 3, "lo'
    )
    assert folder.metrics() == [{"step": 1, "loss": 3}, {"step": 2, "loss": 1}]


def test_the_lock_goes_with_its_holder(tmp_path):
    folder = RunFolder(tmp_path / "run")
    with folder.lock(), pytest.raises(UserError, match="in use"), folder.lock():
        pass
    with folder.lock():
        pass


def test_the_digest_follows_recipe_data_seed_and_numerics(monkeypatch):
    base = run_digest(tiny("byol"), "data")
    assert run_digest(tiny("byol"), "data") == base
    assert run_digest(tiny("byol", seed=1), "data") != base
    assert run_digest(tiny("byol"), "other") != base
    monkeypatch.setattr("sslbench.engine.folder.NUMERICS", 99)
    assert run_digest(tiny("byol"), "data") != base
