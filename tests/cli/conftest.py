"""Shared by the tests of the command line."""

from __future__ import annotations

import sys

import pytest

from sslbench.cli import main


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Call the command line in a folder of its own: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sslbench", *words])
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
