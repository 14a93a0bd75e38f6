"""Measure what `results/` holds at a scale on CIFAR-10, or on the set that a table names: studies
first, then tables.

    python benchmarks/measure.py laptop --data-root data          # as long as it takes
    python benchmarks/measure.py laptop --data-root data --list   # what is there, and what is not
    python benchmarks/measure.py desktop --data-root data --minutes 120

Hours to days on two cores. Runs are found again, so that what was stopped goes on; a study whose
record is in `results/tuning` is read, and a table is left alone whose stored runs are those that
today's settings would make, so that another machine goes on with what was committed. Studies write
their winners into the scale (`tune --write`), and have one budget for every recipe.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sslbench.errors import UserError
from sslbench.reports.display import is_measured
from sslbench.tables.results import MeasuredTable
from sslbench.tables.schema import load_table

TRIALS, SEEDS, DATASET = 16, 3, "cifar10"
# Parents before the recipes that begin at their studies.
STUDIES = (
    "mae", "simclr", "byol", "simsiam", "barlow-twins", "moco-v2", "swav", "dcl", "dclw",
    "debiased", "hcl", "directclr", "simclr-linear-projector", "simclr-no-projector",
    "align-uniform", "moco-v1", "moco-ring", "moco-ft", "moco-v2-symmetric", "ressl", "moco-v3",
    "supervised", "simclr-multicrop", "deepcluster-v2", "sela-v2", "dino-resnet", "instdisc",
    "instdisc-hard", "simple", "simple-hard", "align-uniform-queue", "npid", "dino",
    "moco-v3-vit", "byol-vit", "moco-v2-vit", "swav-vit", "supervised-vit",
    "supervised-multicrop", "beit", "simmim", "maskfeat",
)  # fmt: skip
# Of masked autoencoders, those first that need MAE's study alone.
MASKED = (
    "mae-mask-token", "mae-masking-ratio", "mae-target", "mae-mask-sampling", "mae-decoder-depth",
    "mae-decoder-width", "mae-augmentation", "mae-finetune", "mae-partial",
)  # fmt: skip
# Of other images and tasks: detectors and segmenters take most of the time.
DOWNSTREAM = (
    "pixpro-voc", "densecl-voc", "patch-level", "simsiam-transfer", "mae-coco", "mae-ade20k",
    "barlow-transfer", "align-uniform-stl10-nyu", "image-level-progress", "looc",
)  # fmt: skip
TABLES = {
    "laptop": (
        *MASKED, *DOWNSTREAM,
        "simsiam-stop-grad", "byol-target", "simsiam-predictor", "simsiam-collapse", "simsiam-bn",
        "barlow-loss", "byol-beta", "simclr-projection-head", "dcl-batch-size", "byol-batch-size",
        "byol-augmentations", "barlow-projector-dim", "barlow-asymmetric", "barlow-batch-size",
        "simsiam-batch-size", "simsiam-output-dim", "moco-v2-ablation", "simclr-temperature",
        "simclr-color-strength", "directclr-projector", "behaviour-simple",
        "behaviour-hard-simple", "behaviour-temperature", "debiased-stl10", "hcl-stl10", "ring",
        "feature-transformation", "align-uniform-trajectories", "align-uniform-encoders",
        "align-uniform-imagenet100-grid", "ressl-weak-augmentation", "ressl-temperature",
        "swav-multicrop", "dino-ablation", "mocov3-patch-projection", "mocov3-frameworks",
        "simclr-augmentation-pairs", "leaderboard-all", "leaderboard-transfer",
    ),
    "desktop": (
        "simsiam-stop-grad", "byol-beta", "barlow-loss", "dcl-batch-size", "swav-multicrop",
        "leaderboard-all", *MASKED, "pixpro-voc", "densecl-voc", "simsiam-transfer", "mae-coco",
        "mae-ade20k",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Work:
    """A study or a table, and the command that does it."""

    kind: str
    name: str
    command: tuple[str, ...]


def work(scale: str, options: Sequence[str], jobs: int) -> Iterator[Work]:
    """All of it, in order. `desktop` takes over laptop's studies."""
    common = ("--scale", scale, "--jobs", str(jobs), *options)
    budget = ("--trials", str(TRIALS), "--seeds", str(SEEDS), "--write")
    for name in STUDIES if scale == "laptop" else ():
        yield Work("study", name, ("tune", name, "--dataset", DATASET, *common, *budget))
    for name in TABLES[scale]:
        yield Work("table", name, ("ablate", name, *own_or(name), *common, "--until-decided"))


def own_or(name: str) -> tuple[str, ...]:
    """The option of the data of a table: none where the table names its own."""
    return () if load_table(name).data else ("--dataset", DATASET)


def sslbench(command: Sequence[str], *, quiet: bool = False) -> subprocess.CompletedProcess[str]:
    """The command line of this interpreter."""
    return subprocess.run(
        [sys.executable, "-m", "sslbench", *command], text=True, check=False,
        stdout=subprocess.PIPE if quiet else None,
    )  # fmt: skip


def stored(scale: str, name: str, results: Path) -> MeasuredTable | None:
    """A table as it is kept, if it is; of several kinds of device the newest."""
    dataset = load_table(name).data or DATASET
    found = sorted(results.glob(f"{scale}/*/{name}*.json"), key=lambda p: p.stat().st_mtime)
    for path in reversed(found):
        try:
            table = MeasuredTable.load(path)
        except UserError as error:
            print(error, file=sys.stderr)
            continue
        if table.id == name and table.dataset == dataset and is_measured(table):
            return table
    return None


def done(item: Work, scale: str, options: Sequence[str], results: Path) -> bool:
    """Whether it is there and of today's settings."""
    if item.kind == "study":
        return (results / "tuning" / scale / DATASET / f"{item.name}.json").exists()
    table = stored(scale, item.name, results)
    if table is None or not table.complete or not table.planned:
        return False
    plan = sslbench(
        ("ablate", item.name, "--scale", scale, *own_or(item.name), "--seeds",
         str(table.planned[0]), "--dry-run", "--json", *options), quiet=True,
    )  # fmt: skip
    if plan.returncode:
        return False
    wanted = {
        (feed["row"], feed["column"], run["run"])
        for run in json.loads(plan.stdout)["runs"] for feed in run["feeds"]
    }  # fmt: skip
    return wanted <= {
        (row.id, key, name)
        for row in (*table.rows, *table.baselines)
        for key, cell in row.cells.items() for name in cell.runs
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("scale", choices=TABLES)
    parser.add_argument("--data-root", default="data")
    parser.add_argument("--runs", default="runs")
    parser.add_argument("--results", default="results", type=Path)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing after")
    parser.add_argument("--list", action="store_true", help="say what is there, and stop")
    given = parser.parse_args()
    options = ("--data-root", given.data_root, "--runs", given.runs)
    options += ("--results", str(given.results))
    began, failed = time.monotonic(), 0
    for item in work(given.scale, options, given.jobs):
        there = done(item, given.scale, options, given.results)
        print(f"{item.kind} {item.name}: {'there' if there else 'to do'}", flush=True)
        if there or given.list:
            continue
        if time.monotonic() - began > given.minutes * 60:
            break
        failed += sslbench(item.command).returncode != 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
