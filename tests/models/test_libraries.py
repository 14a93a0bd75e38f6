"""Any network of timm or torchvision by its name: small ones of every family."""

from __future__ import annotations

import subprocess
import sys

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.testing import assert_close

from sslbench.errors import UserError
from sslbench.models import build_encoder, convert_batch_norm, keep_all_paths
from sslbench.models.libraries import require_views, unsaid_parameters
from sslbench.recipes.specs import BatchNorm, LibraryEncoder, ResNet, Timm, Torchvision, View, Views

SIDE = 32
NETWORKS: list[LibraryEncoder] = [
    *(
        Timm(name=name)
        for name in (
            "test_resnet", "test_efficientnet", "test_convnext", "test_byobnet", "test_nfnet",
            "test_mambaout", "mobilenetv3_small_050",
        )
    ),
    Timm(name="test_vit", patch=8, pool="avg", drop_path=0.2),
    Timm(name="test_convnext", patch=2, output_stride=8),
    *(
        Torchvision(name=name)
        for name in (
            "resnet18", "regnet_x_400mf", "mobilenet_v3_small", "squeezenet1_1",
            "shufflenet_v2_x0_5", "mnasnet0_5",
        )
    ),
]  # fmt: skip


def described(spec: LibraryEncoder) -> str:
    return "-".join(str(value) for _, value in spec.leaves() if value is not None)


def images(size: int = SIDE) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, size, size, generator=generator)


@pytest.mark.parametrize("spec", NETWORKS, ids=described)
def test_images_become_rows_of_num_features_and_the_gradient_reaches_the_first_layer(
    spec: LibraryEncoder,
) -> None:
    encoder = build_encoder(spec, resolution=SIDE)
    features = encoder(images())
    assert features.shape == (2, encoder.num_features)
    features.square().sum().backward()
    gradients = [p.grad for p in encoder.parameters()]
    assert all(g is not None for g in gradients)
    assert gradients[0].abs().sum() > 0


@pytest.mark.parametrize("spec", NETWORKS[::3], ids=described)
def test_the_seed_decides_the_start_whatever_was_asked_before(spec: LibraryEncoder) -> None:
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(build_encoder(spec, resolution=SIDE).state_dict())
        unsaid_parameters(spec, resolution=SIDE + 16 * seed)
    first, again, other = states
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
def test_torchvisions_network_is_what_its_classifier_reads(name: str) -> None:
    torch.manual_seed(0)
    ours = build_encoder(Torchvision(name=name), resolution=SIDE).eval()
    torch.manual_seed(0)
    theirs = torchvision.models.get_model(name, weights=None).eval()
    last = [m for m in theirs.modules() if isinstance(m, nn.Linear)][-1]
    with torch.no_grad():
        assert_close(last(ours(images())), theirs(images()), rtol=0, atol=0)


def test_timms_network_is_timms_without_classifier_for_images_of_that_size() -> None:
    torch.manual_seed(0)
    ours = build_encoder(Timm(name="test_vit", patch=8), resolution=SIDE)
    torch.manual_seed(0)
    theirs = timm.create_model("test_vit", num_classes=0, img_size=SIDE, patch_size=8)
    with torch.no_grad():
        assert_close(ours(images()), theirs(images()), rtol=0, atol=0)


@pytest.mark.parametrize(
    "spec",
    [Timm(name="test_vit", patch=8), Timm(name="swin_tiny_patch4_window7_224"),
     Timm(name="test_resnet"), Torchvision(name="swin_t")],
    ids=described,
)  # fmt: skip
def test_local_crops_are_taken_by_whatever_can_take_them(spec: LibraryEncoder) -> None:
    require_views(spec, crops(16), resolution=SIDE)


@pytest.mark.parametrize(
    "spec", [Timm(name="beit_base_patch16_224", patch=8), Torchvision(name="vit_b_16")]
)
def test_local_crops_are_refused_before_training_where_it_takes_one_size(
    spec: LibraryEncoder,
) -> None:
    match = "built for 32, takes no images of 16 .*set views.local.size=null, or views.num_local=0"
    with pytest.raises(UserError, match=match):
        require_views(spec, crops(16), resolution=SIDE)
    require_views(spec, crops(16).but(num_local=0), resolution=SIDE)


