"""Runs: trained, opened, evaluated, and their networks as modules."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from sslbench.api.names import PathLike, data_root, runs_folder
from sslbench.engine.folder import RunFolder, Status, Verdict
from sslbench.errors import UserError, did_you_mean
from sslbench.evaluation.protocols import DEFAULTS, find_protocol
from sslbench.files import entries
from sslbench.recipes.recipe import Experiment, Recipe
from sslbench.recipes.specs import Data
from sslbench.requests import Changes, find_data, find_run, known_scale, resolved

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor, nn

    from sslbench.evaluation.scores import Score


class Execution(TypedDict, total=False):
    """How a run is executed, which changes nothing of what is trained: the fields of
    `sslbench.engine.pretrain.Options`, which says what each means."""

    device: str
    precision: str
    compile: str
    graph: bool
    threads: int | None
    checkpoint_seconds: float
    tensorboard: bool
    monitor_points: int | None
    until_epoch: int | None


@dataclass(frozen=True, repr=False)
class Run:
    """One run: what its folder holds, read anew whenever it is asked.

    Attributes:
        path: the run folder.
        root: where data sets lie.
    """

    path: Path
    root: Path

    @property
    def folder(self) -> RunFolder:
        """The folder's files."""
        return RunFolder.open(self.path)

    @property
    def experiment(self) -> Experiment:
        """What is trained: recipe, data, seed and scale."""
        return self.folder.experiment()

    @property
    def recipe(self) -> Recipe:
        """The recipe, as it is trained."""
        return self.experiment.recipe

    @property
    def status(self) -> Status:
        """started, interrupted, finished or failed."""
        return self.folder.status()

    @property
    def summary(self) -> dict[str, Any]:
        """What run.json holds: the last metrics as `final`, `elapsed_seconds`, the images'
        `resolution` in pixels, their `mean` and `std` in [0, 1], device, versions and more."""
        return {**self.folder.summary()}

    @property
    def verdict(self) -> Verdict | None:
        """`state` of the representation (healthy, collapsed, ...) and its `cause`; None before the
        end, and of what is not trained."""
        return self.folder.summary().get("verdict")

    def log(self) -> pd.DataFrame:
        """The metrics, a line a log point: `step`, `epoch`, `loss`, `lr`, `knn` in percent, ...;
        NaN where a metric was not measured."""
        import pandas as pd

        return pd.DataFrame(self.folder.metrics())

    def evaluate(
        self,
        *protocols: str,
        dataset: str | Data | None = None,
        resolution: int | None = None,
        device: str = "auto",
        force: bool = False,
    ) -> dict[str, Score]:
        """Score the run; what is scored already is read, not repeated.

        Args:
            protocols: "knn", "linear", ...; none: kNN and the linear probe.
            dataset: another set than the run's own: a name, "folder:PATH", or a spec.
            resolution: the side of its images, in pixels; None: the run's.
            device: of the encoder and the probes.
            force: score again whatever is there.
        Returns:
            The name asked for to its score, whose `values` are accuracies in percent and the like.
        Raises:
            UserError: an unfinished run, an unknown protocol, unlabelled or missing data.
        """
        names = {name: find_protocol(name).name for name in protocols or DEFAULTS}
        from sslbench.engine.hardware import pick_device
        from sslbench.evaluation.evaluate import evaluate

        found = evaluate(
            self.folder,
            list(names.values()),
            data=self._data(dataset),
            resolution=resolution,
            root=self.root,
            device=str(pick_device(device)),
            force=force,
        )
        return {name: found[full] for name, full in names.items()}

    def encoder(self, *, device: str = "cpu") -> nn.Module:
        """The trained encoder in evaluation mode, with `num_features`: N×3×H×W images, normalised
        by the summary's `mean` and `std`, to N×num_features. Raises UserError: unfinished."""
        from sslbench.engine.hardware import pick_device
        from sslbench.evaluation.subject import encoder_of

        return encoder_of(self.folder)[0].to(pick_device(device))

    def projector(self, *, device: str = "cpu") -> nn.Module:
        """The trained projector in evaluation mode: N×num_features to N×D; the identity where the
        recipe has none. Raises UserError: unfinished, or trained with labels."""
        from sslbench.engine.hardware import pick_device
        from sslbench.evaluation.subject import encoder_of, loaded_projector

        encoder, _ = encoder_of(self.folder)
        return loaded_projector(self.folder, self.recipe, encoder).to(pick_device(device))

    def features(
        self,
        split: Literal["train", "test"] = "test",
        *,
        dataset: str | Data | None = None,
        device: str = "auto",
    ) -> tuple[Tensor, Tensor | None]:
        """The encoder's features of all images of a split, kept beside the run for the next time.

        Args:
            dataset, device: as `evaluate` takes them.
        Returns:
            N×num_features float32 and N int64 labels (None without any), on the CPU.
        Raises:
            UserError: an unfinished run, missing data, no such split.
        """
        if split not in ("train", "test"):
            raise UserError(f"No split '{split}'{did_you_mean(split, ('train', 'test'))}")
        from sslbench.engine.hardware import pick_device
        from sslbench.evaluation.evaluate import open_subject

        subject = open_subject(
            self.folder,
            data=self._data(dataset),
            root=self.root,
            device=str(pick_device(device)),
            labelled=False,
        )
        labels = getattr(subject.dataset, split).labels
        return getattr(subject.features, split), None if labels is None else labels.cpu()

    def export(self, path: PathLike, *, to: Literal["torchvision", "timm"] = "torchvision") -> Path:
        """Write the encoder as safetensors with the key names of torchvision's or timm's model.
        Returns the path. Raises UserError: unfinished, another suffix, no such layout."""
        from sslbench.evaluation.subject import exported

        exported(self.folder, Path(path), layout=to)
        return Path(path)

    def _data(self, dataset: str | Data | None) -> Data | None:
        return find_data(dataset, known_scale(self.experiment.scale))

    def __repr__(self) -> str:
        try:
            summary, experiment = self.folder.summary(), self.experiment
        except UserError as error:
            return f"<Run {self.path}: {error}>"
        words = [experiment.recipe.name, experiment.scale, f"seed {experiment.seed}", self.status]
        if verdict := summary.get("verdict"):
            words.append(verdict["state"])
        if (knn := summary.get("final", {}).get("knn")) is not None:
            words.append(f"knn {knn:.1f} %")
        return f"<Run {self.path}: {', '.join(words)}>"


