"""Probes of tokens, and few labels, of whole runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sslbench.engine.folder import RunFolder
from sslbench.engine.pretrain import pretrain
from sslbench.errors import UserError
from sslbench.evaluation.evaluate import evaluate, open_subject
from sslbench.evaluation.features import extract
from sslbench.evaluation.foreign import FileOptions, import_encoder_file
from sslbench.evaluation.linear import linear
from sslbench.evaluation.protocols import PROTOCOLS, Linear, TokenLinear
from sslbench.models import build_encoder
from sslbench.models.export import export_encoder
from sslbench.models.token_reader import TokenReader
from sslbench.recipes.specs import Shapes, ViT
from sslbench.tables.grid import plan, run
from sslbench.tables.measure import measure
from sslbench.tables.schema import Table, parse_table
from tests.evaluation.conftest import finished
from tests.tiny import DATA, tiny

CLASS, MEAN, BLOCKS = (f"linear.{x}.v1" for x in ("class-token", "mean-token", "last-blocks"))
DEEP = {"encoder__depth": 4}


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linear probes of two epochs."""
    for name, protocol in PROTOCOLS.items():
        if isinstance(protocol, Linear):
            quick = dataclasses.replace(protocol, epochs=2, least_steps=0)
            monkeypatch.setitem(PROTOCOLS, name, quick)


def vit(folder: Path, **changes: Any) -> RunFolder:
    """An untrained ViT, whose class token it is scored by."""
    experiment = tiny("untrained-vit", **changes)
    return pretrain(experiment, provenance={}, runs=folder / "runs", root=folder)


def test_tokens_are_probed_as_linear_does_and_kept_apart(tmp_path: Path) -> None:
    folder = vit(tmp_path, **DEEP)
    scores = evaluate(folder, ["linear", CLASS, MEAN, BLOCKS], root=tmp_path)
    own = scores["linear.features.v1"]
    assert scores[CLASS].values == own.values  # the class token is what this encoder gives
    subject = open_subject(folder, root=tmp_path)
    for name in (MEAN, BLOCKS):
        protocol = PROTOCOLS[name]
        assert isinstance(protocol, TokenLinear)
        reader = TokenReader(subject.encoder, reading=protocol.reading, blocks=protocol.blocks)
        expected = linear(
            extract(reader, subject.dataset, mean=subject.mean, std=subject.std),
            subject.train_labels, subject.test_labels, heldout=subject.heldout,
            num_classes=subject.num_classes, protocol=protocol,
        )  # fmt: skip
        assert scores[name].values == expected.values
        assert scores[name].chosen == expected.chosen
    widths = {
        path.name.split(".")[1]: load_file(path)["train"].shape[1]
        for path in folder.features_dir.iterdir()
    }
    assert widths == {"safetensors": 16, "class-1": 16, "mean-1": 16, "class-4": 64}


def test_kept_tokens_are_read_again_and_never_another_readings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = vit(tmp_path, **DEEP)
    first = evaluate(folder, [MEAN], root=tmp_path)[MEAN]
    (kept,) = folder.features_dir.iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(TokenReader, "forward", None)
        again = evaluate(folder, [MEAN], root=tmp_path, force=True)[MEAN]
    assert again.values == first.values
    classes = evaluate(folder, [CLASS], root=tmp_path)[CLASS]
    kept.rename(kept.with_name(kept.name.replace("mean-1", "class-1")))
    assert evaluate(folder, [CLASS], root=tmp_path, force=True)[CLASS].values == classes.values


def test_a_mean_pooled_encoder_is_read_by_its_class_token_too(tmp_path: Path) -> None:
    folder = vit(tmp_path, encoder__pool="mean")
    scores = evaluate(folder, ["linear", CLASS, MEAN], root=tmp_path)
    assert scores[MEAN].values == scores["linear.features.v1"].values


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("untrained", r"linear.class-token.v1 reads the tokens of a ViT; .*linear.features.v1"),
        ("raw-pixels", r"linear.class-token.v1 reads the tokens of a ViT"),
    ],
)
def test_an_encoder_without_tokens_is_refused_before_anything_is_computed(
    name: str, words: str, tmp_path: Path
) -> None:
    folder = finished(name, tmp_path)
    with pytest.raises(UserError, match=words):
        evaluate(folder, ["knn", CLASS], root=tmp_path)
    assert not folder.features_dir.exists()
    assert not folder.score_path("shapes", "knn.v1").exists()


