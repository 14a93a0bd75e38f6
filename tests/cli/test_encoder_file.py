"""Encoder files on the command line: what is said of them, and what is refused in a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sslbench.cli.encoder_file import FileRequest, encoder_spec
from sslbench.errors import UserError
from sslbench.models import build_encoder
from sslbench.models.card import NORMALIZATIONS, Normalization
from sslbench.recipes.specs import NarrowResNet, ResNet, Timm, Torchvision, ViT
from tests.evaluation.conftest import finished

Run = Callable[..., tuple[int, str, str]]
TINY = ["--protocol", "knn", "--runs", "runs"]


def scored(run: Run, *words: str) -> dict[str, Any]:
    code, out, err = run("eval", *words, *TINY, "--json")
    assert code == 0, err
    (scores,) = json.loads(out).values()
    score: dict[str, Any] = scores["knn.v1"]
    return score


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes of noise at 100 pixels, as Imagenette's folders have them."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in ("n01440764", "n02102040"):
            folder = tmp_path / "pictures" / split / name
            folder.mkdir(parents=True)
            for i in range(12):
                pixels = rng.integers(0, 255, (100, 100, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return tmp_path / "pictures"


def save_resnet18(path: Path, prefix: str = "") -> None:
    state = build_encoder(ResNet(arch="resnet18"), resolution=32).state_dict()
    torch.save({prefix + key: value for key, value in state.items()}, path)


def test_an_export_is_scored_without_an_option_and_to_the_digit(run: Run, tmp_path: Path) -> None:
    name = finished("untrained", tmp_path).path.name
    own = scored(run, name)
    code, out, err = run("export", name, "--runs", "runs", "--out", "e.safetensors")
    assert (code, out) == (0, "e.safetensors\n"), err
    for file in ("e.safetensors", f"runs/{name}/encoder.safetensors"):
        theirs = scored(run, file)
        assert theirs["values"] == own["values"]
        assert theirs["inputs"] == own["inputs"]
    assert scored(run, "e.safetensors", "--dataset", "shapes")["num_train"] == 2000  # smoke's


def test_a_run_is_scored_at_another_side(run: Run, tmp_path: Path) -> None:
    name = finished("untrained", tmp_path).path.name
    assert scored(run, name)["inputs"]["resolution"] == 16
    assert scored(run, name, "--resolution", "24")["inputs"]["resolution"] == 24
    words = ["--to", "shapes", "--resolution", "24", *TINY, "--json"]
    code, out, err = run("transfer", name, *words)
    assert code == 0, err
    ((score,),) = (scores.values() for scores in json.loads(out).values())
    assert score["inputs"]["resolution"] == 24


def test_a_file_is_scored_at_the_datas_own_resolution(run: Run, pictures: Path) -> None:
    save_resnet18(Path("theirs.pth"), "module.encoder_q.")
    words = ["theirs.pth", "--encoder", "resnet18", "--dataset", f"imagenette:{pictures}"]
    assert scored(run, *words)["inputs"]["resolution"] == 96
    assert scored(run, *words, "--resolution", "32")["inputs"]["resolution"] == 32
    folder = ["theirs.pth", "--encoder", "resnet18", "--dataset", f"folder:{pictures}"]
    assert "e.g. --resolution 224" in run("eval", *folder, *TINY)[2]


def test_what_was_read_and_how_is_printed(run: Run, tmp_path: Path) -> None:
    state = build_encoder(ResNet(arch="resnet18"), resolution=32).state_dict()
    heads = {f"module.encoder_q.fc.{i}": torch.zeros(1) for i in range(5)}
    torch.save({f"module.encoder_q.{k}": v for k, v in state.items()} | heads, "theirs.pth")
    words = ["theirs.pth", "--encoder", "resnet18", "--dataset", "shapes", "--scale", "smoke"]
    code, out, err = run("eval", *words, *TINY, "--mean", "0", "--std", "1", "--resolution", "8")
    assert code == 0, err
    line = out.strip().splitlines()[-1]
    assert line == (
        f"theirs.pth: layout MoCo; prefix 'module.encoder_q'; {len(state)} keys used, 5 ignored "
        "(module.encoder_q.fc.0, module.encoder_q.fc.1, module.encoder_q.fc.2, ...); 8 pixels; "
        "mean 0, std 1 (none)."
    )
    imported = next(Path("runs").glob("external-*")).name
    code, out, err = run("eval", imported, *TINY, "--dataset", "shapes")  # by its name, too
    assert code == 0, err
    assert "layout MoCo" in out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["missing.pth"], "missing.pth: no such file"),
        (["some/where/missing.safetensors"], "no such file"),
        (["x" * 5000], "not a path"),
        (["RUN", "--resolution", "100000"], "of memory needed"),
        (["RUN", "--encoder", "resnet50", "--part", "x"], "leave out --encoder, --part"),
        (["RUN", "--normalization", "half"], "leave out --normalization"),
        (["FILE", "--dataset", "shapes"], "say which, e.g. --encoder"),
        (["FILE"], "say on what data"),
        (["FILE", "--encoder", "resnet18-foo", "--dataset", "shapes"], "no 'resnet18-foo'"),
        (["FILE", "--encoder", "resnet18", "--heads", "6"], "--heads is of a ViT"),
        (["FILE", "--heads", "6"], "--heads is of a ViT"),
        (["FILE", "--encoder", "resnet18", "--mean", "0.5"], "belong together"),
        (["FILE", "--encoder", "resnet18", "--mean", "a", "--std", "1"], "--mean a: write one"),
        (["FILE", "--encoder", "resnet18", "--mean", "123", "--std", "58"], "divide"),
        (["FILE", "--encoder", "resnet18", "--mean", "0", "--std", "1", "--normalization", "half"],
         "not both"),
        (["FILE", "--encoder", "resnet18", "--normalization", "imagnet"], "mean 'imagenet'"),
        (["FILE", "--encoder", "resnet18", "--positions", "x"], "known: dino, mae, timm"),
        (["FILE", "--encoder", "resnet18", "--dataset", "shapes", "--resolution", "100000"],
         "lower --resolution"),
        (["FILE", "--encoder", "resnet18", "--dataset", "shapes", "--part", "x"],
         "no encoder in the part 'x'"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_sentence_and_exit_code_2(
    run: Run, tmp_path: Path, words: list[str], expected: str
) -> None:
    torch.save(build_encoder(NarrowResNet(width=4), resolution=8).state_dict(), "f.pth")
    name = finished("untrained", tmp_path).path.name
    said = [{"RUN": name, "FILE": "f.pth"}.get(word, word) for word in words]
    code, _, err = run("eval", *said, *TINY)
    assert code == 2
    assert expected in err
    assert err.startswith("sslbench: ") and len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("command", [["transfer", "--to", "cifar10"], ["export"]])
def test_commands_on_runs_say_what_to_do_with_a_file(run: Run, command: list[str]) -> None:
    Path("f.pth").write_bytes(b"")
    code, _, err = run(command[0], "f.pth", *command[1:])
    assert code == 2
    assert "sslbench eval f.pth" in err


@pytest.mark.parametrize("out", [".", "f/e.safetensors", "e.pth"])
def test_an_export_to_where_none_can_be_is_one_sentence(run: Run, tmp_path: Path, out: str) -> None:
    Path("f").write_text("")
    name = finished("untrained", tmp_path).path.name
    code, _, err = run("export", name, "--runs", "runs", "--out", out)
    assert code == 2
    assert err.startswith("sslbench: ") and len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("resnet50", ResNet()),
        ("wide_resnet50_2", ResNet(arch="wide_resnet50_2")),
        ("resnet18-small", ResNet(arch="resnet18", stem="small")),
        ("resnet18-small-pad2", ResNet(arch="resnet18", stem="small", stem_padding=2)),
        ("resnet18-small-norelu", ResNet(arch="resnet18", stem="small", stem_relu=False)),
        ("vit-small-16", ViT(arch="small", patch=16)),
        ("timm:resnet26", Timm(name="resnet26")),
        ("torchvision:mobilenet_v3_small", Torchvision(name="mobilenet_v3_small")),
    ],
)
def test_encoders_have_names(name: str, spec: Any) -> None:
    assert encoder_spec(name) == spec


@pytest.mark.parametrize(
    "name",
    ["", "resnet50-foo", "resnet19", "resnet18-pad2", "small", "vit", "vit-small", "vit-giant-14",
     "vit-small-16-foo", "resnet18-small-small", "vit-small-0", "timm:", "timm:a.b", "keras:a"],
)  # fmt: skip
def test_names_of_no_encoder_are_refused(name: str) -> None:
    with pytest.raises(UserError):
        encoder_spec(name)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({}, None),
        ({"normalization": "data"}, "data"),
        ({"normalization": "half"}, NORMALIZATIONS["half"]),
        ({"mean": "0", "std": "1"}, NORMALIZATIONS["none"]),
        (
            {"mean": "0.1,0.2,0.3", "std": "0.5"},
            Normalization(mean=(0.1, 0.2, 0.3), std=(0.5,) * 3),
        ),
    ],
)
def test_a_normalisation_is_said_by_name_or_in_numbers(
    request_: dict[str, Any], expected: Any
) -> None:
    assert FileRequest(**request_).options().normalization == expected
