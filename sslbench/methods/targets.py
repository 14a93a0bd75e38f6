"""What the online network is compared with: itself, a second network, or a memory bank."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sslbench import distributed
from sslbench.batch import Batch, Clock
from sslbench.errors import UserError
from sslbench.models import keep_all_paths
from sslbench.objectives import Bank, Given
from sslbench.recipes.base import Spec
from sslbench.recipes.specs import EMA, ConstantRandom, MemoryBank, Shared

Slots = Mapping[int, Tensor]  # by the number of the view


@dataclass(frozen=True)
class Online:
    """The networks that a target belongs to, and how a second pair of them is drawn."""

    encoder: nn.Module
    projector: nn.Module
    draw: Callable[[], tuple[nn.Module, nn.Module]]
    shuffle: bool


class Target(nn.Module):
    """The interface. `reads_projections`: it is made of the online network's projections."""

    reads_projections = False

    def __init__(self) -> None:
        super().__init__()
        self.bank: Bank | None = None

    def forward(
        self, views: Slots, projections: Slots, wanted: Sequence[int], batch: Batch
    ) -> dict[int, Tensor]:
        """n×D of each wanted view that it has.

        Args:
            views: N×3×h×w of each view.
            projections: N×D of each view that the online network has projected.
        """
        raise NotImplementedError

    def networks(self) -> tuple[nn.Module, nn.Module] | None:
        """Encoder and projector of a target that a run may be scored by."""
        return None

    def momentum(self, clock: Clock) -> float | Tensor | None:
        """Of the moving average that it follows the online network by; None where it does not."""
        return None

    def restart(self, encoder: nn.Module, projector: nn.Module) -> None:
        """Follow an online network that has taken over the weights of another run."""

    def remember(self, projections: Tensor, indices: Tensor | None) -> None:
        """Take in N×D projections of the first view, after the optimiser's step."""


class SharedTarget(Target):
    """The online network itself, with or without gradient."""

    reads_projections = True

    def __init__(self, spec: Shared, online: Online, given: Given) -> None:
        super().__init__()
        self.stop_gradient = spec.stop_gradient

    def forward(
        self, views: Slots, projections: Slots, wanted: Sequence[int], batch: Batch
    ) -> dict[int, Tensor]:
        found = {slot: projections[slot] for slot in wanted if slot in projections}
        return {slot: z.detach() if self.stop_gradient else z for slot, z in found.items()}


class NetworkTarget(Target):
    """A second encoder and projector without gradient: a moving average of the online ones, or
    random ones that stay as they are."""

    def __init__(
        self, spec: EMA | ConstantRandom, online: Online, given: Given | None = None
    ) -> None:
        super().__init__()
        self.spec, self.shuffle = spec, online.shuffle
        if isinstance(spec, EMA):
            # MoCo's Algorithm 1: f_k starts as f_q.
            self.encoder: nn.Module = copy.deepcopy(online.encoder)
            self.projector: nn.Module = copy.deepcopy(online.projector)
        else:
            self.encoder, self.projector = online.draw()
        # Drop path alone is off: in training mode batch norm has the target's own statistics.
        keep_all_paths(self.encoder)
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(
        self, views: Slots, projections: Slots, wanted: Sequence[int], batch: Batch
    ) -> dict[int, Tensor]:
        given = [slot for slot in wanted if slot in views and slot < 2]  # crops are the student's
        return {slot: self.keys(views[slot], batch) for slot in given}

    @torch.no_grad()
    def keys(self, view: Tensor, batch: Batch) -> Tensor:
        """Projections, n×D."""
        if not self.shuffle:
            return self.projector(self.encoder(view))
        (keys,) = shuffled(
            lambda images: (self.projector(self.encoder(images)),), view, order=batch.order
        )
        return keys

    def networks(self) -> tuple[nn.Module, nn.Module] | None:
        return self.encoder, self.projector

    def restart(self, encoder: nn.Module, projector: nn.Module) -> None:
        if isinstance(self.spec, EMA):  # a random target stays what it is
            self.encoder.load_state_dict(encoder.state_dict())
            self.projector.load_state_dict(projector.state_dict())

    def momentum(self, clock: Clock) -> float | Tensor | None:
        return ema_momentum(self.spec, clock.progress) if isinstance(self.spec, EMA) else None


