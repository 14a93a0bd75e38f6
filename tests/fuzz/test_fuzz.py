"""A small part of the fuzz of our own files: `python -m tests.fuzz.fuzz` does thousands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.fuzz import KINDS, fuzz, make_store


def test_a_damaged_file_of_ours_is_read_or_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cases = sum(len(kind.mutations) for kind in KINDS.values())  # each mutation of each kind
    tally = fuzz(make_store(tmp_path), cases=cases, seed=0)
    assert not tally.tracebacks, "\n".join(tally.tracebacks)
    assert sum(tally.counts.values()) == cases