def crops(size: int) -> Views:
    return Views(local=View(size=size), num_local=2)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (Timm(name="resnet27"), "no network 'resnet27'; did you mean 'resnet26'"),
        (Torchvision(name="restnet18"), "no network 'restnet18'; did you mean 'resnet18'"),
        (Timm(name="qqqqqqqqqq"), r"'qqqqqqqqqq'; timm.list_models\(\) has the names"),
        (Timm(name="test_resnet", patch=4), "test_resnet has no patch; set encoder.patch=null"),
        (Timm(name="test_resnet", pool="x"), "of 32 pixels with pool=x .* choose other options"),
        (Timm(name="test_resnet", pool=""), "returns maps of .* and not one row for an image"),
        (Timm(name="test_vit", patch=5), r"patch size \(5\)\); choose another encoder.patch"),
        (Torchvision(name="inception_v3"), "takes no images of 32 .*, or larger images"),
    ],
    ids=lambda x: described(x) if isinstance(x, LibraryEncoder) else "",
)
def test_what_cannot_be_is_refused_in_a_sentence(spec: LibraryEncoder, words: str) -> None:
    with pytest.raises(UserError, match=words):
        build_encoder(spec, resolution=SIDE)


@pytest.mark.parametrize("name", ["resnet26.bt_in1k", "hf-hub:timm/resnet26", ""])
def test_trained_weights_have_no_name_here(name: str) -> None:
    with pytest.raises(UserError, match=r"no network's name.*none are loaded"):
        Timm(name=name)


def test_a_billion_weights_are_counted_without_memory_and_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    giant = Timm(name="aimv2_1b_patch14_224", patch=16)
    assert unsaid_parameters(giant, resolution=SIDE) > 10**9
    assert unsaid_parameters(ResNet(), resolution=SIDE) == 0
    monkeypatch.setattr("sslbench.memory.available_memory", lambda: 10**9)
    with pytest.raises(UserError, match=r"the weights of aimv2_1b.*about 4.9 GB of memory needed"):
        build_encoder(giant, resolution=SIDE)


def test_a_target_drops_nothing_whichever_library_it_is_of() -> None:
    for spec in (Timm(name="test_vit", drop_path=0.5), Torchvision(name="efficientnet_b0")):
        encoder = build_encoder(spec, resolution=SIDE)
        for module in encoder.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.momentum = 0.0
        with torch.no_grad():
            assert not torch.equal(encoder(images()), encoder(images()))
            keep_all_paths(encoder)
            assert torch.equal(encoder(images()), encoder(images()))


def test_split_batch_norm_keeps_the_activation_that_timm_has_inside() -> None:
    torch.manual_seed(0)
    encoder = build_encoder(Timm(name="test_efficientnet"), resolution=SIDE)
    both = images().repeat(2, 1, 1, 1)  # of equal halves both statistics are the same
    expected, keys = encoder(both), list(encoder.state_dict())
    split = convert_batch_norm(encoder, BatchNorm(mode="split", splits=2))
    assert list(split.state_dict()) == keys
    assert_close(split(both), expected)


def test_statistics_that_are_no_batch_norms_cannot_be_split() -> None:
    encoder = nn.Sequential(timm.layers.EvoNorm2dB0(4))
    with pytest.raises(UserError, match=r"EvoNorm.*set batch_norm.mode=local"):
        convert_batch_norm(encoder, BatchNorm(mode="split", splits=2))
    convert_batch_norm(encoder, BatchNorm(mode="local"))


def test_a_recipe_is_read_without_the_library() -> None:
    code = (
        "import sys; from sslbench.recipes.resolve import resolve; "
        "layer = ('--set', {'encoder': {'kind': 'Timm', 'name': 'no_such_network'}}); "
        "resolve('simclr', scale='smoke', layers=[layer]); "
        "assert not {'torch', 'timm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
