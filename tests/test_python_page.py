"""The page about the Python interface does what it says: its code runs from top to bottom."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_architecture import REPOSITORY

PAGE = REPOSITORY / "docs" / "python.md"


@pytest.mark.slow
def test_the_worked_example_runs_in_an_empty_folder(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), flags=re.M | re.S)
    assert len(blocks) > 5
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(blocks)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr
    assert (tmp_path / "encoder.safetensors").is_file()
    assert list((tmp_path / "results").rglob("byol-target.json"))
