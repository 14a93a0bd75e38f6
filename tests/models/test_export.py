from __future__ import annotations

import argparse
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.testing import assert_close

from sslbench.errors import UserError
from sslbench.models import build_encoder
from sslbench.models.card import EncoderCard, Normalization, read_card
from sslbench.models.export import export_encoder, load_encoder_file
from sslbench.models.layouts import NAMINGS, find_encoders, to_torchvision_vit
from sslbench.recipes.base import Spec
from sslbench.recipes.specs import (
    ImageSet,
    NarrowResNet,
    RawPixels,
    ResNet,
    SmallAlexNet,
    Views,
    ViT,
)

NARROW = NarrowResNet(width=4, blocks=(1, 1))
RESNET18 = ResNet(arch="resnet18")
VIT = ViT(arch="tiny", patch=16)
State = dict[str, Tensor]


def state_of(spec: Spec, resolution: int = 32, seed: int = 0) -> State:
    torch.manual_seed(seed)
    state = build_encoder(spec, resolution=resolution).state_dict()
    return {k: v if k.endswith("tracked") else torch.rand_like(v) for k, v in state.items()}


def prefixed(state: State, prefix: str) -> State:
    return {prefix + key: value for key, value in state.items()}


# --- export -------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["torchvision", "timm"])
def test_a_resnet_loads_strictly_into_torchvision_and_timm(tmp_path: Path, layout: Any) -> None:
    encoder = build_encoder(RESNET18, resolution=32).eval().to(memory_format=torch.channels_last)
    export_encoder(encoder, RESNET18, tmp_path / "e.safetensors", layout)
    if layout == "timm":
        other: nn.Module = timm.create_model("resnet18", num_classes=0)
    else:
        other = torchvision.models.resnet18()
        other.fc = nn.Identity()
    other.load_state_dict(load_file(tmp_path / "e.safetensors"), strict=True)
    images = torch.randn(2, 3, 32, 32)
    assert_close(other.eval()(images), encoder(images))


@pytest.mark.parametrize("layout", ["torchvision", "timm"])
def test_a_vit_loads_strictly_into_torchvision_and_timm(tmp_path: Path, layout: Any) -> None:
    encoder = build_encoder(VIT, resolution=32).eval()
    export_encoder(encoder, VIT, tmp_path / "e.safetensors", layout)
    if layout == "timm":
        other: nn.Module = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=0)
    else:
        other = torchvision.models.VisionTransformer(32, 16, 12, 3, 192, 768)
        other.heads = nn.Identity()
    other.load_state_dict(load_file(tmp_path / "e.safetensors"), strict=True)
    images = torch.randn(2, 3, 32, 32)
    assert_close(other.eval()(images), encoder(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layout", ["torchvision", "timm"])
@pytest.mark.parametrize("spec", [NARROW, VIT, SmallAlexNet()], ids=lambda s: type(s).__name__)
def test_what_was_exported_loads_again(tmp_path: Path, spec: Spec, layout: Any) -> None:
    encoder = build_encoder(spec, resolution=32)
    export_encoder(encoder, spec, tmp_path / "new" / "e.safetensors", layout)
    again, report = load_encoder_file(tmp_path / "new" / "e.safetensors", spec, resolution=32)
    assert_close(again.state_dict(), encoder.state_dict(), rtol=0, atol=0)
    assert report.loaded == len(encoder.state_dict())
    assert report.ignored == ()
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["e.safetensors"]


def test_encoders_without_weights_and_unknown_layouts_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "e.safetensors"
    pixels = build_encoder(RawPixels(), resolution=4)
    with pytest.raises(UserError, match="RawPixels has no weights"):
        export_encoder(pixels, RawPixels(), path)
    with pytest.raises(UserError, match="RawPixels has no weights"):
        load_encoder_file(path, RawPixels(), resolution=4)
    layout: Any = "keras"
    with pytest.raises(UserError, match="No layout 'keras'"):
        export_encoder(build_encoder(NARROW, resolution=8), NARROW, path, layout)
    assert not path.exists()


@pytest.mark.parametrize(
    "spec",
    [NARROW, SmallAlexNet(), VIT.but(width=32, depth=1, heads=2, pool="mean", positions="none")],
    ids=lambda s: type(s).__name__,
)
def test_an_export_is_the_same_bytes_each_time_and_says_what_it_holds(
    tmp_path: Path, spec: Any
) -> None:
    card = EncoderCard(
        encoder=spec,
        views=Views(),
        resolution=32,
        normalization=Normalization(mean=(0.1, 0.2, 1 / 3), std=(0.5, 0.5, 0.5)),
        data=ImageSet(name="folder", path="/home/me/secret"),
        scale="laptop",
    )
    encoder = build_encoder(spec, resolution=32)
    files = [
        tmp_path / f"{i}.safetensors" for i in range(2 if isinstance(spec, SmallAlexNet) else 6)
    ]
    for path in files:
        export_encoder(encoder, spec, path, card=card)
    assert len({path.read_bytes() for path in files}) == 1
    assert read_card(files[0]) == card.but(data=ImageSet(name="folder"))
    assert b"secret" not in files[0].read_bytes()[:5000]
    _, report = load_encoder_file(files[0], spec, resolution=32)
    assert (report.layout, report.notes) == ("sslbench", ())


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"version": 2}', '{"version": 1, "encoder": "Nothing"}', "[" * 99999]
)
def test_a_damaged_card_is_refused(tmp_path: Path, text: str) -> None:
    save_file(state_of(NARROW), tmp_path / "e.safetensors", {"sslbench": text})
    with pytest.raises(UserError, match="what it says about itself cannot be read"):
        read_card(tmp_path / "e.safetensors")


