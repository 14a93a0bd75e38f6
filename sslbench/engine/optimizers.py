"""Optimisers from their specs, LARS, and clipping."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sslbench.methods import ParameterGroup
from sslbench.recipes.specs import LAMB, AdamW, Optimizer
from sslbench.recipes.specs import LARS as LARSSpec


def build_optimizer(
    spec: Optimizer, groups: Sequence[ParameterGroup], *, batch_size: int
) -> torch.optim.Optimizer:
    """The optimiser of a recipe over the parameters that require a gradient.

    Args:
        spec: rates, decay, and whether biases and norms (at most one dimension) are excluded from
            decay and, under LARS and LAMB, from the trust ratio.
        groups: parts of the network; each becomes one or two parameter groups (weights, then
            biases and norms). Without any parameter, the optimiser does nothing.
        batch_size: images of one update over all processes; scales the rate by B / 256 (linear),
            sqrt(B) (sqrt) or 1 (none). Sources: Goyal et al. 2017; Chen et al. 2020, App. B.1.
    LAMB is timm's, without its clipping of the whole gradient: You et al. 2019,
    arXiv:1904.00962, Algorithm 2, whose trust ratio is |w| / |d|.
    """
    scale = {"linear": batch_size / 256, "sqrt": math.sqrt(batch_size), "none": 1.0}[spec.scaling]
    made = [made for group in groups for made in _split(spec, group, scale)]
    # torch refuses an optimiser without a group; an empty one will do.
    made = made or [{"params": [], "lr": spec.lr * scale, "base_lr": 0.0, "constant": True,
                     "adapt": False}]  # fmt: skip
    if isinstance(spec, LARSSpec):
        return LARS(made, momentum=spec.momentum, trust_coefficient=spec.trust_coefficient)
    if isinstance(spec, AdamW):
        adamw = _fused(torch.optim.AdamW, made, betas=spec.betas)
        adamw.defaults["clip_whole"] = spec.clip_whole
        return adamw
    if isinstance(spec, LAMB):
        from timm.optim.lamb import Lamb  # slow to import

        adapting = [{**g, "always_adapt": g["adapt"]} for g in made]
        return Lamb(adapting, betas=spec.betas, max_grad_norm=None)
    sgd = _fused(torch.optim.SGD, made, momentum=spec.momentum, nesterov=spec.nesterov)
    for parameter in (p for g in made for p in g["params"] if spec.momentum > 0):
        # The kernel takes the velocities of all or none, and frozen parameters begin later.
        sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return sgd


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Give every group its base rate times `factor`; constant groups keep their base rate."""
    for group in optimizer.param_groups:
        _set(group, "lr", group["base_lr"] * (1.0 if group["constant"] else factor))


def set_weight_decay(optimizer: torch.optim.Optimizer, decay: float) -> None:
    """Give every group this decay, but for biases and norms that are excluded from it."""
    for group in optimizer.param_groups:
        if group["adapt"]:
            _set(group, "decay" if "decay" in group else "weight_decay", decay)


def _set(group: dict[str, Any], name: str, value: float) -> None:
    if isinstance(group[name], Tensor):
        group[name].fill_(value)  # in its place, where a replayed step reads it
    else:
        group[name] = value


def rates_on_device(optimizer: torch.optim.Optimizer, *, decays: bool) -> None:
    """Keep learning rates in tensors beside the parameters, so that a step that is replayed reads
    them.

    Args:
        decays: AdamW's weight decay changes too. torch takes one from the host only: it becomes 0,
            and the same product is done before the optimiser's step (`decay_weights`).
    """
    for group in optimizer.param_groups:
        names = ["lr"]
        if decays:
            group["decay"], group["weight_decay"] = group["weight_decay"], 0.0
            names.append("decay")
        for name in names if group["params"] else ():
            value = torch.tensor(group[name], dtype=torch.float32)
            group[name] = value.to(group["params"][0].device)
    if decays:
        optimizer.register_step_pre_hook(lambda optimizer, *_: decay_weights(optimizer))


