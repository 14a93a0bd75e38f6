"""What all benchmarks share: the peer's process, interleaved rounds, the table and the JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import sslbench
from sslbench.engine import hardware
from sslbench.engine.environment import commit

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results" / "benchmarks"
PEER = "lightly"

Round = Mapping[str, float]  # wall and cpu seconds, count of what was done, and extras


@dataclass
class Measure:
    """Rounds of one contestant in one case.

    `unit` names what `count` counts (views, images); rates are count over wall seconds. With
    unit "s" a round's wall seconds are the number, and less is better. `baseline` marks the peer
    as shipped, `peer` any setting of it.
    """

    case: str
    contestant: str
    unit: str
    peer: bool = False
    baseline: bool = False
    rounds: list[dict[str, float]] = field(default_factory=list)
    warm_up: dict[str, float] = field(default_factory=dict)
    note: str = ""

    def values(self) -> list[float]:
        if self.unit == "s":
            return [r["wall"] for r in self.rounds]
        return [r["count"] / r["wall"] for r in self.rounds]

    def median(self) -> float:
        return statistics.median(self.values())

    def cpu(self) -> float | None:
        """CPU seconds of a round (all contestants of a case do the same work), median; None of a
        part whose wall clock alone is known."""
        found = [r["cpu"] for r in self.rounds if "cpu" in r]
        return statistics.median(found) if found else None

    def times(self, other: Measure) -> float:
        """How many times faster than `other`: the median over rounds of neighbours' ratios."""
        invert = self.unit == "s"
        pairs = zip(self.values(), other.values(), strict=True)
        return statistics.median(b / a if invert else a / b for a, b in pairs)


class Peer:
    """The peer's process. `open` builds a task there and gives a function that runs a round."""

    def __enter__(self) -> Peer:
        subprocess.run([HERE / "peer_env.sh"], check=True)
        self._process = subprocess.Popen(
            [HERE.parent / ".venv-peer" / "bin" / "python", HERE / "peer.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.versions = self._ask({})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)

    def open(self, task: str, name: str, **arguments: Any) -> Callable[[], Round]:
        """Build `task` under `name`; the function that comes back runs one round of it."""
        self._ask({"open": task, "name": name, **arguments})
        return lambda: self._ask({"run": name})

    def close(self, name: str) -> None:
        """Free a task and its workers."""
        self._ask({"close": name})

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("The peer's process ended; its error stands above.")
        answer: dict[str, Any] = json.loads(line)
        return answer


def interleave(
    contestants: Sequence[tuple[Measure, Callable[[], Round]]], *, rounds: int
) -> list[Measure]:
    """One warm-up round of each, then A B A B ...: a busy neighbour disturbs all alike."""
    for measure, run in contestants:
        measure.warm_up = dict(run())
    for _ in range(rounds):
        for measure, run in contestants:
            measure.rounds.append(dict(run()))
    return [measure for measure, _ in contestants]


def options(
    description: str,
    *,
    extra: Mapping[str, str] | None = None,
    folders: Mapping[str, str] | None = None,
) -> argparse.Namespace:
    """The options of every benchmark, `extra` switches and required `folders`, with their help."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each contestant")
    parser.add_argument("--quick", action="store_true",
                        help="little work, one round, nothing written: does it run?")  # fmt: skip
    parser.add_argument("--data-root", type=Path, default=HERE.parent / "data")
    for name, words in (extra or {}).items():
        parser.add_argument(f"--{name}", action="store_true", help=words)
    for name, words in (folders or {}).items():
        parser.add_argument(f"--{name}", type=Path, required=True, help=words)
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.rounds = 1
    return chosen


def machine(peer: Mapping[str, str] | None) -> dict[str, Any]:
    """What the numbers were measured on, and by which software."""
    import torchvision

    return {
        "cpu": hardware.cpu_model(),
        "instructions": sorted(hardware.cpu_flags() & _INTERESTING),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "sslbench": sslbench.__version__,
        "commit": commit(),
        "peer": dict(peer or {}),
    }


_INTERESTING = {"avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16"}


@dataclass
class Record:
    """One benchmark's result: gathers measures, prints them, writes them."""

    name: str
    quick: bool
    machine: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)
    measures: list[Measure] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)

    def finish(self) -> None:
        """Print the table; write results/benchmarks/<device class>/<name>.json."""
        console = Console()
        console.width = max(console.width, 110)  # a pipe is told 80 columns
        console.print(self.table())
        self.machine["load_after"] = os.getloadavg()[0]
        if self.quick:
            return
        folder = RESULTS / hardware.device_class(torch.device("cpu"))
        folder.mkdir(parents=True, exist_ok=True)
        document = {
            "benchmark": self.name,
            "command": " ".join(
                [f"python benchmarks/{self.name}.py", *map(_short_path, sys.argv[1:])]
            ),
            "date": time.strftime("%Y-%m-%d"),
            "machine": self.machine,
            "settings": self.settings,
            "measures": [asdict(m) for m in self.measures],
            "extra": self.extra,
        }
        path = folder / f"{self.name}.json"
        path.write_text(json.dumps(document, indent=1) + "\n")
        print(f"wrote {path.relative_to(HERE.parent)}")

    def table(self) -> Table:
        """The measures as rich shows them."""
        table = Table(title=f"{self.name}: {self.machine['cpu']}")
        for heading in HEADINGS:
            table.add_column(heading, justify="left" if heading in LEFT else "right")
        for row in rows(self.measures):
            table.add_row(*row)
        return table


HEADINGS = ("case", "contestant", "median (lowest-highest)", "unit", "CPU s", "x lightly",
            "x best lightly", "note")  # fmt: skip

LEFT = ("case", "contestant", "recipe", "note")  # columns of words


def rows(measures: Sequence[Measure]) -> list[tuple[str, ...]]:
    """One row a measure; ratios are against the peer as shipped, and at its best setting."""
    out = []
    for measure in measures:
        same = [m for m in measures if m.case == measure.case and m.unit == measure.unit]
        peers = [m for m in same if m.peer]
        base = next((m for m in peers if m.baseline), None)
        best = max(peers, key=lambda m: m.times(base), default=None) if base else None
        values = measure.values()
        spread = f"{_short(min(values))}-{_short(max(values))}"
        out.append((
            measure.case,
            measure.contestant,
            f"{_short(measure.median())} ({spread})",
            measure.unit if measure.unit == "s" else f"{measure.unit}/s",
            "" if (cpu := measure.cpu()) is None else _short(cpu),
            "" if base is None else f"{measure.times(base):.2f}",
            "" if best is None or measure.peer else f"{measure.times(best):.2f}",
            measure.note,
        ))  # fmt: skip
    return out


def _short_path(argument: str) -> str:
    """Where a folder lies on a machine is of no use on another."""
    return Path(argument).name if Path(argument).is_absolute() else argument


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def prepare() -> None:
    """The process as the engine runs it: allocator settings, all cores this process has."""
    hardware.prepare_process(len(os.sched_getaffinity(0)))
