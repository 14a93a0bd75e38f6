from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from sslbench.engine.pretrain import pretrain
from sslbench.errors import UserError
from sslbench.evaluation.compare import compare
from sslbench.evaluation.evaluate import evaluate
from sslbench.evaluation.foreign import FileOptions, import_encoder_file
from sslbench.evaluation.scores import Score
from sslbench.evaluation.subject import exported
from sslbench.models import build_encoder
from sslbench.models.card import NORMALIZATIONS, Normalization
from sslbench.models.export import export_encoder
from sslbench.recipes.specs import EncoderSpec, ImageSet, NarrowResNet, ResNet, SmallAlexNet, ViT
from sslbench.typed import read_as
from tests.evaluation.conftest import finished
from tests.tiny import DATA, tiny

SPEC = NarrowResNet(width=4, blocks=(1, 1))
SAID = FileOptions(encoder=SPEC)
MINE = Normalization(mean=(0.5,) * 3, std=(0.25,) * 3)


@pytest.fixture
def encoder_file(tmp_path: Path) -> Path:
    path = tmp_path / "theirs.safetensors"
    export_encoder(build_encoder(SPEC, resolution=16), SPEC, path)
    return path


@pytest.fixture
def common(tmp_path: Path) -> dict[str, Any]:
    return {"data": DATA, "root": tmp_path, "runs": tmp_path / "runs"}


def test_an_encoder_file_becomes_a_finished_run(
    encoder_file: Path, tmp_path: Path, common: dict[str, Any]
) -> None:
    folder = import_encoder_file(encoder_file, SAID, **common)
    scores = evaluate(folder, ["knn", "geometry"], root=tmp_path)
    assert folder.path.name.startswith("external-")
    assert folder.status() == "finished"
    assert folder.summary()["encoder_file"]["loaded"] > 0
    assert evaluate(folder, ["knn"], root=tmp_path)["knn.v1"] == scores["knn.v1"]
    assert compare(folder, folder, "knn").difference == 0


def test_the_same_file_is_the_same_run_and_another_is_not(
    encoder_file: Path, tmp_path: Path, common: dict[str, Any]
) -> None:
    first = import_encoder_file(encoder_file, SAID, **common)
    again = import_encoder_file(encoder_file, SAID, **common)
    normalised = FileOptions(encoder=SPEC, normalization=NORMALIZATIONS["half"])
    half = import_encoder_file(encoder_file, normalised, **common)
    other = tmp_path / "other.pt"
    torch.save(build_encoder(SPEC, resolution=16).state_dict(), other)
    retrained = import_encoder_file(other, SAID, **common)
    assert first.path == again.path
    assert len({first.path, half.path, retrained.path}) == 3


def test_another_architecture_is_refused_and_leaves_no_run(
    encoder_file: Path, tmp_path: Path, common: dict[str, Any]
) -> None:
    with pytest.raises(UserError, match=r"theirs\.safetensors"):
        import_encoder_file(encoder_file, FileOptions(encoder=ResNet(arch="resnet18")), **common)
    assert not list((tmp_path / "runs").glob("*/experiment.yaml"))


def test_what_a_file_does_not_say_is_asked_for(encoder_file: Path, common: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="say which"):
        import_encoder_file(encoder_file, **common)
    with pytest.raises(UserError, match="say on what data"):
        import_encoder_file(encoder_file, SAID, **common | {"data": None})


ENCODERS: list[EncoderSpec] = [
    SPEC,
    ResNet(arch="resnet18", stem="small"),
    SmallAlexNet(),
    ViT(width=16, depth=1, heads=2, patch=8, pool="mean", final_norm=False),
    ViT(width=16, depth=1, heads=4, patch=4, positions="sincos"),
]


