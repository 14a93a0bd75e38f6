"""Standard streams that end nothing: closed, full, ASCII only, or not there."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sslbench.engine.console import SteadyStream, steady_streams


def start(code: str, **streams) -> subprocess.CompletedProcess[str]:
    """Run code with `steady_streams` imported, in a process of its own."""
    line = "import os, sys\nfrom sslbench.engine.console import steady_streams\n"
    command = [sys.executable, "-c", line + code]
    return subprocess.run(command, text=True, check=False, timeout=60, **streams)


def test_what_a_closed_pipe_refuses_is_dropped_and_remembered():
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        steady = SteadyStream(stream)
        for _ in range(2):
            assert steady.write("a line\n") == 7
            steady.flush()
        os.write(writer, b"and what a library writes there goes nowhere")
    assert isinstance(steady.error, BrokenPipeError)


def test_a_full_disk_is_remembered():
    with Path("/dev/full").open("w") as stream:
        steady = SteadyStream(stream)
        steady.write("a line\n")
        steady.flush()
    assert steady.error is not None and "No space left" in str(steady.error)


def test_a_letter_that_the_encoding_lacks_is_written_as_its_number():
    bytes_ = io.BytesIO()
    steady = SteadyStream(io.TextIOWrapper(bytes_, encoding="ascii"))
    steady.write("5 ± 1")
    steady.flush()
    assert (bytes_.getvalue(), steady.error) == (b"5 \\xb1 1", None)


def test_the_streams_are_put_back(capsys):
    old = sys.stdout, sys.stderr
    with steady_streams() as out:
        assert sys.stdout is out
        sys.stdout.write("hello\n")
    assert (sys.stdout, sys.stderr) == old
    assert capsys.readouterr().out == "hello\n"


@pytest.mark.parametrize("closed", [1, 2])
def test_what_is_meant_for_a_closed_stream_goes_nowhere_else(closed, tmp_path):
    code = (
        "with steady_streams() as out:\n"
        "    print('to out'); print('to err', file=sys.stderr)\n"
        "    file = open('next', 'w'); assert file.fileno() > 2\n"
    )
    done = start(code, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path,
                 env={**os.environ, "PYTHONPATH": str(Path.cwd())},
                 preexec_fn=lambda: os.close(closed))  # fmt: skip
    assert done.returncode == 0
    assert done.stdout == ("" if closed == 1 else "to out\n")
    assert done.stderr == ("" if closed == 2 else "to err\n")
