"""Damaged files of ours under the commands that read them: a sentence, never a traceback.

    python -m tests.fuzz.fuzz --cases 5000 --seed 0

prints, for each kind of file and each mutation, how often it was read and how often refused, and
fails where anything else came out.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import yaml

from sslbench.cli import main
from sslbench.engine.checkpoint import load_checkpoint, save_checkpoint
from sslbench.engine.folder import NUMERICS
from sslbench.engine.pretrain import Options, pretrain
from sslbench.errors import UserError
from sslbench.evaluation.evaluate import evaluate
from sslbench.recipes.resolve import resolve
from sslbench.tables.grid import plan
from sslbench.tables.results import MeasuredTable
from sslbench.tables.schema import DATA, read_table
from tests.fuzz import mutate
from tests.fuzz.mutate import Mutation
from tests.tiny import tiny

Outcome = Literal["read", "refused", "traceback"]
Command = Callable[["Store"], None]
Change = Callable[[random.Random, Any], Any]
TABLE = "simsiam-stop-grad"
STORED = Path(__file__).parents[1] / f"stored/{TABLE}.json"


@dataclass(frozen=True)
class Store:
    """Runs, results and files of one's own, as a user has them; the working folder."""

    root: Path

    @property
    def runs(self) -> list[Path]:
        return sorted((self.root / "runs").iterdir())

    @property
    def score(self) -> Path:
        return self.runs[0] / "scores" / "shapes.knn.v1.json"

    @property
    def predictions(self) -> Path:
        return self.runs[0] / "predictions" / "shapes.knn.v1.npz"

    @property
    def result(self) -> Path:
        return next((self.root / "results").rglob("*.json"))


@dataclass
class Tally:
    """How often what came out of which mutation of which file; and the first tracebacks."""

    counts: Counter[tuple[str, str, Outcome]] = field(default_factory=Counter)
    tracebacks: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        outcomes: tuple[Outcome, ...] = ("read", "refused", "traceback")
        lines = [f"{'file':<16}{'mutation':<18}" + "".join(f"{o:>11}" for o in outcomes)]
        for kind, mutation in dict.fromkeys((k, m) for k, m, _ in sorted(self.counts)):
            found = "".join(f"{self.counts[kind, mutation, o]:>11}" for o in outcomes)
            lines.append(f"{kind:<16}{mutation:<18}{found}")
        totals = "".join(
            f"{sum(n for (_, _, x), n in self.counts.items() if x == o):>11}" for o in outcomes
        )
        return "\n".join([*lines, f"{'all':<34}{totals}"])


def make_store(root: Path) -> Store:
    """Two small runs with scores and logs, a measured table of them, a recipe and a table."""
    os.chdir(root)
    for seed in (0, 1):
        experiment = tiny("simsiam", seed=seed, epochs=1)
        folder = pretrain(
            experiment, provenance={"epochs": "--set"}, runs=Path("runs"), root=Path("data"),
            options=Options(device="cpu", compile="off"),
        )  # fmt: skip
        evaluate(folder, ["knn.v1"], root=Path("data"))
        save_checkpoint(folder.checkpoint_path, {"digest": folder.summary()["digest"]})
    recipe = resolve("byol", scale="smoke").experiment
    (root / "recipe.yaml").write_text(yaml.safe_dump({"experiment": recipe.to_dict()}))
    (root / "table.yaml").write_bytes((DATA / f"{TABLE}.yaml").read_bytes())
    _write_result(root / "results" / "laptop" / "cpu" / f"{TABLE}.json", Store(root).runs)
    return Store(root)


def _write_result(path: Path, runs: Sequence[Path]) -> None:
    """A table as it was measured once, of these runs."""
    table = MeasuredTable.load(STORED)
    names = tuple(run.name for run in runs)
    rows = tuple(
        replace(row, cells={k: replace(c, runs=names) for k, c in row.cells.items()})
        for row in table.rows
    )
    replace(table, rows=rows, numerics=NUMERICS).save(path)


# ----------------------------------------------------------------------------- what reads the file


def _call(*words: str) -> None:
    """The command line in this process. Raises SystemExit with its exit code."""
    with mock.patch.object(sys, "argv", ["sslbench", *words]):
        main()


def _commands(*lines: str) -> list[Command]:
    """Each line a command; A and B are the runs."""

    def command(line: str) -> Command:
        def call(store: Store) -> None:
            names = dict(zip("AB", map(str, store.runs), strict=True))
            words = (word.partition("/") for word in line.split())
            _call(*(names.get(head, head) + slash + rest for head, slash, rest in words))

        return call

    return [command(line) for line in lines]


def _load_checkpoint(store: Store) -> None:
    digest = store.runs[0].name.rpartition("-")[2]
    load_checkpoint(store.runs[0] / "checkpoint.pt", digest=digest)


def _plan_table(store: Store) -> None:
    table = read_table(store.root / "table.yaml")
    plan([table], scale="smoke", seeds=1, runs=store.root / "none", root=store.root / "data")


