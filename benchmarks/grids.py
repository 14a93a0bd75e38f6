"""A whole grid of one process: how much of its time is not training.

    python benchmarks/grids.py --rounds 1          # two rows of one seed, two to five minutes

`sslbench ablate simsiam-stop-grad` on the built-in images at `laptop` scale, into empty folders:
two rows that train, and the two baselines that every table has. Training, the kNN monitor inside
of it and each protocol are what the runs say of themselves. "Start, plan and report" is the same
command again when all is there. The rest is what is left: images that are drawn, libraries,
networks that are built, files. The baselines and the start are there once, however many rows a
grid has, so that the shares of one row more are given too: of a run, its scores and its half of
the rest.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from bench import Measure, Record, Round, machine, options

from sslbench.engine.folder import RunFolder
from sslbench.files import entries

TABLE, ROWS = "simsiam-stop-grad", 2
WHOLE, STEPS, MONITOR = "whole grid", "training steps", "kNN monitor"
ROW_SCORES, BASELINE_SCORES = "{}, of a row", "{}, of the baselines"
AGAIN, REST = "start, plan and report", "the rest"


def grid(place: Path, *, scale: str) -> Round:
    """The command in a process of its own; wall and CPU seconds."""
    names = {"--runs": "runs", "--results": "results", "--data-root": "data"}
    folders = [word for option, name in names.items() for word in (option, str(place / name))]
    command = [sys.executable, "-m", "sslbench", "ablate", TABLE, "--dataset", "shapes",
               "--scale", scale, "--seeds", "1", "--jobs", "1", *folders]  # fmt: skip
    begin, before = time.perf_counter(), os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    return {"wall": time.perf_counter() - begin, "cpu": cpu}


def recorded(runs: Path) -> dict[str, float]:
    """Seconds that runs say of themselves, by part."""
    found = {STEPS: 0.0, MONITOR: 0.0}
    for path in sorted(entries(runs)):
        run = RunFolder(path).summary()
        seconds, share = run["elapsed_seconds"], run["monitor_share"] or 0.0
        found[MONITOR] += share * seconds
        found[STEPS] += (1 - share) * seconds
        scores = ROW_SCORES if run["epochs"] else BASELINE_SCORES
        for file in sorted((path / "scores").glob("*.json")):
            score = json.loads(file.read_text())
            part = scores.format(score["protocol"])
            found[part] = found.get(part, 0.0) + score["elapsed_seconds"]
    return found


def round_of(scale: str) -> dict[str, Round]:
    """One grid from nothing, by part."""
    with tempfile.TemporaryDirectory() as scratch:
        whole = grid(Path(scratch), scale=scale)
        parts: dict[str, Round] = {
            k: {"wall": v} for k, v in recorded(Path(scratch, "runs")).items()
        }
        parts[AGAIN] = grid(Path(scratch), scale=scale)
    known = sum(part["wall"] for part in parts.values())
    return {WHOLE: whole, **parts, REST: {"wall": whole["wall"] - known}}


def outside(parts: Mapping[str, float]) -> dict[str, str]:
    """Sentences on the shares, of the whole grid and of one row more."""
    whole, trained = parts[WHOLE], parts[STEPS] + parts[MONITOR]
    scores = sum(v for k, v in parts.items() if k.endswith(ROW_SCORES.format("")))
    more = (trained + scores + parts[REST] / 2) / ROWS
    notes = {k: f"{100 * v / whole:.1f} %" for k, v in parts.items()}
    notes[WHOLE] = (
        f"{100 * (1 - trained / whole):.1f} % is not training, "
        f"{100 * (1 - parts[STEPS] / whole):.1f} % with the monitor; "
        f"of one row more {100 * (1 - trained / ROWS / more):.1f} and "
        f"{100 * (1 - parts[STEPS] / ROWS / more):.1f} %"
    )
    return notes


def main() -> None:
    """Measure; print and write."""
    chosen = options(__doc__ or "")
    scale = "smoke" if chosen.quick else "laptop"
    record = Record("grids", chosen.quick, machine(None), {"table": TABLE, "scale": scale})
    case = f"{TABLE}, {scale}"
    rounds = [round_of(scale) for _ in range(chosen.rounds)]
    record.measures = [
        Measure(case, part, "s", rounds=[dict(found[part]) for found in rounds])
        for part in rounds[0]
    ]
    notes = outside({m.contestant: m.median() for m in record.measures})
    for measure in record.measures:
        measure.note = notes[measure.contestant]
    record.finish()


if __name__ == "__main__":
    main()
