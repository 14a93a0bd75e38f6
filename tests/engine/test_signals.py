"""Signals, in processes of their own: one sentence, exit code 130."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from sslbench.engine.signals import StopRequest, stop_on_signals

BEGIN = "import os, signal, sys, time\nfrom sslbench.engine.signals import *\n"


def start(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", BEGIN + code], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_outside_training_a_signal_ends_the_process_with_its_sentence(number):
    code = "with exit_on_signals('stopped.\\n'):\n    print('on', flush=True); time.sleep(60)"
    process = start(code)
    assert process.stdout is not None and process.stdout.readline()
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, "", "stopped.\n")


def test_no_code_that_swallows_exceptions_swallows_a_signal():
    code = (
        "with exit_on_signals('stopped.\\n'):\n"
        "    try: os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)\n"
        "    except BaseException: pass\n"
        "    print('goes on')\n"
    )
    out, err = start(code).communicate(timeout=20)
    assert (out, err) == ("", "stopped.\n")


def test_a_signal_that_was_held_back_arrives_once_there_is_an_answer():
    code = (
        "block_signals(); os.kill(os.getpid(), signal.SIGTERM)\n"
        "with exit_on_signals('stopped.\\n'): time.sleep(60)\n"
    )
    process = start(code)
    assert process.communicate(timeout=20)[1] == "stopped.\n"
    assert process.returncode == 130


def test_within_training_a_signal_is_a_request():
    with stop_on_signals() as stop:
        assert not stop
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)  # at once, as `timeout` and a terminal do
        assert stop.signal is signal.SIGTERM


def test_a_later_Ctrl_C_is_a_user_who_insists(monkeypatch):
    monkeypatch.setattr("sslbench.engine.signals.AGAIN_SECONDS", 0.01)
    with stop_on_signals():
        signal.raise_signal(signal.SIGINT)
        time.sleep(0.02)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_the_first_signal_is_the_one_that_is_named():
    request = StopRequest()
    request.set(signal.SIGHUP)
    request.set(signal.SIGTERM)
    assert request.signal is signal.SIGHUP