@pytest.mark.parametrize("spec", ENCODERS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("layout", ["torchvision", "timm"])
def test_an_export_scores_to_the_digit_as_its_run_without_an_option(
    spec: EncoderSpec, layout: Any, tmp_path: Path
) -> None:
    experiment = tiny("untrained")
    experiment = experiment.but(recipe=experiment.recipe.but(encoder=spec))
    runs = tmp_path / "runs"
    run = pretrain(experiment, provenance={}, runs=runs, root=tmp_path)
    protocols = ["knn", "geometry"]
    own = evaluate(run, protocols, root=tmp_path)
    exported(run, tmp_path / "e.safetensors", layout=layout)
    for file in (tmp_path / "e.safetensors", run.encoder_path):
        for data in (None, DATA):
            folder = import_encoder_file(file, data=data, root=tmp_path, runs=runs)
            theirs = evaluate(folder, protocols, root=tmp_path)
            for name, score in own.items():
                assert theirs[name].values == score.values
                assert theirs[name].inputs == score.inputs


def test_an_option_wins_over_what_an_export_says(tmp_path: Path) -> None:
    run = finished("untrained", tmp_path)
    exported(run, tmp_path / "e.safetensors", layout="timm")
    common: dict[str, Any] = {"data": None, "root": tmp_path, "runs": tmp_path / "r"}
    said = FileOptions(normalization=MINE, resolution=8)
    folder = import_encoder_file(tmp_path / "e.safetensors", said, **common)
    inputs = evaluate(folder, ["knn"], root=tmp_path)["knn.v1"].inputs
    assert inputs == {"resolution": 8, "mean": [0.5] * 3, "std": [0.25] * 3}
    with pytest.raises(UserError, match="says itself what it holds"):
        import_encoder_file(tmp_path / "e.safetensors", FileOptions(encoder=ResNet()), **common)


def test_the_score_keeps_the_normalisation_and_what_was_read(
    encoder_file: Path, tmp_path: Path, common: dict[str, Any]
) -> None:
    state = build_encoder(SPEC, resolution=16).state_dict()
    heads = {f"module.head.{i}": torch.zeros(1) for i in range(5)}
    torch.save({f"module.encoder.{k}": v for k, v in state.items()} | heads, tmp_path / "t.pth")
    for normalization, expected in (
        (None, NORMALIZATIONS["imagenet"]),
        (NORMALIZATIONS["none"], NORMALIZATIONS["none"]),
        (MINE, MINE),
    ):
        said = FileOptions(encoder=SPEC, normalization=normalization)
        folder = import_encoder_file(tmp_path / "t.pth", said, **common)
        score = evaluate(folder, ["knn"], root=tmp_path)["knn.v1"]
        assert score.inputs == {
            "resolution": 16, "mean": list(expected.mean), "std": list(expected.std),
        }  # fmt: skip
        assert score.source == {
            "name": "t.pth", "layout": "SimSiam", "prefix": "module.encoder.",
            "loaded": len(state), "ignored": 5, "notes": [],
            "first_ignored": [f"module.head.{i}" for i in range(3)],
        }  # fmt: skip
        assert read_as(json.loads(json.dumps(score.to_dict())), Score, where="score") == score


def test_normalised_by_the_data_are_its_own_mean_and_std(
    encoder_file: Path, tmp_path: Path, common: dict[str, Any]
) -> None:
    folder = import_encoder_file(
        encoder_file, FileOptions(encoder=SPEC, normalization="data"), **common
    )
    own = finished("untrained", tmp_path)
    assert folder.summary()["mean"] == own.summary()["mean"]
    assert folder.summary()["std"] == own.summary()["std"]


@pytest.mark.parametrize(
    ("mean", "std"), [(123.0, 0.2), (0.5, 58.0), (0.5, 0.0), (-1.0, 0.5), (float("nan"), 0.5)]
)
def test_a_normalisation_of_other_units_is_refused(mean: float, std: float) -> None:
    with pytest.raises(UserError):
        Normalization(mean=(mean,) * 3, std=(std,) * 3)


def test_features_that_are_not_finite_are_not_blamed_on_training_here(
    tmp_path: Path, common: dict[str, Any]
) -> None:
    state = build_encoder(SPEC, resolution=16).state_dict()
    state["layer2.0.bn2.weight"] += 3e38
    state["layer2.0.bn2.bias"] += 3e38
    torch.save(state, tmp_path / "t.pth")
    folder = import_encoder_file(tmp_path / "t.pth", SAID, **common)
    with pytest.raises(UserError, match=r"its file, t\.pth, is damaged") as caught:
        evaluate(folder, ["knn"], root=tmp_path)
    assert "rain it again" not in str(caught.value)


def test_absurd_resolutions_are_refused_before_anything_is_made(
    encoder_file: Path, common: dict[str, Any]
) -> None:
    for resolution in (10**5, 10**30):
        with pytest.raises(UserError, match="lower --resolution"):
            import_encoder_file(
                encoder_file, FileOptions(encoder=SPEC, resolution=resolution), **common
            )


def test_data_without_a_resolution_of_its_own_needs_one(
    encoder_file: Path, common: dict[str, Any]
) -> None:
    data = ImageSet(name="folder", path=str(encoder_file.parent))
    with pytest.raises(UserError, match="--resolution"):
        import_encoder_file(encoder_file, SAID, **common | {"data": data})
