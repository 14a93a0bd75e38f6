"""The command line as a process: outputs that fail, errors of the machine, signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SSLBENCH = [sys.executable, "-m", "sslbench"]
QUICK = ["pretrain", "simclr", "--scale", "smoke", "--set", "data.num_train=160", "--set",
         "data.num_test=60", "--set", "data.resolution=16", "--no-tensorboard"]  # fmt: skip


@pytest.fixture
def environment(tmp_path):
    return {**os.environ, "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1",
            "SSLBENCH_RUNS": str(tmp_path / "runs")}  # fmt: skip


def test_a_closed_output_does_not_end_a_training(environment, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*SSLBENCH, *QUICK, "--set", "epochs=1"], stdout=writer, stderr=writer,
                          env=environment, cwd=tmp_path, check=False, timeout=100)  # fmt: skip
    os.close(writer)
    assert done.returncode == 0
    (summary,) = tmp_path.glob("runs/*/run.json")
    assert '"status": "finished"' in summary.read_text()


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_full_output_is_one_sentence(more, environment):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*SSLBENCH, "list", *more], stdout=full, stderr=subprocess.PIPE,
                              text=True, env=environment, check=False, timeout=60)  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "sslbench: The output could not be written: No space left on device.\n"


def test_an_output_of_ascii_has_all_lines(environment):
    done = subprocess.run([*SSLBENCH, "list", "tables"], capture_output=True, text=True,
                          env={**environment, "PYTHONIOENCODING": "ascii"}, check=False,
                          timeout=60)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "byol-target" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_modules_are_imported_is_one_sentence(number, environment, tmp_path):
    process = subprocess.Popen([*SSLBENCH, *QUICK], stderr=subprocess.PIPE, text=True,
                               stdout=subprocess.PIPE, env=environment, cwd=tmp_path)  # fmt: skip
    while f"{os.sep}libtorch" not in Path(f"/proc/{process.pid}/maps").read_text():
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err == "sslbench: stopped; what was finished is kept.\n"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MemoryError(), 2, "Memory ran out"),
        (OSError(5, "Input/output error", "x"), 2, "x: Input/output error"),
        (RecursionError(), 2, "nested too deeply"),
        (OverflowError("too large"), 2, "A number is too large"),
    ],
)
def test_what_the_machine_refuses_is_one_sentence(run, monkeypatch, error, code, said):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("sslbench.cli.list.find_rows", fail)
    found, _, err = run("list")
    assert found == code
    assert said in err and len(err.splitlines()) == 1
    monkeypatch.setenv("SSLBENCH_TRACEBACK", "1")
    with pytest.raises(type(error)):
        run("list")


def test_a_fault_of_the_program_keeps_its_traceback(run, monkeypatch):
    def fail(*_, **__):
        raise KeyError("ours")

    monkeypatch.setattr("sslbench.cli.list.find_rows", fail)
    with pytest.raises(KeyError, match="ours"):
        run("list")
