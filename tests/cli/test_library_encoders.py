"""A network of timm or torchvision, from training to a file that other programs read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file

Run = Callable[..., tuple[int, str, str]]
SMALL = ["data.num_train=160", "data.num_test=60", "data.resolution=16"]
QUICK = ["--scale", "smoke", "--device", "cpu", "--runs", "runs", "--no-tensorboard",
         *(word for change in SMALL for word in ("--set", change))]  # fmt: skip
FEW = ["--set", "epochs=1"]
VIT = "encoder={kind: Timm, name: test_vit, patch: 8}"
MOBILE = "encoder={kind: Torchvision, name: mobilenet_v3_small}"


def top1(run: Run, name: str, *more: str) -> float:
    code, out, err = run("eval", name, "--protocol", "knn", "--runs", "runs", "--json", *more)
    assert code == 0, err
    (scores,) = json.loads(out).values()
    value: float = scores["knn.v1"]["values"]["top1"]
    return value


@pytest.mark.parametrize(("setting", "layout"), [(VIT, "timm"), (MOBILE, "torchvision")])
def test_it_is_trained_scored_and_exported_with_its_librarys_names(
    run: Run, setting: str, layout: str
) -> None:
    recipe = "simclr" if layout == "timm" else "untrained"  # the other is as large as it is
    more = FEW if layout == "timm" else []
    code, _, err = run("pretrain", recipe, *QUICK, *more, "--set", setting)
    assert code == 0, err
    (folder,) = Path("runs").iterdir()
    summary = json.loads((folder / "run.json").read_text())
    assert summary["status"] == "finished"
    assert {"timm", "torchvision"} <= summary.keys()
    assert run("export", folder.name, "--runs", "runs")[0] == 0
    file = folder / f"encoder.{layout}.safetensors"
    assert top1(run, folder.name) == top1(run, str(file))
    state = load_file(file)
    if layout == "timm":
        theirs = timm.create_model("test_vit", num_classes=0, img_size=16, patch_size=8)
        theirs.load_state_dict(state)
    else:
        theirs = torchvision.models.mobilenet_v3_small()
        theirs.classifier[3] = torch.nn.Identity()
        theirs.load_state_dict(state)
    other = {"timm": "torchvision", "torchvision": "timm"}[layout]
    code, _, err = run("export", folder.name, "--runs", "runs", "--to", other)
    assert code == 2
    assert f"export it with --to {layout}" in err


def test_a_file_of_either_library_is_judged_by_its_networks_name(run: Run) -> None:
    state = timm.create_model("test_resnet").state_dict()
    save_file({f"backbone.{key}": value for key, value in state.items()}, "theirs.safetensors")
    on = ["--dataset", "shapes", "--scale", "smoke", "--encoder"]
    assert top1(run, "theirs.safetensors", *on, "timm:test_resnet") >= 0
    code, _, err = run(
        "eval", "theirs.safetensors", *on, "timm:test_efficientnet", "--runs", "runs"
    )
    assert code == 2
    assert err.startswith("sslbench: theirs.safetensors: ")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("encoder={kind: Timm, name: resnet27}", "did you mean 'resnet26'"),
        ("encoder={kind: Timm, name: hf-hub:timm/resnet26}", "none are loaded"),
        ("encoder={kind: Torchvision, name: inception_v3}", "or larger images"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(run: Run, setting: str, words: str) -> None:
    code, _, err = run("pretrain", "simclr", *QUICK, *FEW, "--set", setting)
    assert code == 2
    assert words in err and len(err.strip().splitlines()) == 1


def test_local_crops_of_another_size_are_asked_for_before_training(run: Run) -> None:
    few = ["--set", "prototypes.count=64", "--set", "views.local.size=8"]
    setting = "encoder={kind: Torchvision, name: vit_b_16}"
    code, _, err = run("pretrain", "dino", *QUICK, *FEW, *few, "--set", setting)
    assert code == 2
    assert "set views.local.size=null, or views.num_local=0" in err
