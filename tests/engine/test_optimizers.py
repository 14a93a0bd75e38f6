"""LARS and LAMB against plain loops, clipping, exclusions, rates, and the moving average."""

from __future__ import annotations

import io
import math

import pytest
import torch
from torch import nn

from sslbench.engine import optimizers
from sslbench.engine.optimizers import (
    LARS,
    build_optimizer,
    clip_gradients,
    rates_on_device,
    set_learning_rate,
    set_weight_decay,
)
from sslbench.errors import UserError
from sslbench.methods import ParameterGroup
from sslbench.recipes.specs import LAMB, SGD, AdamW
from sslbench.recipes.specs import LARS as LARSSpec

SPECS = [
    SGD(lr=0.1),
    SGD(lr=0.1, nesterov=True, exclude_bias_and_norm=True),
    LARSSpec(lr=0.5, weight_decay=1e-2),
    LARSSpec(lr=0.5, weight_decay=1e-2, exclude_bias_and_norm=False),
    AdamW(lr=0.01),
    LAMB(lr=0.01),
]


def network(dtype=torch.float64):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    return net.to(dtype).to(memory_format=torch.channels_last)


def group(net, **settings):
    return ParameterGroup("encoder", list(net.named_parameters()), **settings)


def fill_gradients(net, step):
    generator = torch.Generator().manual_seed(step)
    for p in net.parameters():
        p.grad = torch.empty_like(p).copy_(torch.randn(p.shape, generator=generator))


def train(net, optimizer, steps):
    for step in steps:
        fill_gradients(net, step)
        set_learning_rate(optimizer, 1 - 0.1 * step)
        optimizer.step()


def lars_by_hand(net, *, steps, lr, momentum, decay, trust, excluded):
    """The rule, one number at a time."""
    weights = [p.detach().flatten().tolist() for p in net.parameters()]
    plain = [excluded and p.ndim == 1 for p in net.parameters()]
    velocity = [[0.0] * len(w) for w in weights]
    for step in steps:
        fill_gradients(net, step)
        for i, p in enumerate(net.parameters()):
            d, ratio = p.grad.flatten().tolist(), 1.0
            if not plain[i]:
                d = [g + decay * w for g, w in zip(d, weights[i], strict=True)]
                size = math.sqrt(sum(w * w for w in weights[i]))
                update = math.sqrt(sum(x * x for x in d))
                ratio = trust * size / update if size > 0 and update > 0 else 1.0
            velocity[i] = [momentum * v + ratio * x for v, x in zip(velocity[i], d, strict=True)]
            rate = lr * (1 - 0.1 * step)
            weights[i] = [w - rate * v for w, v in zip(weights[i], velocity[i], strict=True)]
    return weights


@pytest.mark.parametrize("excluded", [True, False])
def test_lars_is_the_formula_of_the_paper(excluded):
    spec = LARSSpec(lr=0.5, weight_decay=0.1, exclude_bias_and_norm=excluded, scaling="none")
    wanted = lars_by_hand(
        network(), steps=range(4), lr=0.5, momentum=0.9, decay=0.1, trust=1e-3, excluded=excluded
    )
    net = network()
    train(net, build_optimizer(spec, [group(net)], batch_size=64), range(4))
    for p, values in zip(net.parameters(), wanted, strict=True):
        assert p.flatten().tolist() == pytest.approx(values, rel=1e-12)


def lamb_by_hand(net, *, steps, lr, decay, excluded, betas=(0.9, 0.999), eps=1e-6):
    """You et al. 2019, Algorithm 2, with bias correction, one number at a time."""
    weights = [p.detach().flatten().tolist() for p in net.parameters()]
    plain = [excluded and p.ndim == 1 for p in net.parameters()]
    first = [[0.0] * len(w) for w in weights]
    second = [[0.0] * len(w) for w in weights]
    for step in steps:
        fill_gradients(net, step)
        for i, p in enumerate(net.parameters()):
            direction = []
            for j, g in enumerate(p.grad.flatten().tolist()):
                first[i][j] = betas[0] * first[i][j] + (1 - betas[0]) * g
                second[i][j] = betas[1] * second[i][j] + (1 - betas[1]) * g * g
                m = first[i][j] / (1 - betas[0] ** (step + 1))
                v = second[i][j] / (1 - betas[1] ** (step + 1))
                direction.append(m / (math.sqrt(v) + eps))
            ratio = 1.0
            if not plain[i]:
                direction = [d + decay * w for d, w in zip(direction, weights[i], strict=True)]
                size = math.sqrt(sum(w * w for w in weights[i]))
                length = math.sqrt(sum(d * d for d in direction))
                ratio = size / length if size > 0 and length > 0 else 1.0
            rate = lr * (1 - 0.1 * step) * ratio
            weights[i] = [w - rate * d for w, d in zip(weights[i], direction, strict=True)]
    return weights


