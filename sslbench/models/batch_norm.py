"""Batch statistics over all processes, or over groups of the batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sslbench.distributed import mean, sum_with_gradient, world_size
from sslbench.errors import UserError
from sslbench.recipes import specs


class BatchNorm(_BatchNorm):
    """Batch norm over N×D or N×C×H×W, with torch's parameters, buffers and keys, and what the layer
    that it replaces does behind it: timm's has its activation inside.

    With `groups=None` statistics are those of the global batch: on every process the values,
    gradients and running statistics are the ones of one process with all rows, by all-reduced
    sums on any device (torch's own layer works on GPUs only). With `groups` they are taken over
    that many equal groups of this process's rows, in order, as that many devices would take them;
    the running statistics follow the mean over all processes' groups.
    """

    def __init__(self, like: _BatchNorm, *, groups: int | None) -> None:
        super().__init__(like.num_features, like.eps, like.momentum, like.affine)
        self.groups = groups
        self.weight, self.bias = like.weight, like.bias
        self.running_mean, self.running_var = like.running_mean, like.running_var
        self.num_batches_tracked = like.num_batches_tracked
        for name, behind in like.named_children():
            self.add_module(name, behind)
        self.train(like.training)

    def forward(self, input: Tensor) -> Tensor:
        """Normalised input, of its shape and dtype; evaluation uses the running statistics."""
        output = self._normalized(input)
        for behind in self.children():
            output = behind(output)
        return output

    def _normalized(self, input: Tensor) -> Tensor:
        if self.training and self.groups is not None:
            return self._split(input, self.groups)
        if self.training:
            return self._synchronized(input)
        return super().forward(input)

    def _check_input_dim(self, input: Tensor) -> None:
        """Both 2-D and 4-D inputs are taken, as by torch's synchronised layer."""

    def _synchronized(self, x: Tensor) -> Tensor:
        dims = [d for d in range(x.dim()) if d != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        processes = world_size()
        values = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        local_var, local_mean = torch.var_mean(values, dims, correction=0)  # C each
        # Two small sums rather than one of squares: no cancellation when the mean is large.
        global_mean = sum_with_gradient(local_mean) / processes
        global_var = sum_with_gradient(local_var + (local_mean - global_mean) ** 2) / processes
        count = processes * x.numel() // x.shape[1]
        # The buffer keeps the unbiased variance, as torch's does; the batch has the biased one.
        self._follow(global_mean.detach(), global_var.detach() * (count / max(count - 1, 1)))
        scale = torch.rsqrt(global_var + self.eps)
        if self.affine:
            scale = scale * self.weight
        # C numbers each: one multiplication and one addition over the input.
        shift = -global_mean * scale
        if self.affine:
            shift = shift + self.bias
        return (values * scale.view(shape) + shift.view(shape)).to(x.dtype)

    def _split(self, x: Tensor, groups: int) -> Tensor:
        if len(x) % groups:
            raise UserError(
                f"a batch of {len(x)} does not split into {groups} equal groups; "
                "change batch_size or batch_norm.splits."
            )
        assert self.running_mean is not None and self.running_var is not None
        assert self.momentum is not None and self.num_batches_tracked is not None
        running_mean, running_var = self.running_mean, self.running_var
        if world_size() > 1:
            running_mean, running_var = running_mean.clone(), running_var.clone()
        outputs = []
        for group, part in enumerate(x.chunk(groups), start=1):
            # Averages that move by these momenta in turn have moved by `momentum` to the groups'
            # mean: what each adds, and the later ones leave of it, is momentum / groups.
            momentum = self.momentum / (groups - (groups - group) * self.momentum)
            out = F.batch_norm(part, running_mean, running_var, self.weight, self.bias, True,
                               momentum, self.eps)  # fmt: skip
            outputs.append(out)
        self.num_batches_tracked.add_(1)
        if world_size() > 1:
            # All processes came from the same averages.
            moved_mean, moved_var = mean(torch.stack([running_mean, running_var]))
            self.running_mean.copy_(moved_mean)
            self.running_var.copy_(moved_var)
        return torch.cat(outputs)

    @torch.no_grad()
    def _follow(self, mean: Tensor, var: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None
        assert self.momentum is not None and self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(var.to(self.running_var.dtype), self.momentum)


def convert_batch_norm(module: nn.Module, spec: specs.BatchNorm) -> nn.Module:
    """The module with batch norms that take statistics as the spec says; parameters are kept.

    torch's own layers stay where they already do what is asked: `local`, and one group on one
    process. `split` counts groups of the *global* batch, so that N processes train what one does.

    Raises:
        UserError: `splits` is not a multiple of the number of processes, or a layer that is no
            batch norm has statistics of the batch.
    """
    groups: int | None = None
    if spec.mode == "local" or (spec.mode == "synchronized" and world_size() == 1):
        return module
    if spec.mode == "split":
        groups, rest = divmod(spec.splits, world_size())
        if rest:
            raise UserError(
                f"batch_norm.splits: {spec.splits} groups do not divide among {world_size()} "
                "processes; use a multiple, or batch_norm.mode=local."
            )
        if world_size() == groups == 1:
            return module
    return _replace(module, groups)


def _replace(module: nn.Module, groups: int | None) -> nn.Module:
    if isinstance(module, _BatchNorm):
        return BatchNorm(module, groups=groups)
    if "running_var" in module._buffers:  # as timm's EvoNorm has
        raise UserError(
            f"{type(module).__name__} takes the statistics of the batch in a way of its own, over "
            "each process; set batch_norm.mode=local and batch_norm.splits=1, or choose another "
            "encoder."
        )
    for name, child in module.named_children():
        setattr(module, name, _replace(child, groups))
    return module
