from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from sslbench.distributed import rank, world_size
from sslbench.errors import UserError
from sslbench.models import build_encoder, build_head, convert_batch_norm
from sslbench.models.batch_norm import BatchNorm
from sslbench.recipes import specs
from sslbench.recipes.specs import MLP, NarrowResNet
from tests.reference.processes import run_processes

SYNCHRONIZED = specs.BatchNorm()
LOCAL = specs.BatchNorm(mode="local")
N = 16


def split(splits: int) -> specs.BatchNorm:
    return specs.BatchNorm(mode="split", splits=splits)


def network(spec: specs.BatchNorm, device: str = "cpu") -> nn.Module:
    """A seeded encoder and head in float64 with the spec's batch norms."""
    torch.manual_seed(0)
    encoder = build_encoder(NarrowResNet(width=4, blocks=(1, 1)), resolution=8)
    head = build_head(MLP(hidden=(6,), out=5, out_norm=True, out_norm_affine=False), 8)
    return convert_batch_norm(nn.Sequential(encoder, head), spec).to(device).double()


def images(device: str = "cpu") -> Tensor:
    generator = torch.Generator().manual_seed(1)
    offset = torch.arange(N).view(N, 1, 1, 1) / 2  # processes differ in mean
    x = torch.randn(N, 3, 8, 8, generator=generator, dtype=torch.float64) + offset
    return x.to(device)


def train_once(spec: specs.BatchNorm, device: str = "cpu") -> dict[str, Any]:
    """One forward and backward on this process's rows, then an evaluation of all."""
    model, count = network(spec, device), N // world_size()
    rows = images(device)[rank() * count : (rank() + 1) * count].requires_grad_()
    out = model(rows)
    weights = torch.arange(5, device=device, dtype=torch.float64)
    (out.sin() @ weights).mean().backward()
    gradients = {k: p.grad for k, p in model.named_parameters()}
    with torch.no_grad():
        evaluated = model.eval()(images(device))
    result = {"out": out.detach(), "rows": rows.grad, "parameters": gradients,
              "buffers": dict(model.named_buffers()), "evaluated": evaluated}  # fmt: skip
    return {k: _cpu(v) for k, v in result.items()}


def _cpu(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: v.cpu() for k, v in value.items()}
    return value.cpu()


def train_all(device: str = "cpu") -> dict[str, dict[str, Any]]:
    cases = {"synchronized": SYNCHRONIZED, "local": LOCAL, "split 2": split(2), "split 4": split(4)}
    return {name: train_once(spec, device) for name, spec in cases.items()}


def refused() -> str:
    try:
        convert_batch_norm(nn.BatchNorm1d(2), split(3))
    except UserError as error:
        return str(error)
    return ""


def both() -> tuple[dict[str, dict[str, Any]], str]:
    return train_all(), refused()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    return run_processes(both, folder=tmp_path_factory.mktemp("two"))


def assert_two_are_one(halves: list[dict[str, Any]], one: dict[str, Any]) -> None:
    """Values, gradients as DDP averages them, running statistics and evaluation."""
    assert_close(torch.cat([h["out"] for h in halves]), one["out"])
    assert_close(torch.cat([h["rows"] for h in halves]) / 2, one["rows"])
    for name, grad in one["parameters"].items():
        assert_close(sum(h["parameters"][name] for h in halves) / 2, grad)
    assert max(grad.abs().max() for grad in one["parameters"].values()) > 1e-2
    for half in halves:
        assert_close(half["buffers"], one["buffers"])
        assert_close(half["evaluated"], one["evaluated"])


def test_synchronised_on_two_processes_is_one_process_with_all_rows(two: list[Any]) -> None:
    one = train_once(SYNCHRONIZED)
    assert_two_are_one([results["synchronized"] for results, _ in two], one)


def test_groups_of_the_global_batch_do_not_depend_on_the_processes(two: list[Any]) -> None:
    assert_two_are_one([results["split 4"] for results, _ in two], train_once(split(4)))


def test_two_groups_on_one_process_are_two_processes_with_local_statistics(two: list[Any]) -> None:
    halves, one = [results["local"] for results, _ in two], train_once(split(2))
    assert_close(torch.cat([h["out"] for h in halves]), one["out"])
    assert_close(torch.cat([h["rows"] for h in halves]) / 2, one["rows"])
    for name in (k for k in one["buffers"] if "running" in k):
        assert_close(sum(h["buffers"][name] for h in halves) / 2, one["buffers"][name])
    assert_two_are_one([results["split 2"] for results, _ in two], one)


