"""Train an experiment into its run folder: resume what is there, return what is finished."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from sslbench import distributed
from sslbench.data import Dataset, load
from sslbench.data.streaming.workers import explained
from sslbench.engine import hardware
from sslbench.engine.building import steps_per_epoch
from sslbench.engine.checkpoint import load_checkpoint, save_checkpoint
from sslbench.engine.cost import StepTimes, cost
from sslbench.engine.environment import environment
from sslbench.engine.exported import save_networks
from sslbench.engine.folder import NUMERICS, RunFolder, run_digest
from sslbench.engine.graph import told
from sslbench.engine.log import MetricsLog
from sslbench.engine.mishaps import out_of_memory
from sslbench.engine.monitors import effective_rank, embedding_std, verdict
from sslbench.engine.options import Options as Options
from sslbench.engine.options import monitored_epochs
from sslbench.engine.place import as_read, run_folder
from sslbench.engine.progress import Monitor, Progress
from sslbench.engine.signals import StopRequest, stop_on_signals
from sslbench.engine.start import start_folder, take_over, trained_before
from sslbench.engine.trainer import Trainer
from sslbench.engine.window import LossWindow
from sslbench.errors import Interrupted, RunFailed, UserError
from sslbench.methods import StepOutput
from sslbench.recipes.code import plugins_of
from sslbench.recipes.recipe import Experiment

LOG_POINTS = 100  # log points per run, so that curves of any length look alike


def pretrain(
    experiment: Experiment,
    *,
    provenance: Mapping[str, str],
    runs: Path,
    root: Path,
    options: Options | None = None,
    monitor: Monitor | None = None,
    progress: Progress | None = None,
    dataset: Dataset | None = None,
) -> RunFolder:
    """Train, or resume, or return the finished run. What it starts from is trained first.

    Args:
        experiment: what is trained; its digest names the folder.
        provenance: dotted field to layer, kept in the run folder.
        runs: parent of all run folders.
        root: where data sets lie.
        options: device, precision, compilation, checkpoint interval.
        monitor: kNN accuracy of the encoder on held-out images; see `Options.monitor_points`.
        progress: called at every log point.
        dataset: the loaded data, where the caller has it already.
    Returns:
        The folder of a finished run, or of one saved at `options.until_epoch`.
    Raises:
        UserError: bad data, a folder in use, a full disk.
        Interrupted: SIGINT or SIGTERM; a checkpoint was saved.
        RunFailed: the loss is not finite, or memory ran out; run.json says so.
    """
    options = options or Options()
    hardware.prepare_process(options.threads)
    folder = run_folder(experiment, runs=runs, root=root)
    with folder.lock() if distributed.rank() == 0 else nullcontext():
        if folder.status() == "finished":
            return folder
        dataset = dataset or load(experiment.data, root=root)
        if begin := trained_before(folder, experiment, provenance, dataset.fingerprint):
            pretrain(begin.experiment, provenance=begin.provenance, runs=runs, root=root,
                     options=replace(options, until_epoch=None), monitor=monitor,
                     progress=progress, dataset=dataset)  # fmt: skip
        dataset = dataset.without_heldout() if experiment.without_heldout else dataset
        run = _Run(folder, experiment, dataset, options, monitor, progress)
        if distributed.rank() == 0:
            folder.write_experiment(as_read(experiment, dataset), dict(provenance))
        run.execute()
    return folder


class _Run:
    """One execution of a run: from its checkpoint, if any, to its end or to a stop."""

    def __init__(
        self,
        folder: RunFolder,
        experiment: Experiment,
        dataset: Dataset,
        options: Options,
        monitor: Monitor | None,
        progress: Progress | None,
    ) -> None:
        self.folder, self.experiment, self.dataset = folder, experiment, dataset
        self.options, self.monitor, self.progress = options, monitor, progress
        self.device = hardware.pick_device(options.device)
        self.digest = run_digest(experiment, dataset.fingerprint)
        self.start = start_folder(folder, experiment, dataset.fingerprint)
        self.main = distributed.rank() == 0
        recipe = experiment.recipe
        compiles = hardware.compile_pays(
            self.device,
            steps=recipe.epochs * steps_per_epoch(recipe, dataset),
            batch_size=recipe.batch_size * recipe.accumulate,
            mode=options.compile,
        )
        self.trainer = Trainer(
            experiment,
            dataset,
            device=self.device,
            precision=distributed.agree(hardware.pick_precision(self.device, options.precision)),
            compile_views=compiles,
            compile_network=compiles and self.device.type == "cuda",
            graph=options.graph,
        )
        total = self.trainer.total_steps
        until = recipe.epochs if options.until_epoch is None else options.until_epoch
        self.end = min(total, until * self.trainer.steps_per_epoch)
        self.log_every = max(1, total // LOG_POINTS)
        self.window = LossWindow(recent=deque(maxlen=max(2, total // 5)))
        self.times = StepTimes()
        self.elapsed = 0.0  # of earlier executions, seconds
        self.begin: float | None = None
        self.first_step, self.monitor_seconds = 0, 0.0  # of this execution
        self.saved = time.monotonic()
        self.last: dict[str, float] = {}
        self.out_dim = 0  # width of the embeddings that `last` is about; 0 before the first point

    def execute(self) -> None:
        """Train to the end. Raises Interrupted, RunFailed or UserError."""
        self._resume()
        self._summarize("started")
        self.begin = time.perf_counter()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        try:
            with stop_on_signals() as stop, self._log() as log, closing(self.trainer), explained():
                self.times.begin(self.trainer.step_count)
                while self.trainer.step_count < self.end:
                    self._advance(log, stop)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            self._fail(f"Out of memory at batch_size {self.experiment.recipe.batch_size}; lower "
                       "batch_size, the resolution or the encoder's width.")  # fmt: skip
        if self.trainer.step_count < self.trainer.total_steps:
            self._save()
            self._summarize("interrupted")
        else:
            self._finish()

    def _log(self) -> Any:
        if not self.main:
            return nullcontext()
        return MetricsLog(self.folder, tensorboard=self.options.tensorboard)

    def _advance(self, log: MetricsLog | None, stop: StopRequest) -> None:
        trainer = self.trainer
        output = trainer.step()
        self.window.losses.append(output.loss.detach())
        done = trainer.step_count == trainer.total_steps
        epoch_end = trainer.step_count % trainer.steps_per_epoch == 0
        if trainer.step_count % self.log_every == 0 or epoch_end or done:
            self._point(log, output)
            if time.monotonic() - self.saved >= self.options.checkpoint_seconds and not done:
                self._save()
            self.times.begin(trainer.step_count)
        elif self._monitor_due() and log is not None:  # a line of its own: no loss's window ends
            log.write({**self._place(), **self._monitored()})
            self.times.begin(trainer.step_count)
        if distributed.anywhere(bool(stop), self.device) and not done:
            self._save()
            self._summarize("interrupted")
            name = stop.signal.name if stop.signal else "another process"
            raise Interrupted(
                f"Stopped by {name} after step {trainer.step_count} of {trainer.total_steps}; "
                "saved. Run the same command again to continue."
            )

    def _monitor_due(self) -> bool:
        """Whether the kNN monitor runs after this step."""
        if self.monitor is None:
            return False
        step, total = self.trainer.step_count, self.trainer.total_steps
        if (points := self.options.monitor_points) is not None:
            return step * points // total > (step - 1) * points // total
        epochs = monitored_epochs(self.experiment.recipe.epochs)
        return step % (epochs * self.trainer.steps_per_epoch) == 0

    def _monitored(self) -> dict[str, float]:
        assert self.monitor is not None
        begin = time.perf_counter()
        knn = self.monitor(self.trainer.method.exported()["encoder"])
        self.monitor_seconds += time.perf_counter() - begin
        return {"knn": knn}

    def _place(self) -> dict[str, float]:
        step = self.trainer.step_count
        return {"step": step, "epoch": step / self.trainer.steps_per_epoch}

    def _point(self, log: MetricsLog | None, output: StepOutput) -> None:
        trainer = self.trainer
        loss = self.window.flush()
        self.times.end(trainer.step_count)  # the losses have come, so the device is idle
        gradients = trainer.gradients.flush()
        embeddings = distributed.gather(output.embeddings.float())
        self.out_dim = embeddings.shape[1]
        self.last = {
            **self._place(),
            "loss": loss,
            "lr": float(trainer.optimizer.param_groups[0]["lr"]),
            "std": float(embedding_std(embeddings)),
            "effective_rank": float(effective_rank(embeddings)),
            **{k: float(distributed.mean(v)) for k, v in output.metrics.items()},
        }
        if not math.isfinite(loss):
            self._fail(
                f"The loss is not finite at step {trainer.step_count}; lower optimizer.lr, "
                "lengthen the warm-up, or use --precision fp32."
            )
        if self._monitor_due():
            self.last |= self._monitored()
        if log is not None:
            log.write({**self.last, **gradients})
        if self.progress is not None and self.main:
            shown = {**self.last, "views/s": self._throughput()}
            self.progress(trainer.step_count, trainer.total_steps, shown)

    def _throughput(self) -> float:
        """Views per second since this execution began."""
        recipe = self.experiment.recipe
        steps = self.trainer.step_count - self.first_step
        images = steps * recipe.batch_size * recipe.accumulate
        return images * recipe.views.count / max(self._seconds(), 1e-9)

    def _seconds(self) -> float:
        """Since this execution began to train; 0 before."""
        return 0.0 if self.begin is None else time.perf_counter() - self.begin

    def _resume(self) -> None:
        path = self.folder.checkpoint_path
        if not path.is_file():
            if self.main:
                self.folder.metrics_path.unlink(missing_ok=True)
            if self.start is not None:
                take_over(self.trainer.method, self.start)
            return
        state = load_checkpoint(path, digest=self.digest)
        try:
            self.trainer.load_state(state["trainer"])
            self.window.recent.extend(state["recent"])
            self.window.losses = [torch.tensor(x, device=self.device) for x in state["pending"]]
            self.times.milliseconds = [float(x) for x in state.get("step_ms", ())]
            self.elapsed = float(state["elapsed_seconds"])
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise UserError(
                f"{path} does not hold this run's state ({type(error).__name__}); move it away and "
                "run the same command again to start from the beginning."
            ) from error
        self.first_step = self.trainer.step_count

    def _save(self) -> None:
        self.saved = time.monotonic()
        pending = self.window.pending()
        if self.main:
            state = {
                "digest": self.digest,
                "trainer": self.trainer.state(),
                "recent": list(self.window.recent),
                "pending": pending,
                "step_ms": self.times.milliseconds,
                "elapsed_seconds": self.elapsed + self._seconds(),
            }
            save_checkpoint(self.folder.checkpoint_path, state)
        distributed.barrier()

    def _fail(self, sentence: str) -> None:
        self._summarize("failed", error=sentence)
        raise RunFailed(f"{self.folder.path.name}: {sentence}")

    def _finish(self) -> None:
        if self.main:
            save_networks(
                self.folder, self.trainer.method, experiment=self.experiment, dataset=self.dataset,
                metadata={"digest": self.digest, "recipe": self.experiment.recipe.name},
            )  # fmt: skip
            self._summarize("finished")
            self.folder.checkpoint_path.unlink(missing_ok=True)
        distributed.barrier()

    def _summarize(self, status: str, *, error: str | None = None) -> None:
        if not self.main:
            return
        recipe, trainer = self.experiment.recipe, self.trainer
        final = {k: v for k, v in self.last.items() if k not in ("step", "epoch", "lr")}
        if self.window.recent:
            final["loss_std"] = float(torch.tensor(list(self.window.recent)).std(correction=0))
        seconds = self._seconds()
        summary: dict[str, Any] = {
            "status": status,
            "digest": self.digest,
            "recipe": recipe.name,
            "dataset": self.dataset.name,
            "resolution": self.dataset.resolution,
            "mean": list(self.dataset.mean),
            "std": list(self.dataset.std),
            "fingerprint": self.dataset.fingerprint,
            **self.dataset.summary(),
            "seed": self.experiment.seed,
            "scale": self.experiment.scale,
            "numerics": NUMERICS,
            "epochs": recipe.epochs,
            "steps": trainer.step_count,
            "elapsed_seconds": self.elapsed + seconds,
            "final": {**final, **({"out_dim": self.out_dim} if self.out_dim else {})},
            "views_per_second": self._throughput() if seconds else None,
            "views_share": trainer.views_seconds / seconds if seconds else None,
            "monitor_share": self.monitor_seconds / seconds if seconds else None,
            "peak_memory_bytes": hardware.peak_memory(self.device),
            "plugins": plugins_of(self.experiment),
            **({"start": self.start.path.name} if self.start else {}),
            **({"graph": told(trainer.graph), "views_share": None} if self.options.graph else {}),
            **environment(self.device, trainer.precision),
        }
        if status == "finished":
            summary["cost"] = cost(trainer.method, self.experiment.recipe, self.times,
                                   resolution=self.dataset.resolution)  # fmt: skip
        if error:
            summary["error"] = error
        diverged = not math.isfinite(self.last.get("loss", 0.0))
        if recipe.epochs > 0 and (status == "finished" or diverged):
            found = verdict(summary["final"], recipe=recipe, out_dim=self.out_dim)
            summary["verdict"] = {"state": found.state, "cause": found.cause}
        self.folder.write_summary(summary)
