"""The log: whole lines whatever happened to the last one, and a sentence for a full disk."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sslbench.engine.folder import RunFolder
from sslbench.engine.log import MetricsLog
from sslbench.errors import UserError


def log(path: Path, *steps: int, tensorboard: bool = False) -> RunFolder:
    folder = RunFolder(path)
    with MetricsLog(folder, tensorboard=tensorboard) as file:
        for step in steps:
            file.write({"step": step, "epoch": step / 6, "loss": 0.5})
    return folder


@pytest.mark.parametrize(
    "last", [b'{"step": 2, "lo', b"\xff\x00", b"7", b'{"step": 2, "loss": 2.0}']
)
def test_a_torn_last_line_does_not_swallow_the_next_point(tmp_path, last):
    path = RunFolder(tmp_path).metrics_path
    path.write_bytes(b'{"step": 1, "loss": 3.0}\n' + last)
    points = log(tmp_path, 3).metrics()
    whole = last.endswith(b"}")
    assert [p["step"] for p in points] == ([1, 2, 3] if whole else [1, 3])
    assert len(path.read_bytes().splitlines()) == len(points)


def test_tensorboard_reads_the_events(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log(tmp_path, 1, 2, tensorboard=True)
    log(tmp_path, 3, tensorboard=True)  # resumed
    steps = []
    for file in sorted((tmp_path / "tensorboard").iterdir()):
        events = EventAccumulator(str(file)).Reload()
        assert events.Tags()["scalars"] == ["loss"]
        steps += [(e.step, e.value) for e in events.Scalars("loss")]
    assert steps == [(1, 0.5), (2, 0.5), (3, 0.5)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize("tensorboard", [False, True])
@pytest.mark.parametrize("room", [0, 4096])
def test_a_full_disk_is_one_sentence_and_the_log_goes_on_afterwards(small_disk, tensorboard, room):
    log(small_disk, 1, tensorboard=tensorboard)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file:
        left = os.statvfs(small_disk)
        file.write(bytes(left.f_bavail * left.f_frsize - room))
    with pytest.raises(UserError, match="the disk is full; free some space"):
        log(small_disk, *range(2, 2000), tensorboard=tensorboard)
    filler.unlink()
    assert [p["step"] for p in log(small_disk, 5000).metrics()][-1] == 5000


def test_an_error_of_the_training_is_not_hidden_by_a_log_that_cannot_close(small_disk):
    def fail(log: MetricsLog) -> None:
        with log:
            with (small_disk / "filler").open("wb", buffering=0) as filler:
                filler.write(bytes(100_000))
            log._file.write("x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail(MetricsLog(RunFolder(small_disk), tensorboard=False))


def test_a_folder_on_a_full_disk_can_be_held(small_disk):
    with RunFolder(small_disk).lock():
        pass
    with (small_disk / "filler").open("wb", buffering=0) as filler:
        filler.write(bytes(100_000))
    with RunFolder(small_disk).lock():
        pass