def test_a_card_of_absurd_size_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    save_file(state_of(NARROW), tmp_path / "e.safetensors")
    for spec, says in (
        (NARROW.but(blocks=(10**9,)), "too few for"),
        (NARROW.but(width=10**6), "of memory"),
    ):
        with pytest.raises(UserError, match=says):
            load_encoder_file(tmp_path / "e.safetensors", spec, resolution=32)


def test_an_export_goes_to_a_safetensors_file_that_can_be_written(tmp_path: Path) -> None:
    encoder = build_encoder(NARROW, resolution=8)
    (tmp_path / "file").write_text("")
    for path, says in (
        (tmp_path, "it is a folder"),
        (tmp_path / "e.pth", "name a .safetensors file"),
        (tmp_path / "file" / "e.safetensors", "Cannot write"),
    ):
        with pytest.raises(UserError, match=says):
            export_encoder(encoder, NARROW, path)


# --- other people's files -----------------------------------------------------------------------


def _moco(s: State) -> Any:
    momentum = {k: v * 0 if v.is_floating_point() else v for k, v in s.items()}
    both = prefixed(momentum, "module.encoder_k.") | prefixed(s, "module.encoder_q.")
    head = {"module.encoder_q.fc.0.weight": torch.zeros(2), "module.queue": torch.zeros(3)}
    return {"epoch": 200, "arch": "resnet50", "state_dict": both | head, "optimizer": {"lr": 0.1}}


def _moco_v3(s: State) -> Any:
    momentum = prefixed({k: v * 0 for k, v in s.items()}, "module.momentum_encoder.")
    return {"state_dict": momentum | prefixed(s, "module.base_encoder.")}


def _simsiam(s: State) -> Any:
    head = {"module.encoder.fc.0.weight": torch.zeros(2), "module.predictor.0.bias": torch.zeros(1)}
    return {"state_dict": prefixed(s, "module.encoder.") | head}


def _swav(s: State) -> Any:
    return prefixed(s, "module.") | {"module.prototypes.weight": torch.zeros(3, 2)}


def _barlow(s: State) -> Any:
    head = {"module.bn.running_mean": torch.zeros(2)}
    return {"epoch": 1, "model": prefixed(s, "module.backbone.") | head}


def _solo(s: State) -> Any:
    momentum = prefixed({k: v * 0 for k, v in s.items()}, "momentum_backbone.")
    return {"state_dict": momentum | prefixed(s, "backbone."), "hyper_parameters": {"lr": 0.3}}


