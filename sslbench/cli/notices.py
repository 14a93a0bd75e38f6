"""Warnings about data, as the command line shows them."""

from __future__ import annotations

import sys
import warnings
from typing import TextIO

from sslbench.errors import DataWarning


def show_data_warnings() -> None:
    """From here on every warning about data is one line on stderr, however often it is raised."""
    usual, said = warnings.showwarning, set[str]()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if not issubclass(category, DataWarning):
            usual(message, category, filename, lineno, file, line)
        elif str(message) not in said:
            said.add(str(message))
            print(f"sslbench: {message}", file=sys.stderr)

    warnings.showwarning = show