@torch.no_grad()
def decay_weights(optimizer: torch.optim.Optimizer) -> None:
    """w <- (1 - lr decay) w, of parameters that have a gradient.

    Source: Loshchilov and Hutter 2019, arXiv:1711.05101, Algorithm 2, line 12, whose schedule is
        the learning rate's here.
    """
    for group in optimizer.param_groups:
        params = [p for p in group["params"] if p.grad is not None]
        if params:
            torch._foreach_mul_(params, 1 - group["lr"] * group["decay"])


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Go on with the moments of a `state_dict`; rates and decays follow from the step."""
    names = ("lr", "weight_decay", "decay")
    own = [{n: g[n] for n in names if n in g} for g in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, kept in zip(optimizer.param_groups, own, strict=True):
        group.pop("decay", None)  # of a run that began on another device
        group.update(kept)


@torch.no_grad()
def clip_gradients(optimizer: torch.optim.Optimizer, longest: float) -> None:
    """Shorten, in place, the gradient of each parameter tensor by itself to at most that norm; of
    an optimiser whose recipe says `clip_whole` that of all together.

    Source: Caron et al. 2021 (DINO), whose code clips each tensor; Bao et al. 2021 (BEiT), whose
    code clips the whole gradient.
    """
    grads = [p.grad for group in optimizer.param_groups for p in group["params"]
             if p.grad is not None]  # fmt: skip
    if grads:
        norms = torch.stack(torch._foreach_norm(grads))
        if optimizer.defaults.get("clip_whole"):
            norms = norms.norm().expand_as(norms)
        # The authors' 1e-6 keeps a gradient of zero as it is.
        factors = (longest / (norms + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(grads, list(factors.unbind()))


class LARS(torch.optim.Optimizer):
    """Layer-wise adaptive rates with momentum, without Nesterov.

    With d = g + weight_decay * w, a group with `adapt` moves along d times trust_coefficient
    |w| / |d| (1 where a norm is 0), any other group along d; then v <- momentum v + d and
    w <- w - lr v. The rate stays outside v, as in the PyTorch ports that produced the numbers of
    MoCo v3 and Barlow Twins.

    Args:
        params: groups with `lr`, and optionally `weight_decay` and `adapt`.
        momentum: of the velocity.
        trust_coefficient: the paper's eta.
    Source: You, Gitman and Ginsburg 2017, arXiv:1708.03888, Algorithm 1.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float = 0.0,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust_coefficient: float = 1e-3,
        adapt: bool = True,
    ) -> None:
        super().__init__(params, {
            "lr": lr, "momentum": momentum, "weight_decay": weight_decay,
            "trust_coefficient": trust_coefficient, "adapt": adapt,
        })  # fmt: skip

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update; `closure` evaluates the loss again, as for any torch optimiser."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self._step_group(group, params)
        return loss

    def _step_group(self, group: dict[str, Any], params: list[Tensor]) -> None:
        grads = [p.grad for p in params if p.grad is not None]
        # Decay before the ratio: it counts in the length that the step is scaled by.
        updates = list(torch._foreach_add(grads, params, alpha=group["weight_decay"]))
        if group["adapt"]:
            ratios = _trust_ratios(params, updates, group["trust_coefficient"])
            torch._foreach_mul_(updates, ratios)
        for p in params:
            if "momentum_buffer" not in self.state[p]:
                self.state[p]["momentum_buffer"] = torch.zeros_like(p)
        velocities = [self.state[p]["momentum_buffer"] for p in params]
        torch._foreach_mul_(velocities, group["momentum"])
        torch._foreach_add_(velocities, updates)
        if isinstance(group["lr"], Tensor):  # an alpha is a number of the host
            torch._foreach_sub_(params, torch._foreach_mul(velocities, group["lr"]))
        else:
            torch._foreach_add_(params, velocities, alpha=-group["lr"])


def _trust_ratios(params: list[Tensor], updates: list[Tensor], coefficient: float) -> list[Tensor]:
    """One scalar per parameter, on its device: no value is read by the host."""
    weight = torch.stack(torch._foreach_norm(params))
    update = torch.stack(torch._foreach_norm(updates))
    ratio = coefficient * weight / update
    # A ratio of 0 would keep a weight that starts at 0 where it is.
    return list(torch.where((weight > 0) & (update > 0), ratio, 1.0).unbind())


def _split(spec: Optimizer, group: ParameterGroup, scale: float) -> list[dict[str, Any]]:
    """torch's parameter groups of one part: weights, and what is excluded."""
    trained = [p for _, p in group.parameters if p.requires_grad]
    if not spec.exclude_bias_and_norm:
        return _torch_groups(group, scale, spec.lr, trained, spec.weight_decay, adapt=True)
    # By dimensions, as DINO's code: a ViT's class token and positions (1×T×D) count as weights.
    weights = [p for p in trained if p.ndim > 1]
    others = [p for p in trained if p.ndim <= 1]
    other_lr = spec.lr
    if isinstance(spec, LARSSpec) and spec.bias_lr is not None:
        other_lr = spec.bias_lr
    return [
        *_torch_groups(group, scale, spec.lr, weights, spec.weight_decay, adapt=True),
        *_torch_groups(group, scale, other_lr, others, 0.0, adapt=False),
    ]


def _torch_groups(
    group: ParameterGroup,
    scale: float,
    lr: float,
    parameters: list[nn.Parameter],
    weight_decay: float,
    *,
    adapt: bool,
) -> list[dict[str, Any]]:
    if not parameters:
        return []
    base = lr * scale * group.learning_rate_scale
    return [{
        "params": parameters, "lr": base, "base_lr": base, "weight_decay": weight_decay,
        "constant": group.constant_learning_rate, "adapt": adapt, "name": group.name,
    }]  # fmt: skip


def _fused(
    kind: Callable[..., torch.optim.Optimizer], groups: list[dict[str, Any]], **settings: Any
) -> torch.optim.Optimizer:
    """One kernel for all parameters where the device has it, else one per operation."""
    try:
        return kind(groups, fused=True, **settings)
    except RuntimeError:  # torch refuses `fused` for a device without the kernel
        return kind(groups, foreach=True, **settings)