LIST, COMPARE, EVAL = "list runs --json", "compare A B --protocol knn", "eval A --protocol knn"
HTML, DRY = "report --format html", "ablate simsiam-bn --scale smoke --seeds 1 --dry-run"


@dataclass(frozen=True)
class Kind:
    """A kind of file: where it lies, how it is damaged beside its bytes, and what reads it."""

    find: Callable[[Store], Path]
    commands: Sequence[Command]
    more: Mapping[str, Mutation] = field(default_factory=dict)
    values: Callable[[Change], Mutation] | None = None

    @property
    def mutations(self) -> dict[str, Mutation]:
        wrap = self.values
        inner = {n: wrap(f) for n, f in mutate.VALUES.items()} if wrap else {}
        return {**mutate.BYTES, **inner, **self.more}


KINDS: dict[str, Kind] = {
    "run.json": Kind(
        lambda s: s.runs[0] / "run.json", _commands(LIST, COMPARE, EVAL, HTML, DRY),
        values=mutate.in_json,
    ),
    "experiment.yaml": Kind(
        lambda s: s.runs[0] / "experiment.yaml",
        _commands(LIST, EVAL, "pretrain A/experiment.yaml --show"),
        values=mutate.in_yaml,
    ),
    "metrics.jsonl": Kind(
        lambda s: s.runs[0] / "metrics.jsonl", _commands(LIST, HTML, "analyze stability A"),
        values=mutate.in_lines,
    ),
    "score": Kind(lambda s: s.score, _commands(COMPARE, EVAL), values=mutate.in_json),
    "predictions": Kind(
        lambda s: s.predictions, _commands(COMPARE),
        {"other arrays": mutate.other_arrays, "bomb": mutate.bomb},
    ),
    "results": Kind(
        lambda s: s.result,
        _commands("report", HTML, *(f"report --format {f}" for f in ("markdown", "csv", "latex")),
                  "check --scale laptop --seeds 1"),
        values=mutate.in_json,
    ),
    "checkpoint": Kind(
        lambda s: s.runs[0] / "checkpoint.pt", [_load_checkpoint],
        {"other objects": mutate.other_objects},
    ),
    "recipe YAML": Kind(
        lambda s: s.root / "recipe.yaml",
        _commands("pretrain recipe.yaml --show", "pretrain recipe.yaml --show --set epochs=1"),
        values=mutate.in_yaml,
    ),
    "table YAML": Kind(lambda s: s.root / "table.yaml", [_plan_table], values=mutate.in_yaml),
}  # fmt: skip


# ------------------------------------------------------------------------------------------ running


@contextlib.contextmanager
def reading_only() -> Iterator[None]:
    """Nothing is measured or trained: commands go as far as they read."""

    def measured(*_: object, **__: object) -> None:
        raise UserError("would be measured now.")

    with (
        mock.patch("sslbench.evaluation.evaluate._score", measured),
        mock.patch("sslbench.cli.grid.Grid.train", return_value=[]),
    ):
        yield


def outcome(command: Command, store: Store) -> tuple[Outcome, str]:
    """What a command made of the file, and the traceback or the odd sentence if it was neither
    read nor refused."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            command(store)
    except SystemExit as stop:
        sentence = said.getvalue().strip().rpartition("\n")[2]
        if stop.code not in (0, None, 1, 2) or (stop.code and not sentence.startswith("sslbench: ")
                                                and stop.code != 1):  # fmt: skip
            return "traceback", f"exit code {stop.code}: {said.getvalue()}"
        return ("refused" if stop.code == 2 else "read"), ""
    except UserError as error:
        return ("traceback", f"two lines: {error}") if "\n" in str(error) else ("refused", "")
    except Exception:
        return "traceback", traceback.format_exc()
    return "read", ""


def fuzz(store: Store, *, cases: int, seed: int) -> Tally:
    """Damage one file after the other, seeded; each is as it was before the next one."""
    tally = Tally()
    pairs = [(kind, name) for kind, k in KINDS.items() for name in k.mutations]
    with reading_only():
        for case in range(cases):
            chance = random.Random(f"{seed} {case}")
            kind, name = pairs[case % len(pairs)]
            path = KINDS[kind].find(store)
            data = path.read_bytes()
            try:
                KINDS[kind].mutations[name](chance, path, data)
                command = chance.choice(KINDS[kind].commands)
                found, text = outcome(command, store)
            finally:
                mutate.restore(path, data)
            tally.counts[kind, name, found] += 1
            if found == "traceback":
                tally.tracebacks.append(f"case {case}, {kind}, {name}:\n{text}")
    return tally


def run(arguments: Sequence[str] | None = None) -> int:
    """The command line of this module. Returns 1 where there was a traceback."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as root:
        tally = fuzz(make_store(Path(root)), cases=chosen.cases, seed=chosen.seed)
    sys.stdout.write(f"{tally}\n")
    sys.stderr.write("\n".join(tally.tracebacks[:20]))
    return 1 if tally.tracebacks else 0


if __name__ == "__main__":
    sys.exit(run())
