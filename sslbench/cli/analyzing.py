"""What the `analyze` commands do: open runs, apply an analysis to each, write and print."""

from __future__ import annotations

import fnmatch
import functools
import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from sslbench.cli import options as o
from sslbench.cli.importing import FileRequest, import_run, known_scale
from sslbench.errors import UserError, did_you_mean
from sslbench.files import entries

if TYPE_CHECKING:
    from sslbench.data import Dataset
    from sslbench.engine.folder import RunFolder
    from sslbench.evaluation.analyses import Analysis, Space
    from sslbench.evaluation.subject import Subject
    from sslbench.recipes.specs import Data

T = TypeVar("T", int, float)

HERE = Path("analyses")  # of several runs, and the name of the folder inside one run's


@dataclass(frozen=True, kw_only=True)
class Request(FileRequest):
    """The options that all analyses share, as the command line has them, and how they are met."""

    dataset: o.Dataset = None
    scale: Annotated[str, typer.Option(help="Scale of --dataset; default: the run's.")] = ""
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write; default: analyses/ in the run's folder, or here for several."
        ),
    ] = None
    runs: o.Runs = o.RUNS
    data_root: o.DataRoot = o.DATA
    device: o.Device = "auto"
    threads: o.Threads = None
    json: o.Json = False

    def prepare(self) -> None:
        """Threads and the like, before anything is computed."""
        from sslbench.engine.hardware import prepare_process

        prepare_process(self.threads)

    def each(
        self,
        names: Sequence[str],
        analyze: Callable[[Subject], Analysis],
        *,
        labelled: bool = True,
    ) -> None:
        """One analysis of all runs, written and printed."""
        from sslbench.evaluation.analyses import merge

        opened = {f.path.resolve(): (f, data) for f, data in map(self._open, names)}
        analyses = [analyze(subject) for subject in self._subjects(opened.values(), labelled)]
        self.finish(merge(analyses), [folder for folder, _ in opened.values()])

    def finish(self, analysis: Analysis, folders: Sequence[RunFolder]) -> None:
        """Write an analysis of some runs, and print it."""
        from sslbench.reports.analyses import show_analysis, write_analysis

        default = folders[0].path / HERE if len(folders) == 1 else HERE
        files = [str(path) for path in write_analysis(analysis, self.out or default)]
        if self.json:
            summary = [{k: None if v != v else v for k, v in r.items()} for r in analysis.summary]
            plain: dict[str, Any] = {"analysis": analysis.name, "summary": summary}
            plain |= {"notes": analysis.notes, "files": files}
            typer.echo(json.dumps(plain, indent=1))
            return
        show_analysis(analysis)
        for path in files:
            typer.echo(path)

    def pick_device(self) -> str:
        """The device asked for, as torch names it."""
        from sslbench.engine.hardware import pick_device

        return str(pick_device(self.device))

    def finished(self, match: str) -> list[RunFolder]:
        """Finished runs whose name fits the pattern, by name. Raises UserError: there are none."""
        from sslbench.engine.folder import RunFolder

        paths = [path for path in entries(self.runs) if fnmatch.fnmatch(path.name, match)]
        folders = [RunFolder(path) for path in paths]
        found = []
        for folder in folders:
            try:
                found += [folder] * (folder.status() == "finished")
            except UserError as error:  # a damaged run does not stop the others
                typer.echo(f"sslbench: {error}", err=True)
        if not found:
            raise UserError(
                f"No finished run '{match}' under {self.runs}; train one, or give --runs."
            )
        return found

    def _open(self, name: str) -> tuple[RunFolder, Data | None]:
        """A run, and the data to look at it on; None is its own."""
        from sslbench.cli.scoring import open_run

        if o.exists(name, folder=False):
            folder = import_run(
                name, self, dataset=self.dataset, scale=self.scale, runs=self.runs,
                root=self.data_root,
            )  # fmt: skip
            return folder, None
        self.refuse_for_run(name)
        folder = open_run(name, self.runs)
        scale = self.scale or known_scale(folder.experiment().scale)
        return folder, o.parse_dataset(self.dataset, scale)

    def _subjects(
        self, opened: Iterable[tuple[RunFolder, Data | None]], labelled: bool
    ) -> Iterator[Subject]:
        """The runs one after the other, which share loaded data where it is the same."""
        from sslbench.evaluation.evaluating import open_subject

        dataset: Dataset | None = None
        for folder, data in opened:
            subject = open_subject(
                folder, data=data, root=self.data_root, device=self.pick_device(),
                dataset=dataset, labelled=labelled,
            )  # fmt: skip
            dataset = subject.dataset
            yield subject


def shared_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the fields of `Request` as options behind its own; they reach it as its first
    argument. The signature is what typer reads, so that `--help` lists them all."""
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    shared = list(inspect.signature(Request, eval_str=True).parameters.values())

    @functools.wraps(command)
    def wrapped(**given: Any) -> None:
        request = Request(**{f.name: given.pop(f.name) for f in fields(Request)})
        command(request, **given)

    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own, *shared)]
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapped


def find_space(text: str) -> Space:
    """The space of that name. Raises UserError."""
    if text == "representation":
        return "representation"
    if text == "projection":
        return "projection"
    known = ["representation", "projection"]
    raise UserError(f"--space: no '{text}'{did_you_mean(text, known)}")


def numbers(text: str | None, kind: Callable[[str], T], option: str) -> list[T] | None:
    """Comma-separated numbers; None where nothing was given. Raises UserError."""
    if text is None:
        return None
    try:
        return [kind(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"{option} {text}: write numbers with commas between.") from None