@pytest.mark.parametrize("excluded", [True, False])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_lamb_is_the_formula_of_the_paper(excluded, decay):
    spec = LAMB(lr=0.05, weight_decay=decay, exclude_bias_and_norm=excluded, scaling="none")
    wanted = lamb_by_hand(network(), steps=range(4), lr=0.05, decay=decay, excluded=excluded)
    net = network()
    train(net, build_optimizer(spec, [group(net)], batch_size=64), range(4))
    for p, values in zip(net.parameters(), wanted, strict=True):
        assert p.flatten().tolist() == pytest.approx(values, rel=1e-6)


def test_every_tensor_is_clipped_by_its_own_norm():
    net = network()
    optimizer = build_optimizer(SGD(), [group(net)], batch_size=64)
    fill_gradients(net, 0)
    net[1].weight.grad.mul_(1e-3)  # short already
    net[1].bias.grad.zero_()
    net[3].bias.grad = None
    before = {n: p.grad.clone() for n, p in net.named_parameters() if p.grad is not None}
    clip_gradients(optimizer, 0.5)
    for name, p in net.named_parameters():
        if name in before:
            norm = before[name].norm().item()
            expected = before[name] * min(1.0, 0.5 / (norm + 1e-6))
            torch.testing.assert_close(p.grad, expected)
            assert p.grad.norm() <= 0.5
    assert net[3].bias.grad is None
    clip_gradients(build_optimizer(SGD(), [], batch_size=64), 0.5)


def test_the_decay_of_weights_may_change_and_what_is_excluded_has_none():
    net = network()
    optimizer = build_optimizer(AdamW(weight_decay=0.04), [group(net)], batch_size=64)
    set_weight_decay(optimizer, 0.3)
    decays = {p.ndim: g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert decays == {4: 0.3, 2: 0.3, 1: 0.0}


@pytest.mark.parametrize("kind", [SGD, LARSSpec, AdamW])
def test_a_clip_of_nothing_is_refused(kind):
    with pytest.raises(UserError, match="clip_norm must be > 0"):
        kind(clip_norm=0.0)


def test_lars_takes_a_ratio_of_one_where_a_norm_is_zero():
    zero, still = nn.Parameter(torch.zeros(2, 2)), nn.Parameter(torch.ones(2, 2))
    zero.grad, still.grad = torch.ones(2, 2), torch.zeros(2, 2)
    LARS([{"params": [zero, still], "lr": 0.5}]).step()
    assert torch.equal(zero, torch.full((2, 2), -0.5))
    assert torch.equal(still, torch.ones(2, 2))


def test_lars_leaves_parameters_without_gradient_alone():
    used, unused = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    used.grad = torch.ones(2, 2)
    LARS([{"params": [used, unused], "lr": 0.5}]).step()
    assert not torch.equal(used, torch.ones(2, 2))
    assert torch.equal(unused, torch.ones(2, 2))


@pytest.mark.parametrize("spec", SPECS)
def test_decay_reaches_biases_and_norms_unless_excluded(spec):
    net = network()
    groups = build_optimizer(spec, [group(net)], batch_size=64).param_groups
    decayed = {p.ndim for g in groups if g["weight_decay"] > 0 for p in g["params"]}
    assert decayed == ({2, 4} if spec.exclude_bias_and_norm else {1, 2, 4})
    assert sum(len(g["params"]) for g in groups) == len(list(net.parameters()))


@pytest.mark.parametrize("spec", SPECS)
def test_a_resumed_optimizer_is_the_uninterrupted_one(spec):
    whole, first, second = (network(torch.float32) for _ in range(3))
    train(whole, build_optimizer(spec, [group(whole)], batch_size=64), range(6))

    optimizer = build_optimizer(spec, [group(first)], batch_size=64)
    train(first, optimizer, range(3))
    file = io.BytesIO()
    torch.save([first.state_dict(), optimizer.state_dict()], file)
    file.seek(0)
    weights, state = torch.load(file, weights_only=True)
    second.load_state_dict(weights)
    optimizer = build_optimizer(spec, [group(second)], batch_size=64)
    optimizer.load_state_dict(state)
    train(second, optimizer, range(3, 6))
    for a, b in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("scaling", "rate"), [("linear", 0.3 * 4096 / 256), ("sqrt", 0.3 * 64), ("none", 0.3)]
)
def test_the_rate_follows_the_batch(scaling, rate):
    net = network()
    optimizer = build_optimizer(LARSSpec(scaling=scaling), [group(net)], batch_size=4096)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(rate)


