"""Absurd sizes are refused in a sentence, before anything is allocated."""

from __future__ import annotations

from pathlib import Path

import pytest

from sslbench import memory
from sslbench.errors import UserError
from sslbench.memory import available_memory, require_memory


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 8 GB free and no control group."""
    (tmp_path / "meminfo").write_text("MemTotal: 9000000 kB\nMemAvailable: 8000000 kB\n")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    return tmp_path


def group(system: Path, limit: str) -> None:
    (system / "memory.max").write_text(limit)
    (system / "memory.current").write_text("3000000000\n")
    (system / "memory.stat").write_text("anon 1\ninactive_file 2000000000\n")


def test_what_the_machine_has(system: Path) -> None:
    assert available_memory() == 8_192_000_000
    group(system, "max\n")
    assert available_memory() == 8_192_000_000


def test_a_containers_limit_counts_and_its_file_cache_is_free(system: Path) -> None:
    group(system, "4000000000\n")
    assert available_memory() == 3_000_000_000


def test_the_sentence_has_the_need_the_rest_and_the_remedy(system: Path) -> None:
    require_memory(8_000_000_000, what="Fits", remedy="nothing to do")
    with pytest.raises(UserError, match=r"^Ten images: about 41 TB of memory needed, 8\.2 GB free; "
                                        r"take fewer\.$"):  # fmt: skip
        require_memory(41 * 10**12, what="Ten images", remedy="take fewer")


def test_where_the_system_does_not_tell_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_of_machine", lambda: None)
    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    assert available_memory() is None
    require_memory(10**30, what="x", remedy="y")
