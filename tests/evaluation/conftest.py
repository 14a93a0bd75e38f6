"""Small finished runs, shared by the tests of a module."""

from __future__ import annotations

from pathlib import Path

import pytest

from sslbench.engine.folder import RunFolder
from sslbench.engine.pretrain import pretrain
from tests.tiny import tiny


def finished(recipe: str, folder: Path, *, seed: int = 0) -> RunFolder:
    """A run of a recipe that trains nothing, at its tiny scale."""
    return pretrain(tiny(recipe, seed=seed), provenance={}, runs=folder / "runs", root=folder)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """An untrained encoder on 96 training and 32 test images of 16 pixels."""
    return finished("untrained", tmp_path)