def test_biases_have_barlow_twins_own_rate():
    net = network()
    spec = LARSSpec(lr=0.2, bias_lr=0.0048)
    optimizer = build_optimizer(spec, [group(net)], batch_size=512)
    rates = {p.ndim: g["lr"] for g in optimizer.param_groups for p in g["params"]}
    assert rates == pytest.approx({4: 0.4, 2: 0.4, 1: 0.0096})


def test_a_constant_group_keeps_its_rate_and_others_follow_the_schedule():
    net, head = network(), nn.Linear(2, 2)
    predictor = ParameterGroup(
        "predictor",
        list(head.named_parameters()),
        learning_rate_scale=3.0,
        constant_learning_rate=True,
    )
    optimizer = build_optimizer(SGD(lr=0.1), [group(net), predictor], batch_size=64)
    for factor in (0.0, 0.5):
        set_learning_rate(optimizer, factor)
        assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([0.1 * factor, 0.3])


def test_frozen_parameters_are_skipped():
    net = network()
    net[0].requires_grad_(False)
    optimizer = build_optimizer(AdamW(), [group(net)], batch_size=64)
    held = {id(p) for g in optimizer.param_groups for p in g["params"]}
    assert held == {id(p) for p in net.parameters() if p.requires_grad}


@pytest.mark.parametrize("spec", SPECS)
def test_nothing_to_train_is_a_step_that_does_nothing(spec):
    optimizer = build_optimizer(spec, [], batch_size=64)
    set_learning_rate(optimizer, 0.5)
    optimizer.step()
    assert [g["params"] for g in optimizer.param_groups] == [[]]


def test_a_device_without_fused_kernels_gets_one_kernel_per_operation():
    def kind(groups, *, fused=False, foreach=False):
        if fused:
            raise RuntimeError("`fused=True` requires all the params to be ...")
        return groups, foreach

    assert optimizers._fused(kind, []) == ([], True)


@pytest.mark.parametrize(
    "spec",
    [SGD(weight_decay=0.1, nesterov=True), LARSSpec(weight_decay=0.1), AdamW(weight_decay=0.1)],
    ids=lambda spec: type(spec).__name__,
)
def test_rates_in_tensors_give_the_steps_of_rates_in_numbers(spec):
    plain, net = network(), network()
    train(plain, build_optimizer(spec, [group(plain)], batch_size=64), range(4))
    optimizer = build_optimizer(spec, [group(net)], batch_size=64)
    rates_on_device(optimizer, decays=False)
    rates = [g["lr"] for g in optimizer.param_groups]
    train(net, optimizer, range(4))
    assert all(g["lr"] is rate for g, rate in zip(optimizer.param_groups, rates, strict=True))
    for a, b in zip(net.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_decay_in_a_tensor_leaves_out_what_has_no_gradient():
    """As torch's own decay, and what is excluded from it keeps a decay of 0."""
    nets = network(), network()
    spec = AdamW(lr=0.1, weight_decay=0.04)
    optimizers = [build_optimizer(spec, [group(net)], batch_size=64) for net in nets]
    rates_on_device(optimizers[1], decays=True)
    for decay in (0.1, 0.4):
        for net, optimizer in zip(nets, optimizers, strict=True):
            set_weight_decay(optimizer, decay)
            for index, parameter in enumerate(net.parameters()):
                parameter.grad = None if index == 0 else torch.ones_like(parameter)
            optimizer.step()
    for a, b in zip(*(net.parameters() for net in nets), strict=True):
        torch.testing.assert_close(a, b)
    start = next(network().parameters())
    assert torch.equal(next(nets[1].parameters()), start)
