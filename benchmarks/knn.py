"""Weighted kNN of 10,000 queries against 50,000 x 512 features, k = 200: seconds and memory.

    python benchmarks/knn.py

Both start from the same float32 features and end with the predicted classes: normalisation,
search, vote. lightly: `knn_predict` in chunks of 256 queries, one setting. Ours: exact search by
faiss, then the vote of one setting, or of all 25 of the protocol. Memory is how far the resident
set of a fresh process rises during its first round, above libraries and features.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from bench import PEER, Measure, Peer, Record, Round, interleave, machine, options, prepare
from clock import Clock, PeakMemory

from sslbench.evaluation.knn import nearest, sweep, votes
from sslbench.evaluation.protocols import KNN, find_protocol

K, TEMPERATURE, CLASSES, WIDTH, CHUNK = 200, 0.1, 10, 512, 256


def make_features(num_train: int, num_test: int) -> dict[str, torch.Tensor]:
    """Ten overlapping clusters, so that the vote has something to decide."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(CLASSES, WIDTH, generator=generator)
    out = {}
    for name, count in (("train", num_train), ("test", num_test)):
        labels = torch.randint(CLASSES, (count,), generator=generator)
        noise = torch.randn(count, WIDTH, generator=generator)
        out[name] = 0.12 * centres[labels] + noise
        out[f"{name}_labels"] = labels
    return out


def one_setting(data: dict[str, torch.Tensor]) -> float:
    """Top-1 in percent of k = 200 and temperature 0.1."""
    found = nearest(data["train"], data["train_labels"], data["test"], k=K)
    scores = torch.cat([
        votes(part, ks=[K], temperature=TEMPERATURE, num_classes=CLASSES)[0]
        for part in found.parts()
    ])  # fmt: skip
    return 100.0 * (scores.argmax(1) == data["test_labels"]).float().mean().item()


def whole_sweep(data: dict[str, torch.Tensor]) -> float:
    """The best top-1 of the protocol's grid, in percent, from one search."""
    protocol = find_protocol("knn")
    assert isinstance(protocol, KNN)
    found = nearest(data["train"], data["train_labels"], data["test"], k=K)
    grid = sweep(found, data["test_labels"], ks=protocol.neighbors,
                 temperatures=protocol.temperatures, num_classes=CLASSES)  # fmt: skip
    return float(grid.max())


def timed(work: Callable[[dict[str, torch.Tensor]], float], data: dict[str, torch.Tensor]) -> Round:
    """One round of ours."""
    with PeakMemory() as memory, Clock() as clock:
        top1 = work(data)
    return {**clock.result(), **memory.result(), "count": len(data["test"]), "top1": top1}


def first_round(
    work: Callable[[dict[str, torch.Tensor]], float], num_train: int, num_test: int
) -> Round:
    """A round in a process that has not worked yet; the features are made before the allocator
    is told to keep what is freed."""
    import faiss  # noqa: F401  # a library, not part of the rise

    data = make_features(num_train, num_test)
    prepare()
    return timed(work, data)


def main() -> None:
    """Measure; print and write."""
    chosen = options(__doc__ or "")
    prepare()
    num_train, num_test = (5000, 1000) if chosen.quick else (50_000, 10_000)
    data = make_features(num_train, num_test)
    case = f"{num_test:,} queries, {num_train:,} x {WIDTH}, k {K}"
    with Peer() as peer, tempfile.TemporaryDirectory() as scratch:
        for name, tensor in data.items():
            np.save(Path(scratch) / f"{name}.npy", tensor.numpy())
        lightly = peer.open("knn", "knn", folder=scratch, k=K, temperature=TEMPERATURE, chunk=CHUNK)
        record = Record("knn", chosen.quick, machine(peer.versions),
                        {"k": K, "temperature": TEMPERATURE, "chunk": CHUNK})  # fmt: skip
        record.measures = interleave(
            [
                (Measure(case, PEER, "s", peer=True, baseline=True), lightly),
                (Measure(case, "sslbench", "s"), lambda: timed(one_setting, data)),
                (Measure(case, "sslbench, 25 settings", "s"), lambda: timed(whole_sweep, data)),
            ],
            rounds=chosen.rounds,
        )
    for measure, work in zip(record.measures, (None, one_setting, whole_sweep), strict=True):
        first = measure.warm_up
        if work is not None:  # ours share a process above
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                first = dict(pool.submit(first_round, work, num_train, num_test).result())
        measure.note = f"+{first['rise_bytes'] / 2**20:,.0f} MiB, top-1 {first['top1']:.2f}"
    record.finish()


if __name__ == "__main__":
    main()
