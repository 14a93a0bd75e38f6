"""Where a number comes from: device, threads, versions and commit."""

from __future__ import annotations

import functools
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import sslbench
from sslbench.engine.hardware import describe_device, device_class


def environment(device: torch.device, precision: torch.dtype | None) -> dict[str, Any]:
    """The company that every number keeps, as plain data."""
    return {
        "device": describe_device(device),
        "device_class": device_class(device),
        "precision": "fp32" if precision is None else str(precision).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "torchvision": version("torchvision"),
        "timm": version("timm"),
        "sslbench": sslbench.__version__,
        "commit": commit(),
    }


@functools.cache
def commit() -> str | None:
    """The checkout's commit, with "+" when tracked files were changed; None outside a checkout."""
    here = Path(sslbench.__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(here), *words], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", str(here))
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None
