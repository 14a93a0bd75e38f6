from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sslbench.errors import UserError
from sslbench.evaluation import compare, evaluate, import_encoder_file
from sslbench.models import build_encoder
from sslbench.models.export import export_encoder
from sslbench.recipes.specs import NarrowResNet, ResNet
from tests.tiny import DATA

SPEC = NarrowResNet(width=4, blocks=(1, 1))


@pytest.fixture
def encoder_file(tmp_path: Path) -> Path:
    path = tmp_path / "theirs.safetensors"
    export_encoder(build_encoder(SPEC, resolution=16), SPEC, path)
    return path


def test_an_encoder_file_becomes_a_finished_run(encoder_file: Path, tmp_path: Path) -> None:
    folder = import_encoder_file(
        encoder_file, SPEC, data=DATA, root=tmp_path, runs=tmp_path / "runs"
    )
    scores = evaluate(folder, ["knn", "geometry"], root=tmp_path)
    assert folder.path.name.startswith("external-")
    assert folder.status() == "finished"
    assert folder.summary()["encoder_file"]["loaded"] > 0
    assert evaluate(folder, ["knn"], root=tmp_path)["knn.v1"] == scores["knn.v1"]
    assert compare(folder, folder, "knn").difference == 0


def test_the_same_file_is_the_same_run_and_another_is_not(
    encoder_file: Path, tmp_path: Path
) -> None:
    common = {"data": DATA, "root": tmp_path, "runs": tmp_path / "runs"}
    first = import_encoder_file(encoder_file, SPEC, **common)
    again = import_encoder_file(encoder_file, SPEC, **common)
    normalised = import_encoder_file(encoder_file, SPEC, mean=(0.5,) * 3, **common)
    other = tmp_path / "other.pt"
    torch.save(build_encoder(SPEC, resolution=16).state_dict(), other)
    retrained = import_encoder_file(other, SPEC, **common)
    assert first.path == again.path
    assert len({first.path, normalised.path, retrained.path}) == 3


def test_another_architecture_is_refused_and_leaves_no_run(
    encoder_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"theirs\.safetensors"):
        import_encoder_file(encoder_file, ResNet(arch="resnet18"), data=DATA,
                            root=tmp_path, runs=tmp_path / "runs")  # fmt: skip
    assert not list((tmp_path / "runs").glob("*/experiment.yaml"))