def _lightly(s: State) -> Any:
    sequential = _sequential(s, 4)
    momentum = prefixed({k: v * 0 for k, v in sequential.items()}, "backbone_momentum.")
    return {"state_dict": momentum | prefixed(sequential, "backbone.")}


def _vissl(s: State) -> Any:
    model = {"trunk": prefixed(s, "_feature_blocks."), "heads": {"0.clf.weight": torch.zeros(2)}}
    return {"classy_state_dict": {"base_model": {"model": model}}, "iteration": 5}


def _dino_resnet(s: State) -> Any:
    student = prefixed({k: v * 0 for k, v in s.items()}, "module.backbone.")
    teacher = prefixed(s, "backbone.") | {"head.mlp.0.weight": torch.zeros(2)}
    options = argparse.Namespace(arch="resnet50", lr=0.03)
    return {"student": student, "teacher": teacher, "args": options, "epoch": 1}


def _moco_cifar(s: State) -> Any:
    net = _sequential(s, 3)
    momentum = prefixed({k: v * 0 for k, v in net.items()}, "encoder_k.net.")
    return {"state_dict": momentum | prefixed(net, "encoder_q.net.")}


def _simclr_port(s: State) -> Any:
    return prefixed(_sequential(s, 3), "module.f.") | {"module.g.0.weight": torch.zeros(2)}


def _supcontrast(s: State) -> Any:
    shortcut = {k.replace("downsample", "shortcut"): v for k, v in s.items()}
    return {"opt": argparse.Namespace(lr=0.5), "model": prefixed(shortcut, "encoder.module.")}


def _kuangliu(s: State) -> Any:
    shortcut = {k.replace("downsample", "shortcut"): v for k, v in s.items()}
    return {"net": prefixed(shortcut, "module."), "acc": 95.0, "epoch": 200}


def _byol_nets(s: State) -> Any:
    target = {k: v * 0 for k, v in s.items()}
    return {"online_network_state_dict": prefixed(s, "encoder."),
            "target_network_state_dict": prefixed(target, "encoder.")}  # fmt: skip


def _sequential(s: State, first: int) -> State:
    """A torchvision state as an `nn.Sequential` has it whose first stage is number `first`."""
    numbers = {"conv1": "0", "bn1": "1", "layer1": str(first), "layer2": str(first + 1)}
    parts = {k: k.partition(".") for k in s}
    return {f"{numbers[a]}.{b}": s[k] for k, (a, _, b) in parts.items()}


def _old_torchvision(s: State) -> Any:
    counters = {k for k in s if k.endswith("num_batches_tracked")}
    return {k: v for k, v in s.items() if k not in counters} | {"fc.weight": torch.zeros(2, 2)}


LAYOUTS: dict[str, tuple[Callable[[State], Any], str]] = {
    "torchvision": (_old_torchvision, "torchvision or timm"),
    "moco": (_moco, "MoCo"),
    "moco-v3": (_moco_v3, "MoCo v3"),
    "simsiam": (_simsiam, "SimSiam"),
    "swav": (_swav, "SwAV, or another behind DataParallel"),
    "barlow": (_barlow, "Barlow Twins or DINO"),
    "solo-learn": (_solo, "lightly, solo-learn or DINO"),
    "lightly": (_lightly, "lightly, solo-learn or DINO"),
    "vissl": (_vissl, "VISSL"),
    "dino": (_dino_resnet, "DINO teacher"),
    "moco-cifar": (_moco_cifar, "MoCo's CIFAR demo"),
    "simclr-port": (_simclr_port, "a SimCLR port"),
    "supcontrast": (_supcontrast, "SupContrast"),
    "kuangliu": (_kuangliu, "SwAV, or another behind DataParallel"),
    "byol": (_byol_nets, "BYOL, online network"),
    "model_state_dict": (lambda s: {"model_state_dict": s}, "torchvision or timm"),
    "simclr_state": (lambda s: {"simclr_state": s, "epoch": 3}, "torchvision or timm"),
    "encoder": (lambda s: {"encoder": s}, "torchvision or timm"),
    "other": (lambda s: prefixed(s, "my.net."), "unknown, prefix 'my.net.'"),
}