def pretrain(
    recipe: str | Path | Recipe,
    *,
    scale: str = "laptop",
    changes: Changes | None = None,
    dataset: str | Data | None = None,
    seed: int = 0,
    runs: PathLike | None = None,
    root: PathLike | None = None,
    progress: bool = True,
    **execution: Unpack[Execution],
) -> Run:
    """Train a recipe, go on with what was begun, or find the finished run, as `sslbench pretrain`.

    Equal recipe, data and seed are the same run, so that a cell that is run twice trains once.
    What interrupts it (the kernel's stop button) ends it after its step, saved.

    Args:
        recipe: a name; a YAML file, or a recipe (see `sslbench.recipe`), which are trained as they
            are, so that the scale gives the data alone.
        scale: smoke, laptop, desktop, cifar or paper.
        changes: dotted fields to values, `{"target.momentum": 0.99, "predictor": None}`, after all
            that the scale does; `data.FIELD` changes the data.
        dataset: a name, "folder:PATH", or a spec; None is the scale's.
        seed: of initialisation, order and views.
        runs: where run folders lie; None: SSLBENCH_RUNS, or `runs` here.
        root: where data sets lie; None: SSLBENCH_DATA, or `data` here.
        progress: show a bar in a terminal, and lines in a notebook; elsewhere it is quiet.
        execution: `device`, `precision`, `compile`, `graph`, `threads`, `checkpoint_seconds`,
            `tensorboard`, `monitor_points` and `until_epoch`, as `sslbench.engine.pretrain.Options`
            has them.
    Raises:
        UserError: an unknown name, a wrong value, bad data, a folder in use, a full disk.
        Interrupted: stopped by a signal; the same call goes on from there.
        RunFailed: the loss is not finite, or memory ran out.
    """
    name = recipe if isinstance(recipe, Recipe) else str(recipe)
    asked = resolved(name, scale=scale, dataset=dataset, changes=changes, seed=seed)
    for given in execution:
        if given not in (known := Execution.__annotations__):
            raise UserError(f"pretrain has no '{given}'{did_you_mean(given, known)}")
    import torch

    from sslbench.engine.launch import process_group
    from sslbench.engine.pretrain import Options
    from sslbench.evaluation.monitored import pretrain_monitored
    from sslbench.reports.progress import run_progress, watched

    options = Options(**execution)
    title = f"{asked.experiment.recipe.name} s{seed}"
    shown = run_progress(title) if progress and watched() else nullcontext()
    with (
        process_group(options.device) as device,
        torch.random.fork_rng(devices=[]),  # the caller's random state stays as it was
        shown as report,
    ):
        folder = pretrain_monitored(
            asked.experiment,
            provenance=asked.provenance,
            runs=runs_folder(runs),
            root=data_root(root),
            options=replace(options, device=device),
            progress=report,
        )
    return Run(folder.path, data_root(root))


def open_run(name: PathLike, *, runs: PathLike | None = None, root: PathLike | None = None) -> Run:
    """A run by its folder, or by the start of its name under `runs`.

    Args:
        runs, root: as `pretrain` takes them.
    Raises:
        UserError: there is none of that name, or several.
    """
    folder = RunFolder.open(find_run(str(name), runs_folder(runs)))
    return Run(folder.path, data_root(root))


def runs(folder: PathLike | None = None, *, root: PathLike | None = None) -> list[Run]:
    """All runs in a folder, by name. Args: as `pretrain` takes them."""
    found = [path for path in entries(runs_folder(folder)) if (path / "experiment.yaml").is_file()]
    return [Run(path, data_root(root)) for path in found]