class BankTarget(Target):
    """Of any view of an image its row of the memory bank.

    Raises:
        UserError: the number of training images is not known, or the predictor is of another width.
    """

    def __init__(self, spec: MemoryBank, online: Online, given: Given) -> None:
        super().__init__()
        count = given.require_images("A MemoryBank")
        width = given.require_width("The MemoryBank holds")
        self.bank = Bank(count, width, momentum=spec.momentum, seed=given.seed)

    def forward(
        self, views: Slots, projections: Slots, wanted: Sequence[int], batch: Batch
    ) -> dict[int, Tensor]:
        if batch.indices is None:
            raise UserError("A MemoryBank needs to know which images a batch holds.")
        assert self.bank is not None
        rows = self.bank.entries.index_select(0, batch.indices)  # N×D
        return dict.fromkeys((slot for slot in wanted if slot < 2), rows)

    def remember(self, projections: Tensor, indices: Tensor | None) -> None:
        assert self.bank is not None and indices is not None
        self.bank.update(indices, projections)


TARGETS: dict[type[Spec], Callable[[Any, Online, Given], Target]] = {
    Shared: SharedTarget,
    EMA: NetworkTarget,
    ConstantRandom: NetworkTarget,
    MemoryBank: BankTarget,
}


@torch.no_grad()
def shuffled(
    network: Callable[[Tensor], Sequence[Tensor]], view: Tensor, *, order: Tensor | None
) -> tuple[Tensor, ...]:
    """What a network makes of a permuted global batch, put back in order: no query shares its
    batch statistics with its key.

    Args:
        network: n×3×h×w to some tensors of n rows.
        view: n×3×h×w of this process.
        order: the permutation, (world n) int64, equal on all processes; a batch of a method that
            `shuffles` has it.
    Source: He et al. 2019 (MoCo), Sec. 3.3, "Shuffling BN".
    """
    assert order is not None
    count, start = len(view), distributed.rank() * len(view)
    everyone = distributed.gather(view).movedim(1, -1)  # the channels last, a row for each image
    mine = everyone.index_select(0, order[start : start + count]).movedim(-1, 1)  # n×3×h×w
    found = network(mine)  # of other images than this process's
    # The inverse permutation: row i is again the key of query i.
    back = torch.argsort(order)
    return tuple(distributed.gather(part)[back][start : start + count] for part in found)


def ema_momentum(spec: EMA, progress: float | Tensor) -> float | Tensor:
    """The target's momentum after an optimiser step.

    Cosine: 1 - (1 - m) (1 + cos(pi k / K)) / 2, from m in the first step towards 1.

    Args:
        progress: k / K, the share of all steps that were done before it.
    Source: Grill et al. 2020 (BYOL), Sec. 3.3.
    """
    if spec.schedule == "constant":
        return spec.momentum
    done = torch.as_tensor(progress, dtype=torch.float64).clamp(max=1.0)
    return 1 - (1 - spec.momentum) * 0.5 * (1 + torch.cos(math.pi * done))


@torch.no_grad()
def ema_update(
    target: Sequence[Tensor], online: Sequence[Tensor], momentum: float | Tensor
) -> None:
    """target <- momentum * target + (1 - momentum) * online, in place; 1 keeps it, 0 copies.

    Args:
        target, online: parameters in the same order and of the same shapes.
        momentum: a number, or a scalar on their device.
    """
    # Parameters alone: running statistics are those of the target's own forwards, as in the codes
    # of MoCo and DINO.
    if not target:
        return
    if not isinstance(momentum, Tensor):
        torch._foreach_lerp_(list(target), list(online), 1 - momentum)
        return
    weight = (1 - momentum).to(target[0].dtype)
    torch._foreach_lerp_(list(target), list(online), [weight] * len(target))
