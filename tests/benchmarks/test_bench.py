"""The benchmarks' arithmetic: ratios, best peer, CPU seconds; nothing here is timed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def rounds(*walls: float) -> list[dict[str, float]]:
    return [{"wall": wall, "cpu": 2 * wall, "count": 100} for wall in walls]


def test_a_shorter_round_is_a_higher_rate_and_a_ratio_above_one() -> None:
    from bench import Measure

    for unit in ("views", "s"):
        ours = Measure("c", "ours", unit, rounds=rounds(1, 2, 4))
        theirs = Measure("c", "theirs", unit, rounds=rounds(3, 6, 12))
        assert ours.times(theirs) == pytest.approx(3.0)
        assert theirs.times(ours) == pytest.approx(1 / 3)


def test_a_ratio_compares_neighbouring_rounds_so_that_a_busy_minute_cancels() -> None:
    from bench import Measure

    ours = Measure("c", "ours", "views", rounds=rounds(1, 10, 1))  # the second minute was busy
    theirs = Measure("c", "theirs", "views", rounds=rounds(2, 20, 2))
    assert ours.times(theirs) == pytest.approx(2.0)


def test_rows_compare_with_the_peer_as_shipped_and_at_its_best_setting() -> None:
    from bench import HEADINGS, Measure, rows

    measures = [
        Measure("c", "lightly", "views", peer=True, baseline=True, rounds=rounds(4)),
        Measure("c", "lightly, bf16", "views", peer=True, rounds=rounds(2)),
        Measure("c", "ours", "views", rounds=rounds(1)),
        Measure("another case", "ours", "views", rounds=rounds(1)),
    ]
    shipped, best = HEADINGS.index("x lightly"), HEADINGS.index("x best lightly")
    table = rows(measures)
    assert [row[shipped] for row in table] == ["1.00", "2.00", "4.00", ""]
    assert [row[best] for row in table] == ["", "", "2.00", ""]


def test_contestants_take_turns_after_a_warm_up_each() -> None:
    from bench import Measure, interleave

    order: list[str] = []

    def run(name: str) -> dict[str, float]:
        order.append(name)
        return {"wall": 1.0, "cpu": 1.0, "count": 1.0}

    a, b = Measure("c", "a", "views"), Measure("c", "b", "views")
    interleave([(a, lambda: run("a")), (b, lambda: run("b"))], rounds=2)
    assert "".join(order) == "ab" + "abab"
    assert len(a.rounds) == len(b.rounds) == 2


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads Linux's /proc")
def test_clock_counts_work_as_cpu_seconds_and_sleep_as_wall_seconds_only() -> None:
    from clock import Clock

    with Clock() as asleep:
        time.sleep(0.2)
    with Clock() as busy:
        start = time.process_time()
        while time.process_time() - start < 0.2:
            pass
    assert asleep.wall >= 0.2 > 0.05 > asleep.cpu
    assert busy.cpu == pytest.approx(0.2, abs=0.05)


def test_the_summary_leaves_out_empty_columns() -> None:
    from summary import table

    lines = table(["case", "views/s", "note"], [["a", "1", ""], ["b", "2", ""]])
    assert lines[0] == "| case | views/s |"
    assert lines[1] == "| --- | ---: |"
