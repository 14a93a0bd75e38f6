"""Scores on streamed images are those on resident ones."""

from __future__ import annotations

import dataclasses

import pytest

from sslbench.data import load
from sslbench.engine.folder import RunFolder
from sslbench.engine.pretrain import Options, pretrain
from sslbench.evaluation.evaluate import evaluate
from sslbench.evaluation.heldout import heldout_score
from sslbench.evaluation.knn import make_knn_monitor
from sslbench.evaluation.protocols import PROTOCOLS
from tests.data.streaming.conftest import spec_of, write_set
from tests.tiny import tiny

TUNED = dataclasses.replace(
    PROTOCOLS["finetune.mixed.v1"], name="tuned.v1", epochs=2, choice_epochs=1, batch_size=24,
    learning_rates=(1e-3, 8e-3), layer_decays=(0.75,),
)  # fmt: skip
OPTIONS = Options(device="cpu", precision="fp32", compile="off", threads=1)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, RunFolder]:
    """One recipe trained on the same pictures, resident and streamed."""
    root = tmp_path_factory.mktemp("runs")
    pictures = write_set(root / "set", train=30, test=8)
    found = {}
    for stream in (False, True):
        own = tiny("simclr").but(data=spec_of(pictures, stream=stream, num_train=48))
        dataset = load(own.data, root=root)
        found[stream] = pretrain(own, provenance={}, runs=root / f"{stream}", root=root,
                                 options=OPTIONS, dataset=dataset,
                                 monitor=make_knn_monitor(dataset))  # fmt: skip
    return found


def test_the_knn_curve(runs: dict[bool, RunFolder]) -> None:
    assert runs[True].knn_curve() == runs[False].knn_curve() != []


@pytest.mark.parametrize("protocol", ["knn.v1", "linear.features.v1", "geometry.v1", TUNED])
def test_protocols(protocol: object, runs: dict[bool, RunFolder]) -> None:
    scores = [
        next(iter(evaluate(run, [protocol], root=run.path).values())) for run in runs.values()
    ]
    for name in ("values", "chosen", "heldout"):
        assert getattr(scores[0], name) == getattr(scores[1], name)


def test_the_heldout_score_on_images_left_out(runs: dict[bool, RunFolder]) -> None:
    first, second = (
        heldout_score(run, load(run.experiment().data, root=run.path), root=run.path)
        for run in runs.values()
    )
    assert first.images == "left out" and first.num_heldout == 12
    assert (first.linear, first.knn) == (second.linear, second.knn)
