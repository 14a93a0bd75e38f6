"""`eval` and `transfer`: score a run under protocols."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from sslbench.cli import options as o
from sslbench.cli.encoder_file import Opener
from sslbench.data.registry import DATASETS
from sslbench.errors import UserError, did_you_mean
from sslbench.evaluation.protocols import POINTS, PROTOCOLS
from sslbench.evaluation.tasks import USUAL, images_of
from sslbench.requests import exists, find_data, known_scale

if TYPE_CHECKING:
    from sslbench.evaluation.scores import Score
    from sslbench.evaluation.transfer import Goal


@dataclass(frozen=True, kw_only=True)
class Evaluate(o.Protocols, Opener, o.Device, o.Threads, o.Json):
    """Score a run, or an encoder file of another library, under the versioned protocols."""

    of_runs: ClassVar[tuple[str, ...]] = ("resolution",)

    run: o.RunOrFile
    force: Annotated[bool, typer.Option("--force", help="Score again what is scored.")] = False

    def __call__(self) -> None:
        self.prepare()
        from sslbench.evaluation.evaluate import evaluate
        from sslbench.reports.progress import scoring_progress

        device = self.pick_device()
        folder, data = self.open(self.run)
        names = self.protocol.split(",")
        imported = exists(self.run, folder=False)  # at the side that was asked for
        with scoring_progress(folder.path.name) as progress:
            scores = evaluate(
                folder, names, data=data, resolution=None if imported else self.resolution,
                root=self.data_root, device=device, force=self.force, progress=progress,
            )  # fmt: skip
        name = folder.path.name
        if self.json:
            self.print_json({name: {k: s.to_dict() for k, s in scores.items()}})
        else:
            _show_scores((name, score) for score in scores.values())


@dataclass(frozen=True, kw_only=True)
class Transfer(o.Places, o.Device, o.Threads, o.Json):
    """Score a run on other images and tasks, beside its untrained encoder and other runs."""

    run: o.Run
    to: Annotated[
        str,
        typer.Option(
            help="Comma-separated tasks (classification, multilabel, segmentation, depth, "
            "detection, instance) on built-in images, and data sets, each by what it comes with. "
            "A set of folders is NAME:PATH."
        ),
    ]
    dataset: Annotated[
        str | None,
        typer.Option(help="A set's name, or NAME:PATH: images of the tasks in --to."),
    ] = None
    resolution: Annotated[
        int | None, typer.Option(help="Side of their images; default: the run's.", min=1)
    ] = None
    protocol: Annotated[
        str,
        typer.Option(
            help="Comma-separated, as `sslbench list protocols` has them. Default: those of the "
            "task, or of what the images come with."
        ),
    ] = ""
    beside: Annotated[
        str, typer.Option(help="Comma-separated runs that stand in the same table.")
    ] = ""

    def __call__(self) -> None:
        self.prepare()
        from sslbench.evaluation.transfer import transfer
        from sslbench.reports.progress import scoring_progress

        folder = self.open_run(self.run)
        found = transfer(
            folder,
            self._goals(known_scale(folder.experiment().scale)),
            beside=[self.open_run(name) for name in _words(self.beside)],
            resolution=self.resolution,
            root=self.data_root,
            device=self.pick_device(),
            shown=scoring_progress,
        )
        if self.json:
            runs: dict[str, dict[str, Any]] = {}
            for line in found.lines:
                scores = runs.setdefault(line.run, {})
                scores[f"{line.dataset}:{line.score.protocol}"] = line.score.to_dict()
            self.print_json(runs)
            return
        _show_scores((line.run, line.score) for line in found.lines)
        for name, tasks in found.left_out.items():
            if tasks:
                typer.echo(
                    f"{name} has what {' and '.join(tasks)} need{'s' * (len(tasks) == 1)} too: "
                    f"--to {','.join(tasks)} trains detectors, which takes minutes."
                )

    def _goals(self, scale: str) -> list[Goal]:
        """What --to asks for; a word without a colon that is a task's is the task."""
        from sslbench.evaluation.transfer import Goal

        given, goals, used = tuple(_words(self.protocol)), [], False
        for word in _words(self.to):
            task = word in USUAL
            name = (self.dataset or images_of(word)) if task else _set_of(word)
            data = find_data(name, scale)
            assert data is not None
            goals.append(Goal(data, given or USUAL.get(word, ())))
            used = used or task
        if not goals:
            raise UserError("--to names nothing; write --to detection, or --to cifar100.")
        if self.dataset and not used:
            raise UserError(
                "--dataset goes with a task in --to, such as --to detection; --to names a data set "
                "itself."
            )
        return goals


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _set_of(word: str) -> str:
    """A word of --to as a data set. Raises UserError with the nearest sets and tasks."""
    name = word.partition(":")[0]
    if name not in DATASETS:
        raise UserError(f"No task or data set '{name}'{did_you_mean(name, [*USUAL, *DATASETS])}")
    return word


def _show_scores(scores: Iterable[tuple[str, Score]]) -> None:
    from rich.console import Console
    from rich.table import Table

    from sslbench.reports.runs.words import chosen_words

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("run", "data set", "protocol", "value", "chosen without the test set"):
        table.add_column(heading, overflow="fold")
    found = list(scores)
    for run, score in found:
        values = ", ".join(f"{k} {_number(score, k)}" for k in score.values)
        table.add_row(run, score.dataset, score.protocol, values, chosen_words(score.chosen))
    Console().print(table)
    counts = {(s.dataset, s.shared or 0, s.num_test) for _, s in found}
    for name, shared, count in sorted(counts):
        if shared:
            typer.echo(f"{name}: {shared} of {count} test images are also training images.")
    for line in dict.fromkeys(_read_from(score) for _, score in found):
        typer.echo(line, nl=bool(line))


def _number(score: Score, key: str) -> str:
    """Percentages and points with two decimals, other values with three digits."""
    protocol = PROTOCOLS.get(score.protocol)
    value = protocol.value(key) if protocol else None
    return f"{score.values[key]:{'.2f' if value and value.unit in POINTS else '.3g'}}"


def _read_from(score: Score) -> str:
    """What was read from an encoder file, and how its images were made; "" of a run's score."""
    from sslbench.models.card import Normalization

    source, inputs = score.source, score.inputs
    if not source:
        return ""
    prefix = source["prefix"].rstrip(".")
    ignored = f"{source['ignored']} ignored"
    if source["first_ignored"]:
        more = ", ..." if source["ignored"] > len(source["first_ignored"]) else ""
        ignored += f" ({', '.join(source['first_ignored'])}{more})"
    parts = [
        f"{source['name']}: layout {source['layout']}",
        f"prefix '{prefix}'" if prefix else "no prefix",
        f"{source['loaded']} keys used, {ignored}",
        f"{inputs['resolution']} pixels",
        str(Normalization(mean=tuple(inputs["mean"]), std=tuple(inputs["std"]))),
        *source["notes"],
    ]
    return "; ".join(parts) + "."
