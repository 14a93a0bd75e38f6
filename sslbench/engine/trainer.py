"""One training step of any recipe, and the state that a bit-exact resume needs."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parallel import DistributedDataParallel

from sslbench import distributed
from sslbench.batch import Batch, Moment, ViewBatch
from sslbench.data import Dataset, Reader
from sslbench.data.boxes import pretraining_boxes
from sslbench.engine.building import build_method, steps_per_epoch
from sslbench.engine.gradients import GradientNorms
from sslbench.engine.graph import Graphed, graphed
from sslbench.engine.inputs import Part, part_of
from sslbench.engine.optimizers import (
    build_optimizer,
    clip_gradients,
    load_optimizer,
    rates_on_device,
    set_learning_rate,
    set_weight_decay,
)
from sslbench.engine.room import require_step
from sslbench.engine.schedules import learning_rate_factor, weight_decay
from sslbench.errors import UserError
from sslbench.methods import Method, StepOutput, mean_output
from sslbench.models.libraries import unsaid_parameters
from sslbench.models.strides import keep_strides_inside
from sslbench.recipes.limits import require_room
from sslbench.recipes.recipe import Experiment
from sslbench.recipes.specs import AdamW
from sslbench.streams import permutation, seed_generator, stream_key
from sslbench.views import Augmenter


class Trainer:
    """Network, optimiser, data and views of one experiment on this process.

    Args:
        experiment: what is trained.
        dataset: its data, on any device; the images move to `device` once.
        device: where everything happens.
        precision: autocast type, or None for float32.
        compile_views: compile the augmentation (pays in long runs).
        compile_network: compile the forward pass (pays on a GPU).
        graph: replay steps as a CUDA graph where that can be (`engine.graph`).
    Raises:
        UserError: the batch does not fit the data or the processes; no labels where needed.
    """

    def __init__(
        self,
        experiment: Experiment,
        dataset: Dataset,
        *,
        device: torch.device,
        precision: torch.dtype | None = None,
        compile_views: bool = False,
        compile_network: bool = False,
        graph: bool = False,
    ) -> None:
        self.experiment, self.recipe, self.seed = experiment, experiment.recipe, experiment.seed
        self.device, self.precision = device, precision
        labelled = self.recipe.needs_labels
        images = dataset.train.images if labelled else dataset.pretraining
        self.labels = _labels(dataset).to(device) if labelled else None
        self.images = images.to(device)
        self.boxes = pretraining_boxes(dataset).to(device) if self.recipe.needs_boxes else None
        self.local_batch = self._local_batch(len(images), dataset.name)
        self._first = distributed.rank() * self.local_batch  # of this process in a global batch
        group = self.recipe.batch_size * self.recipe.accumulate
        self.steps_per_epoch = steps_per_epoch(self.recipe, dataset)
        self.total_steps = self.steps_per_epoch * self.recipe.epochs
        self.method: Method = self._placed(dataset)
        self.augmenter = Augmenter(
            self.recipe.views,
            resolution=dataset.resolution,
            mean=dataset.mean,
            std=dataset.std,
            compile=compile_views,
        )
        self.optimizer = build_optimizer(
            self.recipe.optimizer, self.method.groups(), batch_size=group
        )
        if device.type == "cuda":
            rates_on_device(self.optimizer, decays=self._decays())
        self.gradients = GradientNorms(self.method.named_parameters())
        self._network = self._wrapped(compile_network)
        # Places in the global batch: draws follow a sample's place, not the process that holds it.
        self._samples = torch.arange(self._first, self._first + self.local_batch, device=device)
        self._orders: dict[int, Tensor] = {}
        self._reader = Reader(self.images, self._rows, self.total_steps * self.recipe.accumulate)
        self._begun = -1
        self.step_count = 0
        self.views_seconds = 0.0
        self.graph: Graphed | str = "off"
        if graph:
            self.graph = graphed(experiment, self.images, device, self.work, self.optimizer)

    def _placed(self, dataset: Dataset) -> Method:
        """The network where it trains, once it is known to fit."""
        recipe, resolution, on_cpu = self.recipe, dataset.resolution, self.device.type == "cpu"
        if on_cpu:
            unsaid = unsaid_parameters(recipe.encoder, resolution=resolution)
            require_room(recipe, resolution, unsaid=unsaid)
        method: Method = build_method(self.experiment, dataset).to(self.device)
        if on_cpu:
            require_step(method, recipe, resolution=resolution, precision=self.precision)
        if on_cpu and self.precision is not None:
            keep_strides_inside(method)
        # Convolutions are faster with the channels last; the views come so as well.
        return method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _local_batch(self, count: int, name: str) -> int:
        batch, world = self.recipe.batch_size, distributed.world_size()
        if batch * self.recipe.accumulate > count:
            fitting = count // self.recipe.accumulate // world * world
            remedy = f"set batch_size to {fitting} or less" if fitting >= 2 else "use more images"
            raise UserError(
                f"batch_size {batch} x accumulate {self.recipe.accumulate} is larger than the "
                f"{count} image{'s' if count > 1 else ''} of {name}; {remedy}."
            )
        if batch % world:
            raise UserError(f"batch_size {batch} does not divide over {world} processes.")
        return batch // world

    def _wrapped(self, compile_network: bool) -> nn.Module:
        network: nn.Module = self.method
        trained = any(p.requires_grad for p in network.parameters())
        # Queues and synchronised norms are equal without a broadcast, and it would overwrite the
        # statistics of local norms. DDP refuses a network that has nothing to train.
        if distributed.world_size() > 1 and trained:
            network = DistributedDataParallel(network, broadcast_buffers=False)
        return torch.compile(network) if compile_network else network  # type: ignore[return-value]

    def step(self) -> StepOutput:
        """One optimiser step: views, forward, backward, update, target, queue or memory bank.

        Returns:
            The step's loss and metrics, over all parts of an accumulated batch, and the embeddings
            of its last part; all but the loss until the next step.
        """
        parts, phase = self.prepare()
        output = self.work(parts) if isinstance(self.graph, str) else self.graph(parts, phase)
        self.step_count += 1
        return output

    def prepare(self) -> tuple[Iterator[Part], Hashable]:
        """What the host does for the coming step, and all that changes from one step to the next.

        Returns:
            The inputs of its parts, each made when it is asked for, and its phase
            (`Method.before_step`).
        """
        epoch, within = divmod(self.step_count, self.steps_per_epoch)
        self.method.train()
        self._begin(epoch)
        self._follow_schedules()
        phase = self.method.before_step(self._moment())
        parts = self.recipe.accumulate
        return (self._part(epoch, within * parts + part) for part in range(parts)), phase

    def work(self, parts: Iterable[Part]) -> StepOutput:
        """What the device does: in every step of a phase the same operations, which read what
        changes from their inputs and from the optimiser's rates (tests/engine/test_graph.py)."""
        outputs, count = [], self.recipe.accumulate
        for number, part in enumerate(parts, start=1):
            with nullcontext() if number == count else self._unsynchronised():
                output = self._forward(part)
                # A mean over the parts, as a loss is one over images; negatives and batch
                # statistics are those of a part.
                (output.loss / count).backward()
            outputs.append(output)
        clock = part.clock()
        self.gradients.update()  # before any are dropped or clipped
        self.method.before_update(clock)
        clip_norm = getattr(self.recipe.optimizer, "clip_norm", None)
        if clip_norm is not None:
            clip_gradients(self.optimizer, clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)  # None: what no loss reaches is not decayed
        self.method.after_update(outputs, clock)
        return mean_output(outputs)

    def _unsynchronised(self) -> AbstractContextManager[Any]:
        """Gradients of this part stay on each process: the last part's backward sends the sum."""
        network: Any = self._network
        return nullcontext() if distributed.world_size() == 1 else network.no_sync()

    def _follow_schedules(self) -> None:
        """Learning rate and weight decay of the coming step."""
        factor = learning_rate_factor(
            self.recipe.schedule,
            step=self.step_count,
            steps_per_epoch=self.steps_per_epoch,
            total_epochs=self.recipe.epochs,
        )
        set_learning_rate(self.optimizer, factor)
        if self._decays():
            spec: Any = self.recipe.optimizer
            decay = weight_decay(spec, step=self.step_count, total_steps=self.total_steps)
            set_weight_decay(self.optimizer, decay)

    def _decays(self) -> bool:
        """Whether the weight decay changes from step to step."""
        spec = self.recipe.optimizer
        return isinstance(spec, AdamW) and spec.weight_decay_end is not None

    def _begin(self, epoch: int) -> None:
        """What precedes an epoch's first batch, once also where a run resumes inside the epoch."""
        if self._begun != epoch:
            self._begun = epoch
            self.method.before_epoch(epoch, self._sweep)

    def _sweep(self) -> Iterator[Batch]:
        """All images once, without gradient, as the network sees them in training.

        In training mode, as DeepCluster's code has it: an untrained network has no running
        statistics. The last batch is a full one too, so that it overlaps the one before.
        """
        size, count = self.recipe.batch_size, len(self.images)
        starts = [*range(0, count - size, size), count - size]
        reader = Reader(self.images, lambda number: self._indices(0, starts[number]), len(starts))
        for number, start in enumerate(starts):
            part = self._given(
                reader.batch(number), self._indices(0, start),
                views=stream_key(self.seed, "memory views", number),
                step=stream_key(self.seed, "memory shuffle", number),
            )  # fmt: skip
            batch = self._batch(part)
            self._seed_noise("memory noise", number)
            with torch.no_grad(), self._autocast():  # stays on while the batch is looked at
                yield batch

    def _views(self, images: Tensor, key: Tensor) -> list[ViewBatch]:
        begin = time.perf_counter()
        views = self.augmenter(images, key=key, samples=self._samples)
        views = [replace(v, images=v.images.to(memory_format=torch.channels_last)) for v in views]
        self.views_seconds += time.perf_counter() - begin
        return views

    def _seed_noise(self, purpose: str, *counters: int) -> None:
        """For drop path; views and order draw from streams."""
        # The rank is in it: paths are drawn for a process's own images.
        noise = stream_key(self.seed, purpose, *counters, distributed.rank())
        seed_generator(noise, self.device)

    def _part(self, epoch: int, batch: int) -> Part:
        number = epoch * self.steps_per_epoch * self.recipe.accumulate + batch
        self._seed_noise("noise", epoch, batch)
        return self._given(
            self._reader.batch(number), self._rows(number),
            views=stream_key(self.seed, "views", epoch, batch),
            step=stream_key(self.seed, "shuffle", epoch, batch),
        )  # fmt: skip

    def _given(self, images: Tensor, indices: Tensor, *, views: int, step: int) -> Part:
        shuffled = self.recipe.batch_size if self.method.shuffles else 0
        return part_of(
            images, indices, views=views, step=step, moment=self._moment(), shuffled=shuffled
        )

    def _batch(self, part: Part) -> Batch:
        views = self._views(part.images, part.keys[0])
        labels = None if self.labels is None else self.labels[part.indices]
        boxes = None if self.boxes is None else self.boxes[part.indices]
        return Batch(views, part.indices, labels, part.clock(), boxes, part.order)

    def _forward(self, part: Part) -> StepOutput:
        batch = self._batch(part)
        with self._autocast():
            output: StepOutput = self._network(batch)
        return output

    def _moment(self) -> Moment:
        """Of the coming step."""
        return Moment(
            progress=self.step_count / max(1, self.total_steps),
            epoch=self.step_count / max(1, self.steps_per_epoch),
            images=self.recipe.batch_size * self.recipe.accumulate,
        )

    def _autocast(self) -> AbstractContextManager[Any]:
        stack = ExitStack()
        stack.enter_context(
            torch.autocast(
                self.device.type, dtype=self.precision, enabled=self.precision is not None
            )
        )
        if self.device.type == "cpu" and self.precision is not None:
            # On a CPU the fused attention's backward in bf16 takes longer than all the rest of a
            # small ViT's step.
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        return stack

    def _rows(self, number: int) -> Tensor:
        """This process's rows of a batch, by its number since the first epoch began."""
        epoch, within = divmod(number, self.steps_per_epoch * self.recipe.accumulate)
        return self._indices(epoch, within * self.recipe.batch_size)

    def _indices(self, epoch: int, start: int) -> Tensor:
        """This process's rows of the global batch that starts there in the epoch's permutation."""
        if epoch not in self._orders:
            order = permutation(stream_key(self.seed, "order", epoch), len(self.images))
            kept = self._orders.get(epoch - 1)  # reading ahead passes from one to the next
            self._orders = {} if kept is None else {epoch - 1: kept}
            self._orders[epoch] = order.to(self._reader.home)
        first = start + self._first
        return self._orders[epoch][first : first + self.local_batch]  # N int64

    def close(self) -> None:
        """End the processes that read images."""
        self._reader.close()

    def state(self) -> dict[str, Any]:
        """What a resume needs; random streams are functions of the step and need nothing."""
        return {
            "step": self.step_count,
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "gradients": self.gradients.state(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from `state()` of the same experiment."""
        self.method.load_state_dict(state["method"])
        load_optimizer(self.optimizer, state["optimizer"])
        if "gradients" in state:  # a run begun by an earlier version has none
            self.gradients.load_state(state["gradients"])
        self.step_count = int(state["step"])
        # So that what precedes an epoch is done for the one that the run resumes in.
        self._begun = -1


def _labels(dataset: Dataset) -> Tensor:
    labels = dataset.require_labels().train.labels
    assert labels is not None
    return labels