def flattened(value: Any, prefix: str = "") -> State:
    """What a converter to safetensors makes of nested dictionaries."""
    if isinstance(value, Tensor):
        return {prefix.rstrip("."): value}
    if not isinstance(value, dict):
        return {}
    return {k: t for key, v in value.items() for k, t in flattened(v, f"{prefix}{key}.").items()}


@pytest.mark.parametrize("converted", [False, True])
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_fills_the_encoder(name: str, converted: bool, tmp_path: Path) -> None:
    write, layout = LAYOUTS[name]
    state = state_of(NARROW)
    if converted:  # which sorts the keys
        path = tmp_path / "theirs.safetensors"
        save_file({k: v.clone() for k, v in flattened(write(state)).items()}, path)
    else:
        path = tmp_path / "theirs.pth"
        torch.save(write(state), path)
    encoder, report = load_encoder_file(path, NARROW, resolution=32)
    assert_close(encoder.state_dict(), state, rtol=0, atol=0)
    assert converted or report.layout == layout


@pytest.mark.parametrize("suffix", [".torch", ".bin", ".ckpt"])
def test_the_suffixes_of_vissl_and_transformers_are_read(suffix: str, tmp_path: Path) -> None:
    torch.save(_vissl(state_of(NARROW)), tmp_path / f"theirs{suffix}")
    _, report = load_encoder_file(tmp_path / f"theirs{suffix}", NARROW, resolution=32)
    assert report.layout == "VISSL"


def test_what_was_not_taken_is_reported(tmp_path: Path) -> None:
    torch.save(_moco(state_of(NARROW)), tmp_path / "theirs.pth.tar")
    _, report = load_encoder_file(tmp_path / "theirs.pth.tar", NARROW, resolution=32)
    assert report.prefix == "state_dict.module.encoder_q."
    some = {"state_dict.module.encoder_q.fc.0.weight", "state_dict.module.queue"}
    assert some < set(report.ignored)
    assert report.loaded == len(state_of(NARROW))


@pytest.mark.parametrize("write", ["timm", "mae", "dino", "torchvision"])
def test_vit_layouts_fill_the_encoder(write: str, tmp_path: Path) -> None:
    state = state_of(VIT)
    files: dict[str, Any] = {
        "timm": state | {"head.weight": torch.zeros(2)},
        "mae": {
            "model": state | {"mask_token": torch.zeros(1), "decoder_blocks.0.w": torch.ones(1)}
        },
        "dino": {"teacher": prefixed(state, "backbone.")},
        "torchvision": {to_torchvision_vit(k): v for k, v in state.items()},
    }
    torch.save(files[write], tmp_path / "theirs.pt")
    said = VIT.but(heads=3)  # at this width not every project's
    encoder, _ = load_encoder_file(tmp_path / "theirs.pt", said, resolution=32)
    assert_close(encoder.state_dict(), state, rtol=0, atol=0)


def test_a_resnet_in_a_sequential_is_recognised() -> None:
    with torch.device("meta"):
        resnet = torchvision.models.resnet18()
        wanted = build_encoder(RESNET18, resolution=32).state_dict()
    keys = nn.Sequential(*list(resnet.children())[:-1]).state_dict()
    (found,) = find_encoders(keys, NAMINGS[ResNet])
    assert {found.naming.ours(k) for k in keys} == set(wanted)


def test_positions_are_resampled_to_the_resolution(tmp_path: Path) -> None:
    head = {"head.weight": torch.zeros(2)}
    save_file(state_of(VIT, resolution=64) | head, tmp_path / "theirs.safetensors")
    encoder, report = load_encoder_file(tmp_path / "theirs.safetensors", VIT, resolution=32)
    assert report.notes == (
        "positions resampled from 4x4 to 2x2 patches, as timm does it (bicubic, antialiased)",
    )
    assert encoder.get_parameter("pos_embed").shape == (1, 5, 192)
    assert encoder(torch.randn(1, 3, 32, 32)).isfinite().all()


