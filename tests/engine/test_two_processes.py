"""Two gloo processes train what one does: loss, gradient and state, for every recipe."""

from __future__ import annotations

import fcntl
import functools
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from sslbench import distributed
from sslbench.data import load
from sslbench.engine.launch import process_group
from sslbench.engine.trainer import Trainer
from tests.tiny import DATA, TRAINED, tiny

ROOT = Path(__file__).parents[2]
SHARED = {
    "queue",
    "queues",
    "bank",
    "partition",
    "memory",
    "centre",
    "centres",
}  # what all processes hold


@functools.cache
def trace(recipe: str) -> dict[str, object]:
    """Loss and gradient of the first batch, then the losses of three steps, over all processes."""
    dataset = load(DATA, root=Path("unused"))
    trainer = Trainer(tiny(recipe), dataset, device=torch.device("cpu"))
    trainer._begin(0)
    output = trainer._forward(trainer._part(0, 0))
    output.loss.backward()
    gradients = {n: p.grad.tolist() for n, p in trainer.method.named_parameters()
                 if p.grad is not None}  # fmt: skip
    first = distributed.mean(output.loss.detach()).item()
    trainer = Trainer(tiny(recipe), dataset, device=torch.device("cpu"))
    losses = [distributed.mean(trainer.step().loss.detach()).item() for _ in range(3)]
    buffers = {n: b.tolist() for n, b in trainer.method.named_buffers()
               if SHARED & set(n.split("."))}  # fmt: skip
    return {"loss": first, "gradients": gradients, "losses": losses, "buffers": buffers}


def accumulated() -> dict[str, object]:
    """Weights after a step of three parts, and how often gradients were sent for it."""
    dataset = load(DATA, root=Path("unused"))
    trainer = Trainer(tiny("byol", accumulate=3), dataset, device=torch.device("cpu"))
    sent = []
    network: Any = trainer._network

    def count(state, bucket):  # DDP takes no annotation that is a string
        sent.append(bucket.index())
        return allreduce_hook(state, bucket)

    if distributed.world_size() > 1:
        network.register_comm_hook(None, count)
    loss = distributed.mean(trainer.step().loss).item()
    weights = {n: p.tolist() for n, p in trainer.method.named_parameters()}
    return {"sent": sent, "loss": loss, "weights": weights}


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> dict[str, dict]:
    """Every recipe's trace from one launch of two processes, for all workers of pytest."""
    here = tmp_path_factory.getbasetemp()
    folder = (here.parent if "PYTEST_XDIST_WORKER" in os.environ else here) / "two"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "traces.json").exists():
            launch(folder)
    return json.loads((folder / "traces.json").read_text())


def launch(folder: Path) -> None:
    """As on two machines: a torchrun for each, which find each other by an address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nodes = [
        subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", f"--node-rank={rank}",
             "--nproc-per-node=1", "--master-addr=127.0.0.1", f"--master-port={port}",
             "-m", "tests.engine.test_two_processes", str(folder)],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]  # fmt: skip
    assert [node.wait(timeout=300) for node in nodes] == [0, 0]


@pytest.mark.parametrize("recipe", TRAINED)
def test_two_processes_have_the_loss_and_gradient_of_one(recipe, two):
    one, both = trace(recipe), two[recipe]
    # A difference of terms of 1 / temperature, up to 14, which float32 has to 1e-6.
    assert both["loss"] == pytest.approx(one["loss"], rel=1e-5, abs=2e-6)
    assert both["gradients"].keys() == one["gradients"].keys()
    gradients = {name: torch.tensor(values) for name, values in one["gradients"].items()}
    # A bias in front of batch norm has no gradient but the rounding of the others.
    largest = max(float(gradient.abs().max()) for gradient in gradients.values())
    for name, gradient in gradients.items():
        torch.testing.assert_close(
            torch.tensor(both["gradients"][name]), gradient,
            rtol=2e-3, atol=max(2e-5, 1e-6 * largest), msg=lambda m, n=name: f"{n}: {m}",
        )  # fmt: skip


@pytest.mark.parametrize("recipe", TRAINED)
def test_two_processes_go_on_as_one(recipe, two):
    one, both = trace(recipe), two[recipe]
    assert both["losses"] == pytest.approx(one["losses"], rel=2e-3, abs=2e-3)
    for name, value in one["buffers"].items():
        torch.testing.assert_close(
            torch.tensor(both["buffers"][name]), torch.tensor(value), rtol=0, atol=2e-2
        )


def test_two_processes_accumulate_as_one_and_send_gradients_once(two):
    one, both = accumulated(), two["accumulated"]
    assert both["sent"] == [0]  # one bucket holds all of so small a network
    assert both["loss"] == pytest.approx(one["loss"], rel=1e-5)
    for name, value in one["weights"].items():
        torch.testing.assert_close(
            torch.tensor(both["weights"][name]), torch.tensor(value), rtol=1e-3, atol=1e-4
        )


def main(folder: Path) -> None:
    """The process of a node."""
    torch.set_num_threads(1)
    with process_group("cpu"):
        traces = {recipe: trace(recipe) for recipe in TRAINED}
        traces["accumulated"] = accumulated()
        if distributed.rank() == 0:
            (folder / "traces.json").write_text(json.dumps(traces))
        dist.barrier()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