def test_groups_that_do_not_divide_among_processes_are_refused(two: list[Any]) -> None:
    assert all("3 groups do not divide among 2" in message for _, message in two)


@pytest.mark.gpu
def test_synchronised_on_two_processes_is_one_process_on_a_gpu(tmp_path: Any) -> None:
    halves = [r["synchronized"] for r in run_processes(train_all, "cuda", folder=tmp_path)]
    assert_two_are_one(halves, train_once(SYNCHRONIZED, "cuda"))


@pytest.mark.parametrize("shape", [(6, 3), (6, 3, 4, 4)])
@pytest.mark.parametrize("groups", [None, 1])
def test_on_one_process_both_ways_are_torchs_layer(shape: tuple[int, ...], groups: Any) -> None:
    plain: Any = nn.BatchNorm1d(3) if len(shape) == 2 else nn.BatchNorm2d(3)
    nn.init.normal_(plain.weight)
    nn.init.normal_(plain.bias)
    copy = BatchNorm(type(plain)(3), groups=groups)
    copy.load_state_dict(plain.state_dict())
    x = torch.randn(shape) * 3 + 50
    inputs = [x.clone().requires_grad_(), x.clone().requires_grad_()]
    weights = torch.randn(shape)
    outputs = [layer(v) for layer, v in zip((plain, copy), inputs, strict=True)]
    for out in outputs:
        (out * weights).sum().backward()
    assert_close(outputs[1], outputs[0], rtol=1e-4, atol=1e-4)
    assert_close(inputs[1].grad, inputs[0].grad, rtol=1e-3, atol=1e-4)
    assert_close(copy.weight.grad, plain.weight.grad, rtol=1e-4, atol=1e-3)
    assert_close(copy.state_dict(), plain.state_dict())
    assert_close(copy.eval()(x), plain.eval()(x))


def test_a_group_does_not_see_the_others() -> None:
    layer = BatchNorm(nn.BatchNorm1d(2), groups=2)
    x = torch.randn(8, 2)
    other = torch.cat([x[:4], x[4:] * 5 + 1])
    assert torch.equal(layer(x)[:4], layer(other)[:4])
    whole = nn.BatchNorm1d(2)
    assert not torch.allclose(whole(x)[:4], whole(other)[:4])


def test_half_precision_input_keeps_its_type_and_statistics_are_float32() -> None:
    x = (torch.randn(8, 3, 2, 2) + 3).bfloat16()
    for groups in (None, 2):
        layer = BatchNorm(nn.BatchNorm2d(3), groups=groups)
        assert layer(x).dtype == torch.bfloat16
        assert layer.running_mean is not None and layer.running_mean.dtype == torch.float32
        assert_close(layer.running_mean, 0.1 * x.float().mean((0, 2, 3)), rtol=1e-3, atol=1e-3)


def test_a_batch_that_does_not_split_is_refused() -> None:
    layer = convert_batch_norm(nn.BatchNorm1d(2), split(4))
    with pytest.raises(UserError, match="batch of 6 does not split into 4"):
        layer(torch.randn(6, 2))


def test_conversion_keeps_parameters_keys_and_mode() -> None:
    model = build_encoder(NarrowResNet(), resolution=16).eval()
    parameters, keys = list(model.parameters()), list(model.state_dict())
    converted = convert_batch_norm(model, split(2))
    assert any(isinstance(m, BatchNorm) for m in converted.modules())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in converted.modules())
    assert all(a is b for a, b in zip(converted.parameters(), parameters, strict=True))
    assert list(converted.state_dict()) == keys
    assert not any(m.training for m in converted.modules())


@pytest.mark.parametrize("spec", [SYNCHRONIZED, LOCAL, split(1)])
def test_on_one_process_torchs_layers_stay(spec: specs.BatchNorm) -> None:
    model = build_encoder(NarrowResNet(), resolution=16)
    layers = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    converted = convert_batch_norm(model, spec)
    assert [m for m in converted.modules() if isinstance(m, nn.BatchNorm2d)] == layers
