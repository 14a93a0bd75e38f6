"""The table of `gpu.sh cifar`: what its finished runs say of accuracy and throughput.

    python benchmarks/gpu_cifar.py RUNS

Anchors: the MoCo authors' CIFAR-10 demo, 200 epochs, last epoch, by a kNN (k 200, temperature
0.1) on 128-d outputs. Ours is `knn.v1` on the encoder's 512 features.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from bench import HERE, RESULTS
from rich.console import Console
from rich.table import Table

from sslbench.engine.folder import RunFolder

ANCHORS = {"moco-v2": "82.6", "moco-v2-symmetric": "85.3"}
SETTING = ("cifar10", "resnet18", 200)  # of the anchors
HEADINGS = ["recipe", "kNN", "anchor", "epochs", "minutes", "views/s", "waiting for views",
            "peak memory, GiB"]  # fmt: skip


def setting(folder: RunFolder) -> tuple[str, str, int]:
    """Data set, network and epochs of a run."""
    recipe, run = folder.experiment().recipe, folder.summary()
    return (
        run["dataset"],
        getattr(recipe.encoder, "arch", type(recipe.encoder).__name__),
        recipe.epochs,
    )


def row(folder: RunFolder) -> list[str]:
    """One finished run. `views_per_second` and the share are those of its last piece."""
    run = folder.summary()
    anchor = ANCHORS.get(run["recipe"], "") if setting(folder) == SETTING else ""
    score = json.loads(folder.score_path(run["dataset"], "knn.v1").read_text())
    return [
        run["recipe"],
        f"{score['values']['top1']:.1f}",
        anchor,
        str(run["epochs"]),
        f"{run['elapsed_seconds'] / 60:.1f}",
        f"{run['views_per_second']:,.0f}",
        f"{100 * run['views_share']:.0f} %",
        f"{run['peak_memory_bytes'] / 2**30:.1f}",
    ]


def main() -> None:
    """Print the table of all finished runs under RUNS; write it beside the other benchmarks."""
    paths = sorted(Path(sys.argv[1]).iterdir()) if len(sys.argv) == 2 else []
    folders = [RunFolder(p) for p in paths if RunFolder(p).status() == "finished"]
    if not folders:
        sys.exit("Give the folder of finished runs, as gpu.sh cifar fills it.")
    rows = [row(folder) for folder in folders]
    run = folders[0].summary()
    dataset, network, _ = setting(folders[0])
    table = Table(*HEADINGS, title=f"{dataset}, {network}: {run['device']}, {run['precision']}")
    for cells in rows:
        table.add_row(*cells)
    Console(width=110).print(table)
    machine: dict[str, Any] = {k: run[k] for k in ("device", "precision", "torch", "commit")}
    document = {
        "benchmark": "gpu_cifar",
        "command": "benchmarks/gpu.sh cifar",
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine,
        "headings": HEADINGS,
        "rows": rows,
        "runs": [folder.summary() for folder in folders],
    }
    path = RESULTS / run["device_class"] / "gpu_cifar.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")
    print(f"wrote {path.relative_to(HERE.parent)}")


if __name__ == "__main__":
    main()
