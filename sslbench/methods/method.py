"""The interface of methods: what the engine asks of whatever it trains."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from sslbench import distributed
from sslbench.batch import Batch, Clock, Moment
from sslbench.recipes.base import Spec


@dataclass(frozen=True)
class StepOutput:
    """What one forward gives the engine.

    Attributes:
        loss: scalar, a mean over this process's images.
        embeddings: N×D, detached: what the collapse monitor and the verdict look at.
        metrics: detached scalars by name.
        carry: handed back unopened to `after_update`.
    """

    loss: Tensor
    embeddings: Tensor
    metrics: dict[str, Tensor] = field(default_factory=dict)
    carry: Any = None


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share a rate: one part of the network.

    `learning_rate_scale` multiplies the rate, `constant_learning_rate` keeps it at its base
    through warm-up and decay (SimSiam's predictor).
    """

    name: str
    parameters: list[tuple[str, nn.Parameter]]
    learning_rate_scale: float = 1.0
    constant_learning_rate: bool = False


class Method(nn.Module):
    """Networks and a loss over them: one family of recipes, whose fields decide all the rest.

    A kind is built as `METHODS[type(recipe)](recipe, resolution=…, num_images=…, num_classes=…,
    seed=…)`. Its random start is drawn from the global generator, which the engine has seeded. The
    engine moves it, calls `forward`, and between forwards the hooks, in the order in which they
    stand here; a hook does nothing unless a kind says so.

    From `forward` to `after_update` a step may be replayed on a GPU without this code: what changes
    from one to the next is then read from tensors, or decided in `before_step`.

    Attributes:
        shuffles: whether batches come with an `order`.
    """

    encoder: nn.Module
    shuffles: bool = False

    def before_epoch(self, epoch: int, batches: Callable[[], Iterator[Batch]]) -> None:
        """Before an epoch's first batch; once more where a run resumes inside it.

        Args:
            epoch: from 0.
            batches: gives all training images once, as the method sees them in training.
        """

    def before_step(self, moment: Moment) -> Hashable:
        """Before every step, on the host: what changes by leaps is decided here.

        Returns:
            The phase: steps that run other operations, or with other numbers of the host, differ.
        """
        return None

    def forward(self, batch: Batch) -> StepOutput:
        """The loss of one batch of this process."""
        raise NotImplementedError

    def before_update(self, clock: Clock) -> None:
        """After the backward pass: a parameter without gradient is left alone by the optimiser."""

    def after_update(self, outputs: Sequence[StepOutput], clock: Clock) -> None:
        """After the optimiser's step: what follows the network, and what is remembered.

        Args:
            outputs: of the step's forwards, more than one where gradients are accumulated.
            clock: of the step.
        """

    def take_over(self, networks: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Before the first step of a run that begins from another: that one's networks in place of
        random ones.

        Args:
            networks: state dicts by the names of `exported`, `encoder` among them; a head of
                another shape than this method's is not read.
        Raises:
            RuntimeError: the encoder is of another architecture.
        """
        self.encoder.load_state_dict(networks["encoder"])

    def groups(self) -> list[ParameterGroup]:
        """The parameters to train, by part."""
        return parameter_groups(self, heads={})

    def exported(self) -> dict[str, nn.Module]:
        """What a finished run keeps, by the name of its file; `encoder` is what is scored."""
        return {"encoder": self.encoder}


def parameter_groups(method: nn.Module, *, heads: Mapping[str, Spec]) -> list[ParameterGroup]:
    """One group of all that is trained, and one for each head, whose spec may have its own rate.

    Args:
        heads: by the name of the submodule.
    """
    groups: dict[str, ParameterGroup] = {}
    for name, parameter in method.named_parameters():
        if not parameter.requires_grad:
            continue
        part = name.split(".")[0]
        spec = heads.get(part)
        # Prototypes and a classifier go with the encoder: only heads may have a rate of their own.
        part = "encoder" if spec is None else part
        group = groups.setdefault(
            part,
            ParameterGroup(
                name=part,
                parameters=[],
                learning_rate_scale=getattr(spec, "learning_rate_scale", 1.0),
                constant_learning_rate=getattr(spec, "constant_learning_rate", False),
            ),
        )
        group.parameters.append((name, parameter))
    return list(groups.values())


def places(count: int, device: torch.device) -> Tensor:
    """N int64: of this process's images in the global batch."""
    return distributed.rank() * count + torch.arange(count, device=device)


def load_if_alike(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load a state dict of tensors of the same names and shapes; leave the module for another."""
    own = module.state_dict()
    if {k: v.shape for k, v in own.items()} == {k: v.shape for k, v in state.items()}:
        module.load_state_dict(state)


def mean_output(outputs: Sequence[StepOutput]) -> StepOutput:
    """The output of an accumulated batch: loss and metrics are means over its parts, which are of
    equal size, all else is the last part's."""
    last = outputs[-1]
    if len(outputs) == 1:
        return last
    metrics = {k: torch.stack([o.metrics[k] for o in outputs]).mean(0) for k in last.metrics}
    loss = torch.stack([o.loss.detach() for o in outputs]).mean()
    return replace(last, loss=loss, metrics=metrics)
