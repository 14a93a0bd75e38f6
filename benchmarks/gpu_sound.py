"""Is a device sound? The first steps of every recipe on it, beside the CPU's, at smoke scale.

    python benchmarks/gpu_sound.py                       # on the first CUDA device
    python benchmarks/gpu_sound.py --device cpu --recipes simclr,mae

Both sides start from the same weights and see the same images: random streams are functions of the
step. The first loss differs by rounding alone; later ones drift, as two orders of the same sums do.
float32 without TF32 is compared; a few steps in bf16 must stay finite. On a GPU steps that are
replayed as a CUDA graph are compared with plain ones. Exits with 1 where a recipe fails, and writes
what it found beside the other benchmarks.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from bench import RESULTS
from rich.console import Console
from rich.table import Table

from sslbench.data import Dataset, load
from sslbench.engine import hardware
from sslbench.engine.environment import commit
from sslbench.engine.graph import told
from sslbench.engine.trainer import Trainer
from sslbench.errors import UserError
from sslbench.recipes import RECIPES
from sslbench.recipes.resolve import resolve
from sslbench.recipes.specs import Data

STEPS, REPLAYED = 4, 10
FIRST, LATER = 1e-4, 5e-2  # relative to the CPU's loss, and to a loss of 1 where it is smaller
GRAPH = 1e-3  # likewise, of a replayed step to the same device's plain one


@dataclass(frozen=True)
class Found:
    """What one recipe's steps gave: losses on the CPU and on the device, and what is wrong.

    `device` and `replayed` are the device's plain steps and those as a CUDA graph; `graph` says
    "replayed", or why they were not, and nothing of a CPU.
    """

    recipe: str
    cpu: list[float]
    device: list[float]
    bf16: list[float]
    replayed: list[float]
    graph: str
    seconds: float
    fault: str = ""


def losses(trainer: Trainer, steps: int = STEPS) -> list[float]:
    """Of the first steps."""
    return [float(trainer.step().loss.detach()) for _ in range(steps)]


def fault(cpu: list[float], device: list[float], bf16: list[float], replayed: list[float]) -> str:
    """What is wrong with a recipe's losses, in words; "" if nothing is."""
    if not all(map(math.isfinite, (*device, *bf16, *replayed))):
        return "a loss is not finite"
    for step, (a, b) in enumerate(zip(cpu, device, strict=False)):
        off = abs(a - b) / max(1.0, abs(a))
        if off > (LATER if step else FIRST):
            return f"step {step} is off by {off:.1e}"
    for step, (a, b) in enumerate(zip(device, replayed, strict=False)):
        off = abs(a - b) / max(1.0, abs(a))
        if off > GRAPH:
            return f"step {step} of the graph is off by {off:.1e}"
    return ""


def look(recipe: str, sets: dict[Data, Dataset], device: torch.device) -> Found:
    """Both sides of one recipe; what it raises is its fault."""
    begin = time.perf_counter()
    cpu, found, bf16, replayed, graph = [], [], [], [], ""
    try:
        experiment = resolve(recipe, scale="smoke").experiment
        if experiment.data not in sets:
            sets[experiment.data] = load(experiment.data, root=Path())  # drawn: no files
        dataset = sets[experiment.data]
        on_gpu = device.type == "cuda"
        cpu = losses(Trainer(experiment, dataset, device=torch.device("cpu")))
        found = losses(Trainer(experiment, dataset, device=device), REPLAYED if on_gpu else STEPS)
        bf16 = losses(Trainer(experiment, dataset, device=device, precision=torch.bfloat16))
        if on_gpu:
            trainer = Trainer(experiment, dataset, device=device, graph=True)
            replayed, graph = losses(trainer, REPLAYED), told(trainer.graph)
        wrong = fault(cpu, found, bf16, replayed)
        if graph.startswith("capturing failed"):
            wrong = wrong or graph
    except (RuntimeError, UserError) as error:
        wrong = str(error).splitlines()[0]
    seconds = time.perf_counter() - begin
    return Found(recipe, cpu, found, bf16, replayed, graph, seconds, wrong)


def main() -> int:
    trained = [name for name, recipe in RECIPES.items() if recipe.epochs > 0]
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--recipes", default=",".join(trained))
    given = parser.parse_args()
    hardware.prepare_process()
    device = hardware.pick_device(given.device)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    sets: dict[Data, Dataset] = {}
    table = Table("recipe", "first loss", "last on the CPU", "here", "bf16", "graph", "s", "fault")
    every = []
    for name in given.recipes.split(","):
        one = look(name, sets, device)
        every.append(one)
        ends = [f"{x[i]:.4f}" if x else "" for x, i in (
            (one.cpu, 0), (one.cpu, -1), (one.device[:STEPS], -1), (one.bf16, -1))]  # fmt: skip
        table.add_row(name, *ends, one.graph, f"{one.seconds:.1f}", one.fault)
        print(f"{name}: {one.fault or 'sound'}", flush=True)
    Console(width=120).print(table)
    path = RESULTS / hardware.device_class(device) / "gpu_sound.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "benchmark": "gpu_sound",
        "command": f"python benchmarks/gpu_sound.py --device {given.device}",
        "date": time.strftime("%Y-%m-%d"),
        "machine": {"device": hardware.describe_device(device), "torch": torch.__version__,
                    "commit": commit()},
        "recipes": [asdict(one) for one in every],
    }  # fmt: skip
    if device.type != "cpu":  # against itself a CPU says nothing
        path.write_text(json.dumps(document, indent=1) + "\n")
        print(f"wrote {path}")
    return int(any(one.fault for one in every))


if __name__ == "__main__":
    sys.exit(main())
