"""The loop of evaluations that train: a fit stops, resumes and repeats as a run does, bit for bit.

What is drawn in a step is a function of the step, as in pre-training: `loss_of` takes its numbers
from `sslbench.streams`, and what draws from PyTorch's generator (drop path) finds it seeded anew.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from sslbench.engine.checkpoint import load_checkpoint, save_checkpoint
from sslbench.engine.mishaps import out_of_memory
from sslbench.engine.optimizers import set_learning_rate
from sslbench.engine.progress import Progress
from sslbench.engine.signals import StopRequest, stop_on_signals
from sslbench.errors import Interrupted, UserError
from sslbench.files import user_io
from sslbench.streams import seed_generator, stream_key

CHECKPOINT_SECONDS = 60.0  # least time between two checkpoints
LOOKS = 50  # how often in a fit the loss is read, and the time looked at
Curve = list[tuple[int, float]]  # steps done and the loss of the last of them, at every look


class Diverged(UserError):
    """A fit whose loss is not finite: of several settings it is one that loses."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A module to be trained for some steps.

    Attributes:
        what: names the fit in sentences: "fine-tuning of simclr-s0 (learning_rate 0.001)".
        module: on its device, in the mode in which it is trained.
        optimizer: of its parameters; a group has `base_lr`, and `constant` where it keeps that.
        steps: of the whole fit.
        loss_of: the scalar loss of a step, counted from 0; a function of the step and the module.
        factor_of: what the base rates are multiplied by in a step.
        seed: of what draws from PyTorch's generator.
        path: the file of the checkpoint.
        digest: what the fit is of; another one's checkpoint is refused.
        progress: called at every look with the step, all steps and the loss.
        curve: the losses of all looks so far, also of those before the fit was resumed.
    """

    what: str
    module: nn.Module
    optimizer: torch.optim.Optimizer
    steps: int
    loss_of: Callable[[int], Tensor]
    factor_of: Callable[[int], float]
    seed: int
    path: Path
    digest: str
    progress: Progress | None = None
    curve: Curve = field(default_factory=list, init=False)

    def run(self) -> None:
        """Train the module to the end, in float32, from the checkpoint where there is one.

        float32 on every device, also of a run in bf16: a score must not depend on what the machine
        that measures it is fastest at.

        Raises:
            Diverged: the loss is not finite.
            Interrupted: a signal; a checkpoint was saved.
            UserError: memory ran out, or the checkpoint is damaged or of another fit.
        """
        device = next(self.module.parameters()).device
        devices = [device] if device.type == "cuda" else []
        try:
            with (
                torch.random.fork_rng(devices=devices),
                torch.autocast(device.type, enabled=False),
                stop_on_signals() as stop,
            ):
                self._train(self._resumed(), stop)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise UserError(
                f"Memory ran out in the {self.what}; use a smaller encoder, resolution or batch."
            ) from None

    def discard(self) -> None:
        """Remove the checkpoint, once what the fit is for is kept."""
        with user_io(self.path):
            self.path.unlink(missing_ok=True)

    def _train(self, first: int, stop: StopRequest) -> None:
        every = max(1, self.steps // LOOKS)
        saved = time.monotonic()
        for step in range(first, self.steps):
            loss = self._step(step)
            done = step + 1
            if done % every == 0 or done == self.steps:
                self._look(done, float(loss))
                if time.monotonic() - saved >= CHECKPOINT_SECONDS and done < self.steps:
                    self._save(done)
                    saved = time.monotonic()
            if stop and done < self.steps:
                self._save(done)
                assert stop.signal is not None
                raise Interrupted(
                    f"Stopped by {stop.signal.name} after step {done} of {self.steps} of the "
                    f"{self.what}; saved. Run the same command again to continue."
                )

    def _step(self, step: int) -> Tensor:
        """One update; the loss, detached."""
        set_learning_rate(self.optimizer, self.factor_of(step))
        device = next(self.module.parameters()).device
        seed_generator(stream_key(self.seed, "fit noise", step), device)
        loss = self.loss_of(step)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def _look(self, done: int, loss: float) -> None:
        if not math.isfinite(loss):
            raise Diverged(
                f"The loss of the {self.what} is not finite at step {done}; use lower rates, or an "
                "encoder whose training did not diverge."
            )
        self.curve.append((done, loss))
        if self.progress is not None:
            self.progress(done, self.steps, {"loss": loss})

    def _save(self, done: int) -> None:
        state = {
            "digest": self.digest,
            "step": done,
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "curve": self.curve,
        }
        save_checkpoint(self.path, state)

    def _resumed(self) -> int:
        """The first step that is left, once the checkpoint's state is in place."""
        if not self.path.is_file():
            return 0
        state = load_checkpoint(self.path, digest=self.digest)
        try:
            self.module.load_state_dict(state["module"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.curve[:] = [(int(step), float(loss)) for step, loss in state["curve"]]
            return int(state["step"])
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise UserError(
                f"{self.path} does not hold the state of the {self.what} "
                f"({type(error).__name__}); move it away and run the same command again."
            ) from None