def test_half_precision_files_become_float32(tmp_path: Path) -> None:
    half = {k: v.half() if v.is_floating_point() else v for k, v in state_of(NARROW).items()}
    save_file(half, tmp_path / "theirs.safetensors")
    encoder, _ = load_encoder_file(tmp_path / "theirs.safetensors", NARROW, resolution=32)
    assert all(p.dtype == torch.float32 for p in encoder.parameters())


# --- files that do not fit ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "asked", "message"),
    [
        (NARROW, NARROW.but(width=8), "'conv1.weight' is 4x3x3x3 where NarrowResNet"),
        (NARROW, NARROW.but(blocks=(1, 1, 1)), "lacks 'layer3.0.conv1.weight'"),
        (NARROW, NARROW.but(blocks=(1,)), "also holds 'layer2.0."),
        (NARROW, VIT, "holds a ResNet, not a ViT"),
        (RESNET18, RESNET18.but(stem="small"), "another stem: try --encoder resnet18[.]"),
    ],
)
def test_another_architecture_is_refused(
    held: Spec, asked: Spec, message: str, tmp_path: Path
) -> None:
    save_file(state_of(held), tmp_path / "theirs.safetensors")
    with pytest.raises(UserError, match=message):
        load_encoder_file(tmp_path / "theirs.safetensors", asked, resolution=32)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    save_file({"word.weight": torch.zeros(2)}, tmp_path / "text.safetensors")
    with pytest.raises(UserError, match=r"no NarrowResNet recognised .*'word.weight'"):
        load_encoder_file(tmp_path / "text.safetensors", NARROW, resolution=32)


# --- files that are not what they say -----------------------------------------------------------


class RunsCode:
    """When unpickled, writes a file: what a malicious checkpoint would do worse."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> Any:
        return (Path.touch, (self.proof,))


def _torch_zip(value: Any, path: Path) -> None:
    torch.save(value, path)


def _torch_legacy(value: Any, path: Path) -> None:
    torch.save(value, path, _use_new_zipfile_serialization=False)


def _pickle(value: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(value, protocol=2))


@pytest.mark.parametrize("write", [_torch_zip, _torch_legacy, _pickle])
def test_a_file_that_would_run_code_is_refused_and_runs_none(
    write: Callable[[Any, Path], None], tmp_path: Path
) -> None:
    path, proof = tmp_path / "theirs.pth", tmp_path / "it ran"
    write({"state_dict": state_of(NARROW), "extra": RunsCode(proof)}, path)
    with pytest.raises(UserError, match="could run code"):
        load_encoder_file(path, NARROW, resolution=32)
    assert not proof.exists()
    if write is _pickle:
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert proof.exists()  # so the file was armed


@pytest.mark.parametrize("write", [_torch_zip, _torch_legacy])
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.3, 0.99])
def test_a_truncated_file_is_refused(
    write: Callable[[Any, Path], None], kept: float, tmp_path: Path
) -> None:
    path = tmp_path / "theirs.pth"
    write(state_of(NARROW), path)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(UserError, match="not a complete PyTorch file"):
        load_encoder_file(path, NARROW, resolution=32)


def test_a_truncated_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "theirs.safetensors"
    save_file(state_of(NARROW), path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UserError, match="not a complete safetensors file"):
        load_encoder_file(path, NARROW, resolution=32)


def test_a_web_page_saved_as_weights_is_refused_without_advice_to_trust_it(tmp_path: Path) -> None:
    path = tmp_path / "theirs.pth"
    path.write_text("<!DOCTYPE html><title>404</title>")
    with pytest.raises(UserError) as caught:
        load_encoder_file(path, NARROW, resolution=32)
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [3, {}, {"state_dict": {"epoch": 3}}, [torch.ones(2)]],
    ids=["3", "{}", "epoch", "list"],
)
def test_a_file_without_tensors_by_name_is_refused(value: Any, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "theirs.pt")
    with pytest.raises(UserError, match="no dictionary of tensors"):
        load_encoder_file(tmp_path / "theirs.pt", NARROW, resolution=32)


def test_a_missing_file_and_another_suffix_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_encoder_file(tmp_path / "none.pt", NARROW, resolution=32)
    with pytest.raises(UserError, match=r"read from \.safetensors"):
        load_encoder_file(tmp_path / "weights.onnx", NARROW, resolution=32)
