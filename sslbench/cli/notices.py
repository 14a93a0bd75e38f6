"""Warnings about data, as the command line shows them."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

from sslbench.errors import DataWarning


class _OneLineEach:
    """Shows a warning about data once and as a line, and others as they were shown before."""

    def __init__(self, usual: Callable[..., None]) -> None:
        self.usual = usual
        self._said: set[str] = set()

    def __call__(
        self, message: Warning | str, category: type[Warning], *where: Any, **more: Any
    ) -> None:
        if not issubclass(category, DataWarning):
            self.usual(message, category, *where, **more)
        elif str(message) not in self._said:
            self._said.add(str(message))
            print(f"sslbench: {message}", file=sys.stderr)


def show_data_warnings() -> None:
    """From here on every warning about data is one line on stderr, however often it is raised, and
    however often this is called."""
    now = warnings.showwarning
    usual = now.usual if isinstance(now, _OneLineEach) else now
    warnings.showwarning = _OneLineEach(usual)