def test_so_is_one_that_only_the_network_tells(tmp_path: Path) -> None:
    timm = {"kind": "Timm", "name": "resnet10t"}
    experiment = tiny("untrained", encoder=timm)
    folder = pretrain(experiment, provenance={}, runs=tmp_path / "runs", root=tmp_path)
    with pytest.raises(UserError, match="needs a ViT, and this encoder is a ResNet"):
        evaluate(folder, ["knn", MEAN], root=tmp_path)
    assert not folder.features_dir.exists()


def test_so_is_one_of_fewer_blocks(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="reads the last 4 blocks, and there are 2"):
        evaluate(vit(tmp_path), ["knn", BLOCKS], root=tmp_path)


def test_few_labels_of_a_small_set_are_refused_before_anything_is_computed(tmp_path: Path) -> None:
    folder = finished("untrained", tmp_path)
    with pytest.raises(UserError, match=r"1 % of the .* training images of class .* use more"):
        evaluate(folder, ["knn", "fewshot"], root=tmp_path)
    assert not folder.features_dir.exists()


def test_few_labels_of_a_run_are_scored(tmp_path: Path) -> None:
    data = Shapes(resolution=8, num_train=3000, num_test=50)
    experiment = tiny("raw-pixels")
    experiment = dataclasses.replace(experiment, data=data)
    folder = pretrain(experiment, provenance={}, runs=tmp_path / "runs", root=tmp_path)
    score = evaluate(folder, ["fewshot"], root=tmp_path)["fewshot.v1"]
    assert set(score.values) == {"top1_1", "top1_10", "spread_1", "spread_10"}
    assert all(0 <= value <= 100 for value in score.values.values())
    assert set(score.heldout) == {"top1_1", "top1_10"}
    assert not folder.predictions_path("shapes", "fewshot.v1").exists()


def test_an_encoder_file_of_others_is_read_by_its_tokens(tmp_path: Path) -> None:
    spec = ViT(patch=4, width=16, depth=4, heads=2)
    torch.manual_seed(0)
    path = tmp_path / "theirs.safetensors"
    export_encoder(build_encoder(spec, resolution=16), spec, path, "torchvision")
    folder = import_encoder_file(
        path, FileOptions(encoder=spec), data=DATA, root=tmp_path, runs=tmp_path / "runs"
    )
    scores = evaluate(folder, ["linear", CLASS, MEAN, BLOCKS], root=tmp_path)
    assert scores[CLASS].values == scores["linear.features.v1"].values
    assert scores[MEAN].source["layout"]


def table(rows: list[dict[str, Any]]) -> Table:
    """Class tokens of untrained ViTs."""
    column = {"key": "top1", "name": "top-1", "metric": f"{CLASS}:top1"}
    head = {"id": "tokens", "title": "Tokens", "source": "a test", "base": "untrained-vit"}
    small = {"encoder.width": 16, "encoder.depth": 2, "encoder.heads": 2, "encoder.patch": 4}
    return parse_table({**head, "set": small, "columns": [column], "rows": rows}, where="tokens")


def test_a_table_of_tokens_has_the_baselines_that_have_some(tmp_path: Path) -> None:
    asked = table([{"id": "own", "label": "own"}])
    request: dict[str, Any] = {"scale": "smoke", "seeds": 1, "runs": tmp_path / "runs",
                               "data": Shapes(resolution=8, num_train=40, num_test=20),
                               "root": tmp_path}  # fmt: skip
    assert not run(plan([asked], **request), root=tmp_path, device="cpu").failed
    result = measure(asked, **request)
    states = {row.id: row.cells["top1"].state for row in (*result.rows, *result.baselines)}
    assert states == {"own": "measured", "untrained": "measured", "raw-pixels": "published-only"}


def test_a_row_without_tokens_is_refused_when_a_grid_is_planned(tmp_path: Path) -> None:
    asked = table([{"id": "resnet", "label": "resnet", "recipe": "untrained"}])
    with pytest.raises(UserError, match=r"Table tokens, row resnet: .*reads the tokens of a ViT"):
        plan([asked], scale="smoke", seeds=1, runs=tmp_path / "runs", root=tmp_path)
    assert not (tmp_path / "runs").exists()
