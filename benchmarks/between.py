"""A training step of this checkout over another one's: is a change of structure free?

    git worktree add --detach ../before COMMIT
    python benchmarks/between.py ../before

At `laptop` scale, on one core, in the precision that a run would take, for four recipes that
remember different things: SimCLR nothing, MoCo v2 a queue, SwAV prototypes, DINO a teacher and a
centre. Each round starts a process of either checkout in turn, which warms up and times whole
steps (views, forward, backward, update); printed are the medians over rounds of its median step.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
RECIPES = ("simclr", "moco-v2", "swav", "dino")
STEPS = """
import json, statistics, sys, time
from pathlib import Path
import torch
from sslbench.data import load
from sslbench.engine.hardware import pick_precision
from sslbench.engine.trainer import Trainer
from sslbench.recipes.resolve import resolve

torch.set_num_threads(1)
device = torch.device("cpu")
medians = {}
for name in sys.argv[2:]:
    experiment = resolve(name, scale="laptop").experiment
    dataset = load(experiment.data, root=Path("unused"))
    trainer = Trainer(experiment, dataset, device=device, precision=pick_precision(device))
    seconds = []
    for _ in range(int(sys.argv[1])):
        begin = time.perf_counter()
        trainer.step()
        seconds.append(time.perf_counter() - begin)
    medians[name] = statistics.median(seconds[len(seconds) // 4 :])
print(json.dumps(medians))
"""


def measure(checkout: Path, steps: int) -> dict[str, float]:
    """Median seconds of a step by recipe, in a process of that checkout."""
    done = subprocess.run(
        [sys.executable, "-c", STEPS, str(steps), *RECIPES],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure both in turn; print milliseconds and ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("before", type=Path, help="a checkout of the commit to compare with")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40)
    chosen = parser.parse_args()
    rounds = [
        (measure(chosen.before, chosen.steps), measure(HERE, chosen.steps))
        for _ in range(chosen.rounds)
    ]
    for name in RECIPES:
        before, after = (statistics.median(r[i][name] for r in rounds) for i in (0, 1))
        print(
            f"{name:8} before {1e3 * before:6.1f} ms, after {1e3 * after:6.1f} ms, "
            f"after/before {after / before:.3f}"
        )


if __name__ == "__main__":
    main()
