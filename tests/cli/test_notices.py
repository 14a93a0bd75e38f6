from __future__ import annotations

import warnings

import pytest

from sslbench.cli.notices import show_data_warnings
from sslbench.errors import DataWarning


def test_a_warning_about_data_is_one_line_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    others: list[str] = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *_: others.append(str(message)))
    show_data_warnings()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        for _ in range(3):
            warnings.warn("Half of it is missing.", DataWarning, stacklevel=1)
        warnings.warn("not ours", UserWarning, stacklevel=1)
    assert capsys.readouterr().err == "sslbench: Half of it is missing.\n"
    assert others == ["not ours"]


def test_asking_again_wraps_nothing_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    others: list[str] = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *_: others.append(str(message)))
    for _ in range(2000):  # as many calls inside each other would be too many
        show_data_warnings()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("Half of it is missing.", DataWarning, stacklevel=1)
        warnings.warn("not ours", UserWarning, stacklevel=1)
    assert capsys.readouterr().err == "sslbench: Half of it is missing.\n"
    assert others == ["not ours"]
